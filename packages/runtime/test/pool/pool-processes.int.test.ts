import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { bundledProgram } from '@enablement/build/program'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

interface Said {
  readonly ready?: true
  readonly agent?: string
  readonly fence?: number
  readonly value?: unknown
  readonly ended?: string
  readonly refused?: string
  readonly metrics?: { readonly members: number; readonly held: number; readonly queued: number }
}

/** A process of the pool. */
interface Member {
  readonly child: ChildProcess
  tell(line: string): void
  /** The next line that it says of which this holds, among those that nobody waited for yet. */
  said(holds: (line: Said) => boolean): Promise<Said>
}

const engine = createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm')

describe('two processes on one pool in Redis', () => {
  const children: ChildProcess[] = []
  let folder = ''
  let bundle = ''
  let pools = 0

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'runtime-pool-'))
    bundle = await bundledProgram(path.join(import.meta.dirname, 'pool-process.ts'), folder)
  }, 60_000)
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })

  const start = async (pool: string, capacity: number): Promise<Member> => {
    const child = spawn(process.execPath, [bundle, inject('redisUrl'), pool, String(capacity), engine], {
      stdio: ['pipe', 'pipe', 'inherit']
    })
    children.push(child)
    const lines: Said[] = []
    const listeners = new Set<() => void>()
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(JSON.parse(line) as Said)
      for (const listener of listeners) listener()
    })
    const said: Member['said'] = (holds) =>
      new Promise((resolve) => {
        const look = (): void => {
          const at = lines.findIndex(holds)
          if (at === -1) return
          listeners.delete(look)
          resolve(lines.splice(at, 1)[0] as Said)
        }
        listeners.add(look)
        look()
      })
    await said(({ ready }) => ready === true)
    return { child, tell: (line) => void child.stdin.write(`${line}\n`), said }
  }

  const two = async (capacity: number): Promise<[Member, Member]> => {
    pools += 1
    const pool = `processes-${process.pid}-${process.hrtime.bigint()}-${pools}`
    return [await start(pool, capacity), await start(pool, capacity)]
  }

  const end = async (...members: readonly Member[]): Promise<void> => {
    for (const { child } of members) {
      const exit = new Promise((resolve) => child.once('exit', (code) => resolve(code)))
      child.stdin?.end()
      expect(await exit).toBe(0)
    }
  }

  const granted = async (member: Member, agent: string): Promise<number> => {
    const { fence, value } = await member.said((line) => line.agent === agent && line.ended === undefined)
    expect(value).toBe(42)
    return fence as number
  }

  it('share its capacity, its order and its fences, and preempt each other', async () => {
    const [a, b] = await two(2)
    a.tell('claim first low')
    const first = await granted(a, 'first')
    b.tell('claim second normal')
    const second = await granted(b, 'second')
    b.tell('claim third low')
    // It waits: the capacity is spent, and nobody is below it.
    b.tell('metrics')
    let totals = await b.said(({ metrics }) => metrics !== undefined)
    while (totals.metrics?.queued !== 1) {
      b.tell('metrics')
      totals = await b.said(({ metrics }) => metrics !== undefined)
    }
    expect(totals.metrics).toMatchObject({ members: 2, held: 2, queued: 1 })
    // The urgent one in b takes the place of the low one in a, though another has waited for longer.
    b.tell('claim urgent critical')
    expect(await a.said((line) => line.ended !== undefined)).toMatchObject({ agent: 'first', ended: 'preempted' })
    const urgent = await granted(b, 'urgent')
    b.tell('release second')
    const third = await granted(b, 'third')
    expect([first, second, urgent, third]).toEqual([first, second, urgent, third].sort((one, other) => one - other))
    await end(a, b)
  }, 60_000)

  it('get the places of one that was killed, when its lease is over', async () => {
    const [a, b] = await two(1)
    a.tell('claim doomed critical')
    const doomed = await granted(a, 'doomed')
    b.tell('claim heir low')
    a.tell('claim other high')
    const killed = new Promise((resolve) => a.child.once('exit', (_code, signal) => resolve(signal)))
    a.child.kill('SIGKILL')
    expect(await killed).toBe('SIGKILL')
    expect(await granted(b, 'heir')).toBeGreaterThan(doomed)
    b.tell('metrics')
    const { metrics } = await b.said((line) => line.metrics !== undefined)
    expect(metrics).toMatchObject({ members: 1, held: 1, queued: 0 })
    await end(b)
  }, 60_000)
})
