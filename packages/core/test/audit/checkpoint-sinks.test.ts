import {
  auditSchema,
  type CheckpointSink,
  createCheckpointKey,
  ed25519Signer,
  functionCheckpointSink,
  readCheckpoint,
  signCheckpoint,
  sqlCheckpointSink
} from '@enablement/core/audit'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type CreateCheckpointSink, checkpointSinkConformance, conformanceTests } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { shareOf } from '../testing/share.ts'
import { brokenCheckpointSinks, memorySink } from './broken-checkpoint-sinks.ts'

let subjects = 0
const nextName = (): string => `audit-${subjects++}.example.com`

/** A subject whose sink `open` makes of what the process leaves behind. */
const subject =
  (open: () => Promise<() => CheckpointSink>): CreateCheckpointSink =>
  async () => {
    const make = await open()
    return { sink: make(), reopen: async () => make(), name: nextName(), [Symbol.asyncDispose]: async () => {} }
  }

const inSql = (open: () => SqlDatabase): CreateCheckpointSink =>
  subject(async () => {
    const db = open()
    await migrate(db, [auditSchema])
    return () => sqlCheckpointSink({ db })
  })

describe('sqlCheckpointSink on SQLite', () => {
  const create = inSql(() => sqliteDatabase({ path: ':memory:' }))
  for (const { name, run } of conformanceTests(checkpointSinkConformance, { create, supports: { reopening: true } })) {
    it(name, run)
  }
})

describe('functionCheckpointSink', () => {
  const forgetful = subject(async () => () => functionCheckpointSink({ send: async () => {} }))
  const exam = conformanceTests(checkpointSinkConformance, { create: forgetful, supports: { reopening: false } })
  for (const { name, run } of exam) it(name, run)

  it('is excused from what it cannot promise alone', () => {
    expect(exam.omitted.map(({ unmet }) => unmet)).toEqual([['reopening']])
  })

  const remembering = subject(async () => {
    const sent = new Map<string, string>()
    return () =>
      functionCheckpointSink({
        send: async (note) => {
          await Promise.resolve()
          sent.set(readCheckpoint(note)?.origin ?? '', note)
        },
        newest: async (origin) => sent.get(origin)
      })
  })
  for (const { name, run } of conformanceTests(checkpointSinkConformance, {
    create: remembering,
    supports: { reopening: true }
  })) {
    it(`with the other side's newest, ${name}`, run)
  }

  it('counts nothing as kept that was not sent', async () => {
    const signer = ed25519Signer(createCheckpointKey('a').signingKey)
    let broken = true
    const sink = functionCheckpointSink({
      send: async () => {
        if (broken) throw new Error('the witness is down')
      }
    })
    const checkpoint = { origin: 'a/t', size: 1, root: new Uint8Array(32) }
    const note = await signCheckpoint(signer, checkpoint, { signal: new AbortController().signal })
    await expect(sink.keep({ note, fromSize: 0, proof: [] })).rejects.toThrow('the witness is down')
    expect(await sink.newest('a/t')).toBeUndefined()
    broken = false
    expect(await sink.keep({ note, fromSize: 0, proof: [] })).toEqual({ outcome: 'kept' })
  })

  it('keeps nobody in line for a log whose sending hangs, and sends nothing late', async () => {
    const signer = ed25519Signer(createCheckpointKey('a').signingKey)
    const { signal } = new AbortController()
    const offer = async (size: number, fromSize: number) => ({
      note: await signCheckpoint(signer, { origin: 'a/t', size, root: new Uint8Array(32) }, { signal }),
      fromSize,
      proof: []
    })
    const sends: string[] = []
    let finish = (): void => {}
    const sink = functionCheckpointSink({
      send: (note) =>
        new Promise<void>((resolve) => {
          sends.push(note)
          finish = resolve
        })
    })
    const [first, again] = [await offer(1, 0), await offer(1, 0)]
    const hanging = sink.keep(first)
    const impatient = new AbortController()
    const waiting = sink.keep(again, { signal: impatient.signal })
    impatient.abort(new Error('given up'))
    await expect(waiting).rejects.toThrow('given up')
    finish()
    expect(await hanging).toEqual({ outcome: 'kept' })
    expect(sends).toEqual([first.note])
  })

  it('refuses options that are not known', () => {
    expect(() => functionCheckpointSink({ send: 1 } as never)).toThrow(/functionCheckpointSink/)
    expect(() => sqlCheckpointSink({ database: 1 } as never)).toThrow(/sqlCheckpointSink/)
  })
})

describe('the exam of checkpoint sinks', () => {
  const examine = (make: (disk: Map<string, string>) => CheckpointSink) => {
    const create = subject(async () => {
      const disk = new Map<string, string>()
      return () => make(disk)
    })
    return conformanceTests(checkpointSinkConformance, { create, supports: { reopening: true } }).tests
  }

  it('passes a sink that is right', async () => {
    for (const { run } of examine((disk) => memorySink(disk))) await run()
  })

  it.for(shareOf(brokenCheckpointSinks))('fails a sink that %s', async ([, make]) => {
    let failed = false
    for (const { run } of examine(make)) {
      await run().catch(() => {
        failed = true
      })
      if (failed) break
    }
    expect(failed).toBe(true)
  })
})
