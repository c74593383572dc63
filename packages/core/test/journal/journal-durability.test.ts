import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { bundledProgram } from '@enablement/build/program'
import { openJournal } from '@enablement/core/journal'
import { seededRandom } from '@enablement/core/testing'
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest'
import { segmentsIn, textsIn, useFolder } from './journal-kit.ts'

const folder = useFolder()

/** Kills of a process that appends. */
const ROUNDS = Math.ceil(Math.min(2 * inject('scale'), 60))

let bundles = ''
let appending = ''
let scripted = ''
beforeAll(async () => {
  bundles = mkdtempSync(join(tmpdir(), 'enablement-journal-children-'))
  appending = await bundledProgram(join(import.meta.dirname, 'appending-child.ts'), bundles)
  scripted = await bundledProgram(join(import.meta.dirname, 'scripted-child.ts'), bundles)
})
afterAll(() => rmSync(bundles, { recursive: true }))

let started: ChildProcess | undefined
afterEach(() => void started?.kill('SIGKILL'))

/** Runs a program; `onLine` gets each line and the process. Resolves with its lines and how it ended. */
async function run(
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  onLine: (child: ChildProcess, lines: number) => void = () => undefined
): Promise<{ readonly lines: string[]; readonly end: NodeJS.Signals | number | null }> {
  const [program = '', ...rest] = command
  const child = spawn(program, rest, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...environment }
  })
  started = child
  const ended = new Promise<NodeJS.Signals | number | null>((resolve) =>
    child.once('close', (code, signal) => resolve(signal ?? code))
  )
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line)
    onLine(child, lines.length)
  }
  return { lines, end: await ended }
}

/** Sequence and number of each record, which must be whole. */
async function keptIn(path: string): Promise<Map<bigint, number>> {
  await using journal = await openJournal({ folder: path })
  const texts = await textsIn(journal)
  // Nothing is left out, and nothing is there that nobody appended.
  expect(texts.map(([sequence]) => sequence)).toEqual(texts.map((_, index) => BigInt(index + 1)))
  for (const [, text] of texts) expect(text).toMatch(/^\d+:x*$/)
  const numbers = texts.map(([, text]) => Number(text.split(':')[0]))
  expect(new Set(numbers).size).toBe(numbers.length)
  return new Map(texts.map(([sequence], index) => [sequence, numbers[index] as number]))
}

describe('a process that appends', () => {
  it('is killed again and again, and every acknowledged record is there, under its sequence', async () => {
    const random = seededRandom(11)
    const acknowledged = new Map<bigint, number>()
    let number = 0
    for (let round = 0; round < ROUNDS; round++) {
      const enough = 1 + random.below(600)
      const { lines, end } = await run(
        [process.execPath, appending, folder(), `${number}`, '200'],
        {},
        (child, count) => {
          if (count >= enough) child.kill('SIGKILL')
        }
      )
      expect(end).toBe('SIGKILL')
      const before = acknowledged.size
      for (const line of lines) {
        const [sequence = '', text = ''] = line.split(' ')
        expect(acknowledged.has(BigInt(sequence))).toBe(false)
        acknowledged.set(BigInt(sequence), Number(text))
      }
      expect(acknowledged.size - before).toBeGreaterThanOrEqual(enough)
      const kept = await keptIn(folder())
      for (const [sequence, expected] of acknowledged) expect(kept.get(sequence)).toBe(expected)
      // Each of the 16 callers may have had one record on disk that it had not heard of, in every round.
      expect(kept.size - acknowledged.size).toBeLessThanOrEqual(16 * (round + 1))
      number = Math.max(...kept.values()) + 1_000
    }
    expect(segmentsIn(folder()).length).toBeGreaterThanOrEqual(ROUNDS)
  }, 600_000)

  it('gets STORE_UNAVAILABLE from a disk that takes no more, and nothing of what was refused is there', async () => {
    // A limit on the size of a file fails writes for real, with EFBIG instead of ENOSPC, and needs no disk to fill. In
    // KiB, or in units of 512 bytes where the shell counts so: both less than a segment.
    const script = `trap '' XFSZ; ulimit -f 60; exec "$@"`
    const { lines } = await run(['sh', '-c', script, 'sh', process.execPath, appending, folder(), '0', '700'])
    expect(lines.at(-1)).toBe('STORE_UNAVAILABLE')
    const acknowledged = lines.slice(0, -1).map((line) => line.split(' '))
    expect(acknowledged.length).toBeGreaterThan(16)
    const kept = await keptIn(folder())
    expect([...kept]).toEqual(
      acknowledged.map(([sequence = '', text]): [bigint, number] => [BigInt(sequence), Number(text)])
    )
  }, 30_000)

  it('keeps others out of the folder until it is killed', async () => {
    let refusal: Promise<string> | undefined
    await run([process.execPath, appending, folder(), '0', '10'], {}, (child, count) => {
      if (count !== 20) return
      refusal = openJournal({ folder: folder() })
        .then(
          () => 'was not refused',
          (error: { readonly code: string }) => error.code
        )
        .finally(() => child.kill('SIGKILL'))
    })
    expect(await refusal).toBe('STORE_UNAVAILABLE')
    expect((await keptIn(folder())).size).toBeGreaterThanOrEqual(20)
  }, 30_000)
})

describe('the thread that writes', () => {
  /** Runs a script of appends in a process whose calls to the file system fail. */
  async function script(steps: readonly ('reopen' | readonly number[])[], fault: object): Promise<unknown> {
    const environment = {
      NODE_OPTIONS: `--require ${join(import.meta.dirname, 'faulty-disk.cjs')}`,
      JOURNAL_FAULT: JSON.stringify(fault)
    }
    const { lines } = await run([process.execPath, scripted, folder(), JSON.stringify(steps)], environment)
    return JSON.parse(lines.join('\n'))
  }

  it('syncs the data of every batch, and poisons the journal by one that failed', async () => {
    expect(await script([[1], [2, 3], [4], 'reopen', [5]], { call: 'fdatasyncSync', at: 2, code: 'EIO' })).toEqual({
      outcomes: [['1'], ['COMMIT_UNKNOWN', 'COMMIT_UNKNOWN'], ['STORE_UNAVAILABLE'], 'reopened', ['4']],
      kept: ['1 1', '2 2', '3 3', '4 5'],
      state: 'open'
    })
  }, 30_000)

  it('syncs the header of a segment, and then its name', async () => {
    for (const at of [1, 2]) {
      rmSync(folder(), { recursive: true, force: true })
      expect(await script([[1], [2]], { call: 'fsyncSync', at, code: 'EIO' })).toEqual({
        outcomes: [['COMMIT_UNKNOWN'], ['STORE_UNAVAILABLE']],
        kept: [],
        state: 'failed'
      })
    }
  }, 30_000)
})
