import type { JournalDisk, JournalFile, JournalFolder } from '@enablement/core/journal'
import { type FaultRule, simulatedDisk } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { openOn } from './disk-kit.ts'
import { bytesOf, refusalOf, textsIn } from './journal-kit.ts'

type Outcome = readonly string[] | 'reopened'

/** What a script of appends came to, on a disk that strikes `faults` after so many calls of their kind. */
interface Story {
  readonly outcomes: Outcome[]
  readonly kept: string[]
  readonly state: string
}

/** The `at`-th call of the operation fails, counted from 1. */
interface Failing {
  readonly operation: string
  readonly at: number
  readonly code: string
}

/**
 * A step is a group of numbers that are appended at once, or `reopen`; each makes a record of 1,000 bytes, from 100 on one
 * of 10. Segments have 4,096: each takes three.
 */
async function story(
  steps: readonly ('reopen' | readonly number[])[],
  failing: readonly Failing[],
  always: readonly FaultRule[] = []
): Promise<Story> {
  const calls = new Map<string, number>()
  const disk = simulatedDisk({
    observe({ operation }) {
      const count = (calls.get(operation) ?? 0) + 1
      calls.set(operation, count)
      arm(operation, count)
    }
  })
  const arm = (operation: string, count: number): void => {
    for (const { operation: only, at, code } of failing) {
      if (only === operation && at === count + 1) disk.faults.add({ kind: 'error', code, only: [only], times: 1 })
    }
  }
  for (const { operation } of failing) arm(operation, 0)
  for (const rule of always) disk.faults.add(rule)

  const options = { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 }
  const outcomes: Outcome[] = []
  let journal = await openOn(disk, options)
  for (const step of steps) {
    if (step === 'reopen') {
      await journal.close()
      journal = await openOn(disk, options)
      outcomes.push('reopened')
      continue
    }
    const appended = step.map((number) =>
      journal.append(bytesOf(`${number}:`.padEnd(number < 100 ? 1_000 : 10, 'x'))).then(
        (sequence) => `${sequence}`,
        (error: { readonly code: string }) => error.code
      )
    )
    outcomes.push(await Promise.all(appended))
  }
  const kept: string[] = []
  for await (const { sequence, payload } of journal.replay()) {
    kept.push(`${sequence} ${Buffer.from(payload).toString().split(':')[0]}`)
  }
  const { state } = journal.status()
  await journal.close()
  return { outcomes, kept, state }
}

const small = { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 }
const third = bytesOf('x'.repeat(1_000))

/** A disk whose folders are what `change` makes of them. */
const changed = (disk: JournalDisk, change: (folder: JournalFolder) => Partial<JournalFolder>): JournalDisk => ({
  async openFolder(path) {
    const folder = await disk.openFolder(path)
    return { ...folder, ...change(folder) }
  }
})

const failure = (code: string, syscall: string): Error => Object.assign(new Error(code), { code, syscall })

/** Fails the first call after `arm`, when it is done. */
class Belated {
  #isArmed = false
  arm(): void {
    this.#isArmed = true
  }
  async call(syscall: string, done: Promise<void>): Promise<void> {
    await done
    if (this.#isArmed) {
      this.#isArmed = false
      throw failure('EIO', syscall)
    }
  }
}

describe('a disk that fails (pitfall 11)', () => {
  it('leaves no segment behind that was renamed although it said that it was not', async () => {
    const belated = new Belated()
    const disk = changed(simulatedDisk(), (folder) => ({
      rename: (from, to) => belated.call('rename', folder.rename(from, to))
    }))
    const journal = await openOn(disk, small)
    for (let count = 0; count < 3; count++) await journal.append(third)
    belated.arm()
    await expect(journal.append(third)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    // It fits in the segment before.
    expect(await journal.append(bytesOf('small'))).toBe(4n)
    await journal.close()
    await using again = await openOn(disk, small)
    expect((await textsIn(again, 3n))[0]).toEqual([4n, 'small'])
  })

  it('can be trimmed further when a segment was removed although the disk said that it was not', async () => {
    const belated = new Belated()
    const disk = changed(simulatedDisk(), (folder) => ({
      remove: (name) => belated.call('unlink', folder.remove(name))
    }))
    await using journal = await openOn(disk, small)
    for (let count = 0; count < 10; count++) await journal.append(third)
    belated.arm()
    await expect(journal.trim({ through: 3n })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await journal.trim({ through: 6n })
    expect((await textsIn(journal))[0]?.[0]).toBe(7n)
  })

  it('has nothing removed behind a removal that may come back with the next power cut', async () => {
    const disk = simulatedDisk()
    await using journal = await openOn(disk, small)
    for (let count = 0; count < 10; count++) await journal.append(third)
    disk.faults.add({ kind: 'error', code: 'EIO', only: ['sync-folder'], times: 1 })
    const refusal = await refusalOf(journal.trim({ through: 3n }))
    expect(refusal).toMatchObject({ code: 'STORE_UNAVAILABLE', message: 'the journal cannot trim: EIO in fsync' })
    expect((await refusalOf(journal.trim({ through: 6n }))).message).toBe(refusal.message)
    expect(await journal.append(third)).toBe(11n)
    const after = disk.afterPowerCut({ name: () => false, write: () => 'none' })
    await using again = await openOn(after, small)
    expect(again.status()).toMatchObject({ firstSequence: 1n, lastSequence: 11n })
  })

  it('goes on with its sequences after a power cut, although the name of its last segment never got to the disk', async () => {
    const disk = simulatedDisk()
    const journal = await openOn(disk, small)
    for (let count = 0; count < 3; count++) await journal.append(third)
    disk.faults.add({ kind: 'error', code: 'EIO', only: ['sync-folder'], times: 1 })
    await expect(journal.append(third)).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
    await journal.close()
    const next = await openOn(disk, small)
    await next.trim({ through: 3n })
    disk.powerCut({ name: () => false, write: () => 'none' })
    await using again = await openOn(disk, small)
    expect(await again.append(third)).toBe(4n)
  })

  it.each(['sync', 'syncData'] as const)('leaves no file open after a failed %s', async (broken) => {
    const open = new Set<JournalFile>()
    const disk = changed(simulatedDisk(), (folder) => ({
      async create(name) {
        const file = await folder.create(name)
        const own: JournalFile = {
          ...file,
          [broken]: () => Promise.reject(failure('EIO', 'fsync')),
          async close() {
            await file.close()
            open.delete(own)
          }
        }
        open.add(own)
        return own
      }
    }))
    const journal = await openOn(disk)
    await expect(journal.append(third)).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
    await journal.close()
    expect(open.size).toBe(0)
  })

  it('poisons the journal by one failed sync, which is not tried again: the next opening reads what is there', async () => {
    expect(await story([[1], [2, 3], [4], 'reopen', [5]], [{ operation: 'sync-data', at: 2, code: 'EIO' }])).toEqual({
      outcomes: [
        ['1'],
        ['COMMIT_UNKNOWN', 'COMMIT_UNKNOWN'],
        ['STORE_UNAVAILABLE'],
        'reopened',
        // The two in doubt are there: their bytes were written, and opening wrote and synced them again.
        ['4']
      ],
      kept: ['1 1', '2 2', '3 3', '4 5'],
      state: 'open'
    })
  })

  it('poisons it by the sync of a new segment or of the folder, too', async () => {
    const unsynced = [['1'], ['COMMIT_UNKNOWN'], ['STORE_UNAVAILABLE']]
    // Opening syncs the folder, too.
    for (const failing of [
      { operation: 'sync', at: 1, code: 'EIO' },
      { operation: 'sync-folder', at: 2, code: 'EIO' }
    ]) {
      expect(await story([[1], [2]], [failing])).toEqual({
        outcomes: [['COMMIT_UNKNOWN'], ['STORE_UNAVAILABLE']],
        kept: [],
        state: 'failed'
      })
    }
    expect(await story([[1], [2, 3, 4, 5], [6]], [{ operation: 'sync', at: 2, code: 'EIO' }])).toEqual({
      outcomes: [unsynced[0], ['2', '3', 'COMMIT_UNKNOWN', 'COMMIT_UNKNOWN'], unsynced[2]],
      kept: ['1 1', '2 2', '3 3'],
      state: 'failed'
    })
  })

  it('takes a write back that did not fit, refuses what waits behind it, and goes on when there is room', async () => {
    // The header of the first segment is the first write.
    expect(
      await story([[1], [2, 3, 4], [5, 6], 'reopen', [7]], [{ operation: 'write', at: 3, code: 'ENOSPC' }])
    ).toEqual({
      outcomes: [['1'], ['STORE_UNAVAILABLE', 'STORE_UNAVAILABLE', 'STORE_UNAVAILABLE'], ['2', '3'], 'reopened', ['4']],
      kept: ['1 1', '2 5', '3 6', '4 7'],
      state: 'open'
    })
  })

  it('takes a segment back that did not fit, or goes on in it when only its first records did not', async () => {
    // The small one fits in the segment before, too: it must not go there when there is one behind it.
    const afterwards = { outcomes: [['1', '2', '3'], ['STORE_UNAVAILABLE'], ['4'], ['5'], 'reopened'], state: 'open' }
    const kept = ['1 1', '2 2', '3 3', '4 100', '5 6']
    for (const failing of [
      { operation: 'create', at: 2, code: 'ENOSPC' },
      { operation: 'write', at: 3, code: 'ENOSPC' },
      { operation: 'rename', at: 2, code: 'EDQUOT' },
      { operation: 'write', at: 4, code: 'ENOSPC' }
    ]) {
      expect(await story([[1, 2, 3], [4], [100], [6], 'reopen'], [failing])).toEqual({ ...afterwards, kept })
    }
  })

  it('poisons the journal when it cannot take a write back', async () => {
    const failing = [
      { operation: 'write', at: 3, code: 'ENOSPC' },
      { operation: 'truncate', at: 1, code: 'EIO' }
    ]
    expect(await story([[1], [2], [3], 'reopen', [4]], failing)).toEqual({
      outcomes: [['1'], ['COMMIT_UNKNOWN'], ['STORE_UNAVAILABLE'], 'reopened', ['2']],
      kept: ['1 1', '2 4'],
      state: 'open'
    })
  })

  it('may take a few bytes at a time', async () => {
    const steps = [
      [1, 2],
      [3, 4]
    ]
    expect(await story(steps, [], [{ kind: 'slice', sliceMaxBytes: 7, only: ['write'] }])).toEqual({
      outcomes: [
        ['1', '2'],
        ['3', '4']
      ],
      kept: ['1 1', '2 2', '3 3', '4 4'],
      state: 'open'
    })
  })

  it('refuses records when it is full, takes none of them in half, and goes on when there is room', async () => {
    const disk = simulatedDisk({ capacityBytes: 3_000 })
    await using journal = await openOn(disk, { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 })
    expect(await journal.append(bytesOf('x'.repeat(1_000)))).toBe(1n)
    expect(await journal.append(bytesOf('x'.repeat(1_000)))).toBe(2n)
    await expect(journal.append(bytesOf('x'.repeat(1_000)))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await journal.append(bytesOf('small'))).toBe(3n)
  })
})
