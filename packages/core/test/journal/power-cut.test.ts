import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openJournal } from '@enablement/core/journal'
import { seededRandom } from '@enablement/core/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundledChild } from './bundled-child.ts'
import { textsIn } from './journal-kit.ts'
import { type PowerCut, SimulatedDisk, type TraceEntry } from './simulated-disk.ts'

const SEED = 5

let folder = ''
let trace: TraceEntry[] = []
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'enablement-power-cut-'))
  const child = await bundledChild('recorded-child', folder)
  const file = join(folder, 'trace')
  await promisify(execFile)(process.execPath, [child, join(folder, 'recorded')], {
    env: {
      ...process.env,
      NODE_OPTIONS: `--require ${join(import.meta.dirname, 'recording-disk.cjs')}`,
      JOURNAL_TRACE: file
    }
  })
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  trace = lines.map((line) => JSON.parse(line) as TraceEntry)
}, 30_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const random = seededRandom(SEED)
const cuts: readonly (readonly [string, PowerCut])[] = [
  ['nothing of it', { name: () => false, write: () => 'none' }],
  ['all of it', { name: () => true, write: () => 'all' }],
  ['names but no bytes', { name: () => true, write: () => 'none' }],
  ['bytes but no names', { name: () => false, write: () => 'all' }],
  ['the beginning of each write', { name: () => true, write: () => 'half' }],
  ['every other sector', { name: () => true, write: () => 'holes' }],
  ['zeros', { name: () => true, write: () => 'zeros' }],
  [
    'whatever it likes',
    {
      name: () => random.below(2) === 0,
      write: () => (['all', 'none', 'half', 'zeros', 'holes'] as const)[random.below(5)] ?? 'all'
    }
  ]
]

describe('records that wait at the same time', () => {
  it('share a sync', () => {
    const told = trace.filter(({ op }) => op === 'told').length
    const synced = trace.filter(({ op }, index) => op === 'sync' && trace[index - 1]?.op === 'write').length
    // Besides the records, headers of segments and seals.
    const begun = trace.filter(({ op }) => op === 'rename').length
    expect(synced - begun - 2).toBeLessThan(told * 0.75)
  })
})

describe('a power cut at any moment, of a disk that keeps of what was not synced', () => {
  it.each(cuts)('%s: every acknowledged record is there, in order, and none that nobody appended', async (_, power) => {
    const disk = new SimulatedDisk()
    const asked = new Set<string>()
    const told = new Map<bigint, string>()
    let trimmedThrough = 0n
    let states = 0
    for (const entry of trace) {
      disk.perform(entry)
      if (entry.op === 'asked') asked.add(entry.text)
      if (entry.op === 'told') told.set(BigInt(entry.sequence), entry.text)
      if (entry.op === 'trimming' && BigInt(entry.through) > trimmedThrough) trimmedThrough = BigInt(entry.through)
      // After these the disk could be in no state that it could not be in before.
      if (entry.op === 'asked' || entry.op === 'trimming') continue
      const path = join(folder, 'after')
      rmSync(path, { recursive: true, force: true })
      mkdirSync(path)
      for (const [name, bytes] of disk.cut(power)) writeFileSync(join(path, name), bytes)
      await using journal = await openJournal({ folder: path })
      const found = new Map(await textsIn(journal))
      const [first = journal.status().firstSequence] = found.keys()
      expect([...found.keys()]).toEqual(Array.from(found, (__, index) => first + BigInt(index)))
      for (const text of found.values()) expect(asked.has(text)).toBe(true)
      for (const [sequence, text] of told) if (sequence > trimmedThrough) expect(found.get(sequence)).toBe(text)
      states += 1
    }
    expect(told.size).toBe(36)
    expect(trimmedThrough).toBeGreaterThan(20n)
    expect(states).toBeGreaterThan(100)
  })
})
