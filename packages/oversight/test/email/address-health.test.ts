import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pgliteDatabase } from '@enablement/core/postgres'
import { integerOf, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, seededRandom, virtualClock, withStoreClock } from '@enablement/core/testing'
import { type AddressHealth, emailSchema, memoryAddressHealth, sqlAddressHealth } from '@enablement/oversight/email'
import { addressHealthConformance, type CreateAddressHealth } from '@enablement/oversight/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { test } from '@fast-check/vitest'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { brokenAddressHealths, soundAddressHealth } from './broken-address-healths.ts'
import { expectLikeModel, histories } from './health-histories.ts'

const scale = inject('scale')
const exam = (create: CreateAddressHealth) => conformanceTests(addressHealthConformance, { create, supports: {} })

const inMemory =
  (make: (rule: Parameters<CreateAddressHealth>[0], now: () => number) => AddressHealth): CreateAddressHealth =>
  async (rule) => {
    const clock = virtualClock()
    const health = make(rule, () => clock.now())
    return { health, clock, domain: 'example.com', another: async () => health, [Symbol.asyncDispose]: async () => {} }
  }

describe('address health in memory', () => {
  const create: CreateAddressHealth = async (rule) => {
    const clock = virtualClock()
    const health = memoryAddressHealth({ ...rule, platform: { clock, random: seededRandom(1) } })
    return { health, clock, domain: 'example.com', another: async () => health, [Symbol.asyncDispose]: async () => {} }
  }
  it.for(exam(create).tests)('$name', (one) => expect(one.run()).resolves.toBeUndefined())

  it('forgets the oldest when there are too many', async () => {
    const health = memoryAddressHealth({ entriesMax: 2, hardBouncesMax: 1 })
    for (const name of ['a', 'b', 'c']) await health.record({ address: `${name}@example.com`, messageId: 'm' }, 'hard')
    const outcomes = await Promise.all(['a', 'b', 'c'].map((name) => health.standing(`${name}@example.com`)))
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['usable', 'invalid', 'invalid'])
    for (const messageId of ['m1', 'm2', 'm3']) await health.record({ address: 'd@example.com', messageId }, 'soft')
    const traces = await Promise.all(
      ['m1', 'm2', 'm3'].map((messageId) => health.trace({ address: 'd@example.com', messageId }))
    )
    expect(traces.map(({ softFailures }) => softFailures)).toEqual([0, 1, 1])
  })

  it('refuses rules that make no sense, with the path', () => {
    for (const [option, value] of [
      ['hardBouncesMax', 0],
      ['hardBouncesMax', 1.5],
      ['windowMs', Number.NaN],
      ['windowMs', 1],
      ['settleMs', -1],
      ['invalidMs', Number.POSITIVE_INFINITY],
      ['hardBounceMax', 3]
    ] as const) {
      expect(() => memoryAddressHealth({ [option]: value })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining(option) })
      )
    }
  })
})

/** Of things that are alike, all on the sources; on the built output every fifth, which shows that it is whole. */
const shareOf = <T>(things: readonly T[]): T[] => things.filter((_, at) => at % Math.ceil(1 / scale) === 0)

let subjects = 0
/** One database for all cases, which have domains of their own. */
const sharing =
  (databases: () => readonly SqlDatabase[]): CreateAddressHealth =>
  async (rule) => {
    subjects += 1
    const clock = virtualClock()
    const healths = databases().map((db) => sqlAddressHealth({ db: withStoreClock(db, clock), ...rule }))
    let used = 0
    const another = async (): Promise<AddressHealth> => {
      used += 1
      return healths[used % healths.length] as AddressHealth
    }
    return {
      health: healths[0] as AddressHealth,
      clock,
      domain: `s${subjects}.example.com`,
      another,
      [Symbol.asyncDispose]: async () => {}
    }
  }

describe('address health on SQLite', () => {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-email-'))
  const databases: SqlDatabase[] = []
  beforeAll(async () => {
    const path = join(folder, 'health.db')
    databases.push(...[1, 2].map(() => sqliteDatabase({ path, durability: 'process' })))
    await migrate(databases[0] as SqlDatabase, [emailSchema])
  })
  afterAll(async () => {
    await Promise.all(databases.map((db) => db.close()))
    rmSync(folder, { recursive: true })
  })
  it.for(exam(sharing(() => databases)).tests)('$name', (one) => expect(one.run()).resolves.toBeUndefined())

  test.prop([histories], { numRuns: Math.ceil(25 * scale) })('answers as the model does', async (history) => {
    subjects += 1
    await expectLikeModel(history, {
      domain: `h${subjects}.example.com`,
      make: (clock, rule) => sqlAddressHealth({ db: withStoreClock(databases[0] as SqlDatabase, clock), ...rule })
    })
  })

  it('sweeps away what nobody will ask for again, and nothing else', async () => {
    await using disk = sqliteDatabase({ path: ':memory:' })
    await migrate(disk, [emailSchema])
    const clock = virtualClock()
    const db = withStoreClock(disk, clock)
    const health = sqlAddressHealth({ db, hardBouncesMax: 1, windowMs: 86_400_000, invalidMs: 40 * 86_400_000 })
    await health.record({ address: 'ana@example.com', messageId: 'm1' }, 'hard')
    await health.record({ address: 'bo@example.com', messageId: 'm1' }, 'soft')
    await health.record({ address: 'cy@example.com', messageId: 'm1' }, 'accepted')
    await health.enter({ address: 'cy@example.com', messageId: 'm1' }, [{ requestId: 'r', invitationId: 'i' }])
    const { signal } = new AbortController()
    const left = async (): Promise<number[]> => {
      const found = await db.run(() =>
        rows('select (select count(*) from email_addresses) as a, (select count(*) from email_mails) as m')
      )
      return found.flatMap((row) => [integerOf(row, 'a'), integerOf(row, 'm')])
    }
    expect(await left()).toEqual([1, 3])
    clock.jumpWallTo(clock.now() + 30 * 86_400_000 - 1)
    expect(await health.sweep.run({ signal })).toEqual({ handled: 0 })
    clock.jumpWallTo(clock.now() + 1)
    expect(await health.sweep.run({ signal })).toEqual({ handled: 3 })
    expect(await left()).toEqual([1, 0])
    expect(await health.standing('ana@example.com')).toMatchObject({ outcome: 'invalid' })
    clock.jumpWallTo(clock.now() + 10 * 86_400_000)
    expect(await health.standing('ana@example.com')).toEqual({ outcome: 'usable', hardBounces: 0 })
    expect(await health.sweep.run({ signal })).toEqual({ handled: 1 })
    expect(await left()).toEqual([0, 0])
  })
})

describe('address health on PGlite', () => {
  let db: SqlDatabase
  beforeAll(async () => {
    db = pgliteDatabase(await emptyPglite())
    await migrate(db, [emailSchema])
  })
  it.for(shareOf(exam(sharing(() => [db])).tests))('$name', (one) => expect(one.run()).resolves.toBeUndefined())
})

describe('the exam of address health', () => {
  const failuresOf = async (make: Parameters<typeof inMemory>[0]): Promise<string[]> => {
    const failed: string[] = []
    for (const { name, run } of exam(inMemory(make))) await run().catch(() => failed.push(name))
    return failed
  }

  it('passes one that is right', async () => {
    expect(await failuresOf(soundAddressHealth)).toEqual([])
  })

  it.for(shareOf(brokenAddressHealths))('fails one that $name', async ({ make }) => {
    expect(await failuresOf(make)).not.toEqual([])
  })
})
