import {
  type PowerCut,
  randomPowerCut,
  type SimulatedDisk,
  seededRandom,
  simulatedDisk
} from '@enablement/core/testing'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { openOn } from './disk-kit.ts'
import { bytesOf, textsIn } from './journal-kit.ts'

const SEED = 5
/** Journals that are cut at random, besides the one that is cut in every way. */
const RANDOM_RUNS = Math.ceil(2 * inject('scale'))

/** What the callers of a journal knew at a moment, and the disk after a power cut at that moment. */
interface Moment {
  readonly disk: SimulatedDisk
  /** How many texts had been handed to it. */
  readonly asked: number
  readonly told: ReadonlyMap<bigint, string>
  readonly trimmedThrough: bigint
}

interface Life {
  readonly texts: readonly string[]
  readonly moments: readonly Moment[]
  readonly syncs: number
  readonly told: ReadonlyMap<bigint, string>
  readonly trimmedThrough: bigint
}

/**
 * Three callers append through several segments and two openings, and trim on the way. `powers` are the power cuts at
 * each moment at which the disk was asked for something.
 */
async function live(seed: number, powers: readonly PowerCut[]): Promise<Life> {
  const random = seededRandom(seed)
  const texts: string[] = []
  const told = new Map<bigint, string>()
  const moments: Moment[] = []
  let trimmedThrough = 0n
  let syncs = 0
  const disk = simulatedDisk({
    observe({ operation }) {
      if (['read', 'length', 'names'].includes(operation)) return
      if (operation === 'sync-data') syncs += 1
      for (const power of powers) {
        moments.push({ disk: disk.afterPowerCut(power), asked: texts.length, told: new Map(told), trimmedThrough })
      }
    }
  })
  for (let opening = 0; opening < 2; opening++) {
    const journal = await openOn(disk, { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 })
    const caller = async (): Promise<void> => {
      for (let count = 0; count < 6; count++) {
        const text = `${texts.length}:`.padEnd(100 + random.below(900), 'x')
        texts.push(text)
        const sequence = await journal.append(bytesOf(text))
        told.set(sequence, text)
        if (sequence % 8n !== 0n) continue
        if (sequence - 2n > trimmedThrough) trimmedThrough = sequence - 2n
        await journal.trim({ through: sequence - 2n })
      }
    }
    await Promise.all([caller(), caller(), caller()])
    await journal.close()
  }
  return { texts, moments, syncs, told, trimmedThrough }
}

/** Every acknowledged record that was not trimmed is there, in order, and none that nobody appended. */
async function expectKept({ disk, asked, told, trimmedThrough }: Moment, texts: readonly string[]): Promise<void> {
  await using journal = await openOn(disk, { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 })
  const found = new Map(await textsIn(journal))
  const [first = journal.status().firstSequence] = found.keys()
  const numbers = Array.from(found.values(), (text) => Number(text.split(':')[0]))
  const wrong = [...found].filter(
    ([sequence, text], index) =>
      sequence !== first + BigInt(index) ||
      texts[numbers[index] as number] !== text ||
      (numbers[index] as number) >= asked
  )
  expect(wrong).toEqual([])
  expect(new Set(numbers).size).toBe(numbers.length)
  const lost = [...told].filter(([sequence, text]) => sequence > trimmedThrough && found.get(sequence) !== text)
  expect(lost).toEqual([])
}

const random = seededRandom(SEED)
const cuts: readonly (readonly [string, PowerCut])[] = [
  ['nothing of it', { name: () => false, write: () => 'none' }],
  ['all of it', { name: () => true, write: () => 'all' }],
  ['names but no bytes', { name: () => true, write: () => 'none' }],
  ['bytes but no names', { name: () => false, write: () => 'all' }],
  ['the beginning of each write', { name: () => true, write: () => 'half' }],
  ['every other sector', { name: () => true, write: () => 'holes' }],
  ['zeros', { name: () => true, write: () => 'zeros' }],
  ['whatever it likes', randomPowerCut(random)]
]

describe('records that wait at the same time', () => {
  it('share a sync', async () => {
    const { told, syncs } = await live(SEED, [])
    expect(told.size).toBe(36)
    expect(syncs).toBeLessThan(told.size * 0.75)
  })
})

describe('a power cut at any moment, of a disk that keeps of what was not synced (pitfall 11)', () => {
  let life: Life
  beforeAll(async () => {
    life = await live(
      SEED,
      cuts.map(([, power]) => power)
    )
  })

  it.each(cuts.map(([name], index) => [name, index] as const))(
    '%s: every acknowledged record is there, in order, and none that nobody appended',
    async (_, index) => {
      const moments = life.moments.filter((__, at) => at % cuts.length === index)
      for (const moment of moments) await expectKept(moment, life.texts)
      expect(life.told.size).toBe(36)
      expect(life.trimmedThrough).toBeGreaterThan(20n)
      expect(moments.length).toBeGreaterThan(75)
    }
  )

  it('whatever it likes, of journals of other lengths', async () => {
    for (let run = 1; run <= RANDOM_RUNS; run++) {
      const { moments, texts } = await live(SEED + run, [randomPowerCut(seededRandom(run))])
      for (const moment of moments) await expectKept(moment, texts)
    }
  }, 600_000)
})
