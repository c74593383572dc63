import type { Journal } from '@enablement/core/journal'
import {
  type DiskOperation,
  randomPowerCut,
  type SimulatedDisk,
  seededRandom,
  simulatedDisk,
  testPlatform
} from '@enablement/core/testing'
import { describe, expect, inject, it } from 'vitest'
import { openOn } from './disk-kit.ts'
import { bytesOf, textsIn } from './journal-kit.ts'

const LIVES = Math.ceil(40 * inject('scale'))
const STEPS = 40

/** What fails. A folder's sync does not: a removal that is in doubt may be a hole after a power cut, which is reported. */
const FAILING: readonly DiskOperation[] = [
  'create',
  'rename',
  'remove',
  'read',
  'write',
  'truncate',
  'sync',
  'sync-data'
]

/** What the callers of a journal know, over all its openings. */
class Callers {
  readonly told = new Map<bigint, string>()
  /** Texts that must be nowhere: never given to it, or refused for sure. */
  readonly refused = new Set<string>()
  asked = 0
  trimmedThrough = 0n

  async append(journal: Journal, lengthBytes: number): Promise<void> {
    const text = `${this.asked++}:`
    try {
      this.told.set(await journal.append(bytesOf(text.padEnd(lengthBytes, 'x'))), text)
    } catch (error) {
      if ((error as { readonly code?: string }).code !== 'COMMIT_UNKNOWN') this.refused.add(text)
    }
  }

  async trim(journal: Journal, through: bigint): Promise<void> {
    if (through > this.trimmedThrough) this.trimmedThrough = through
    await journal.trim({ through }).catch(() => {})
  }

  async check(journal: Journal): Promise<void> {
    const texts = (await textsIn(journal)).map(([sequence, text]) => [sequence, `${text.split(':')[0]}:`] as const)
    const first = journal.status().firstSequence
    expect(texts.map(([sequence]) => sequence)).toEqual(texts.map((_, at) => first + BigInt(at)))
    for (const [, text] of texts) expect(this.refused).not.toContain(text)
    const kept = new Map(texts)
    for (const [sequence, text] of this.told) if (sequence > this.trimmedThrough) expect(kept.get(sequence)).toBe(text)
    expect(journal.status().lastSequence).toBeGreaterThanOrEqual(this.trimmedThrough)
  }
}

/** Opens it, however often something fails on the way. */
async function reopen(disk: SimulatedDisk): Promise<Journal> {
  for (;;) {
    try {
      return await openOn(disk, { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 })
    } catch (error) {
      // Each fault strikes once; whatever else there is to say about the folder would be said forever.
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    }
  }
}

async function live(seed: number): Promise<void> {
  const random = seededRandom(seed)
  const disk = simulatedDisk({ platform: testPlatform({ seed }) })
  const callers = new Callers()
  let journal = await reopen(disk)
  const again = async (): Promise<void> => {
    journal = await reopen(disk)
    disk.faults.clear()
    await callers.check(journal)
    if (random.below(2) === 0) disk.faults.add({ kind: 'slice', sliceMaxBytes: 1 + random.below(300), ratio: 0.8 })
  }
  for (let step = 0; step < STEPS; step++) {
    const what = random.below(10)
    if (what < 5) {
      const appended = Array.from({ length: 1 + random.below(5) }, () =>
        callers.append(journal, 4 + random.below(1_500))
      )
      // What comes next may come while the disk is at work.
      const turns = random.below(4) === 0 ? random.below(12) : undefined
      if (turns === undefined) await Promise.all(appended)
      else for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
    } else if (what === 5) {
      await callers.trim(journal, BigInt(random.below(Number(journal.status().lastSequence) + 1)))
    } else if (what === 6) {
      const operation = FAILING[random.below(FAILING.length)] as DiskOperation
      const code = random.below(2) === 0 ? 'EIO' : 'ENOSPC'
      disk.faults.add({ kind: 'error', code, only: [operation], times: 1 })
    } else {
      if (what === 7) await journal.close()
      else if (what === 8) disk.kill()
      else disk.powerCut(randomPowerCut(random))
      await again()
    }
  }
}

describe('a journal whose disk fails at random, is killed and loses its power', () => {
  it(`loses nothing and invents nothing, in ${LIVES} lives`, async () => {
    for (let seed = 1; seed <= LIVES; seed++) {
      await live(seed).catch((cause: unknown) => {
        throw new Error(`seed ${seed}`, { cause })
      })
    }
  }, 600_000)
})
