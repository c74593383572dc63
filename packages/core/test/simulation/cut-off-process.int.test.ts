import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { bundledProgram } from '@enablement/build/program'
import { hashTagged } from '@enablement/core/redis'
import { faultProxy } from '@enablement/core/testing/node'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

/** Answers of each kind that a node has given before the next thing goes wrong. */
const ENOUGH = Math.ceil(20 * Math.min(inject('scale'), 5))

let around = ''
let program = ''
beforeAll(async () => {
  around = mkdtempSync(join(tmpdir(), 'enablement-ledger-'))
  program = await bundledProgram(join(import.meta.dirname, 'ledger-node-child.ts'), around)
})
afterAll(() => rmSync(around, { recursive: true, force: true }))

/** A node's process and what it has said. */
interface Running {
  readonly lines: string[]
  /** Resolves once it has answered `count` more requests in this way. */
  answered(how: 'stored' | 'journaled', count: number): Promise<void>
  /** Resolves with how it ended. */
  readonly ended: Promise<NodeJS.Signals | number | null>
  /** Tells it to take no more requests, and waits until the store has everything. */
  drain(): Promise<void>
  kill(): void
}

function start(args: readonly string[]): Running {
  const child: ChildProcess = spawn(process.execPath, [program, ...args], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  const lines: string[] = []
  const watchers = new Set<() => void>()
  const ended = new Promise<NodeJS.Signals | number | null>((resolve) =>
    child.once('close', (code, signal) => resolve(signal ?? code))
  )
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    lines.push(line)
    for (const watcher of watchers) watcher()
  })
  return {
    lines,
    answered(how, count) {
      const from = lines.length
      const enough = new Promise<void>((resolve) => {
        const watcher = (): void => {
          if (lines.slice(from).filter((line) => line.startsWith(how)).length < count) return
          watchers.delete(watcher)
          resolve()
        }
        watchers.add(watcher)
      })
      const early = ended.then((end) => {
        throw new Error(`a node ended with ${end} before it had answered`)
      })
      return Promise.race([enough, early])
    },
    ended,
    async drain() {
      child.stdin?.write('stop\n')
      expect(await ended).toBe(0)
      expect(lines.at(-1)).toBe('drained')
    },
    kill: () => void child.kill('SIGKILL')
  }
}

describe('three processes and a Redis (XP-3)', () => {
  it('lose nothing and double nothing while one is cut off, killed and started again', async () => {
    const redisUrl = inject('redisUrl')
    const direct = new Redis(redisUrl)
    const ledger = `xp3-${process.pid}-${process.hrtime.bigint()}`
    const counted = hashTagged({ prefix: 'ledger', tag: ledger, parts: ['counted'] })
    await using proxy = await faultProxy({
      target: { host: new URL(redisUrl).hostname, port: Number(new URL(redisUrl).port) },
      faults: [
        { kind: 'slice', sliceMaxBytes: 40, ratio: 0.2 },
        { kind: 'latency', latencyMs: 3, jitterMs: 3, ratio: 0.3 },
        // What was asked is done, and nobody hears of it.
        { kind: 'reset', only: ['down'], ratio: 0.05 },
        { kind: 'reset', only: ['up'], ratio: 0.02 }
      ]
    })
    const processes: Running[] = []
    const startNode = (name: string): Running => {
      const url = name === 'a' ? `redis://${proxy.host}:${proxy.port}` : redisUrl
      const running = start([url, ledger, join(around, name), name])
      processes.push(running)
      return running
    }
    try {
      const [first, b, c] = ['a', 'b', 'c'].map(startNode) as [Running, Running, Running]
      await Promise.all([first, b, c].map((node) => node.answered('stored', ENOUGH)))

      const heal = proxy.faults.add({ kind: 'partition' })
      await Promise.all([
        first.answered('journaled', ENOUGH),
        b.answered('stored', ENOUGH),
        c.answered('stored', ENOUGH)
      ])
      first.kill()
      b.kill()
      expect(await Promise.all([first.ended, b.ended])).toEqual(['SIGKILL', 'SIGKILL'])
      const [a, bAgain] = [startNode('a'), startNode('b')]
      await Promise.all([
        a.answered('journaled', ENOUGH),
        bAgain.answered('stored', ENOUGH),
        c.answered('stored', ENOUGH)
      ])

      heal()
      await Promise.all([a, bAgain, c].map((node) => node.drain()))

      const counts = await direct.hgetall(counted)
      const told = processes.flatMap(({ lines }) => lines).filter((line) => /^(stored|journaled) /.test(line))
      const lost = told.filter((line) => counts[line.split(' ')[1] as string] === undefined)
      expect(lost).toEqual([])
      expect(Object.entries(counts).filter(([, times]) => times !== '1')).toEqual([])
      expect(told.length).toBeGreaterThanOrEqual(9 * ENOUGH)
    } finally {
      for (const running of processes) running.kill()
      await Promise.all(processes.map(({ ended }) => ended))
      direct.disconnect()
    }
  }, 600_000)
})
