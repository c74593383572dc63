import type { CoreError } from '@enablement/core'
import type { JournalEvent } from '@enablement/core/journal'
import { type SimulatedDisk, simulatedDisk } from '@enablement/core/testing'
import { beforeEach, describe, expect, it } from 'vitest'
import { diskWith, FOLDER, openOn, segmentsOn } from './disk-kit.ts'
import { bytesOf, textsIn } from './journal-kit.ts'

const HEADER_BYTES = 28
const RECORD_HEADER_BYTES = 28
const texts = Array.from({ length: 6 }, (_, index) => `r${index}${'x'.repeat((index * 5) % 13)}`)
const expected = texts.map((text, index): [bigint, string] => [BigInt(index + 1), text])
/** Where each record ends. */
const ends: number[] = []
for (const text of texts) ends.push((ends.at(-1) ?? HEADER_BYTES) + RECORD_HEADER_BYTES + text.length)
const [beforeLast = 0] = ends.slice(-2)

let name = ''
/** One segment of six records, as a process leaves it that is killed, and the seal that closing adds to it. */
let whole: Buffer
let sealed: Buffer

beforeEach(async () => {
  const disk = simulatedDisk()
  const journal = await openOn(disk)
  await Promise.all(texts.map((text) => journal.append(bytesOf(text))))
  name = segmentsOn(disk)[0] ?? ''
  whole = disk.files.read(FOLDER, name)
  await journal.close()
  sealed = disk.files.read(FOLDER, name)
  expect([whole.length, sealed.length]).toEqual([ends.at(-1), (ends.at(-1) ?? 0) + RECORD_HEADER_BYTES])
})

type Found = { readonly records: [bigint, string][]; readonly events: JournalEvent[] } | { readonly error: CoreError }

/** What a journal finds in a folder with these segments. */
async function found(segments: Readonly<Record<string, Buffer>>): Promise<Found> {
  return foundOn(diskWith(segments))
}

async function foundOn(disk: SimulatedDisk): Promise<Found> {
  const before = segmentsOn(disk).map((file): [string, Buffer] => [file, disk.files.read(FOLDER, file)])
  const events: JournalEvent[] = []
  try {
    await using journal = await openOn(disk, { observe: (event) => events.push(event) })
    return { records: await textsIn(journal), events }
  } catch (error) {
    // What it cannot read it leaves as it was.
    for (const [file, bytes] of before) expect(disk.files.read(FOLDER, file).equals(bytes)).toBe(true)
    return { error: error as CoreError }
  }
}

const reasonOf = (outcome: Found): string =>
  'error' in outcome && outcome.error.is('STORE_DAMAGED')
    ? outcome.error.detail.reason
    : JSON.stringify(outcome, String)

/** The record that holds a byte, or -1 for the header of the segment. */
const recordAt = (at: number): number => (at < HEADER_BYTES ? -1 : ends.findIndex((end) => at < end))

describe('a segment that was cut off (pitfall 11)', () => {
  it('gives the records before the cut, wherever it was cut', async () => {
    for (let cut = HEADER_BYTES; cut <= sealed.length; cut++) {
      const outcome = await found({ [name]: sealed.subarray(0, cut) })
      const kept = ends.filter((end) => end <= cut).length
      const keptBytes = ends[kept - 1] ?? HEADER_BYTES
      const torn = cut !== keptBytes && cut !== sealed.length
      expect(outcome).toEqual({
        records: expected.slice(0, kept),
        events: torn
          ? [{ type: 'journal.tail-cut', segment: name, atBytes: keptBytes, lengthBytes: cut - keptBytes }]
          : []
      })
    }
  })

  it('is damaged when it is cut within its header, which is on disk before it has a name', async () => {
    for (let cut = 0; cut < HEADER_BYTES; cut++) {
      expect(reasonOf(await found({ [name]: sealed.subarray(0, cut) }))).toBe(
        `bytes 0 to 28 of ${name} are not its header`
      )
    }
  })

  it('stays cut: the next opening finds nothing to do', async () => {
    const disk = diskWith({ [name]: whole.subarray(0, whole.length - 1) })
    await foundOn(disk)
    const events: JournalEvent[] = []
    const options = { observe: (event: JournalEvent) => events.push(event) }
    {
      await using journal = await openOn(disk, options)
      expect(await journal.append(bytesOf('next'))).toBe(6n)
    }
    await using journal = await openOn(disk, options)
    expect(await textsIn(journal)).toEqual([...expected.slice(0, 5), [6n, 'next']])
    expect(events).toEqual([])
  })
})

describe('a segment with a flipped bit (pitfall 11)', () => {
  it('is damaged, and says where, when a valid record follows', async () => {
    for (let at = 0; at < sealed.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const bytes = Buffer.from(sealed)
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
        const outcome = await found({ [name]: bytes })
        const record = recordAt(at)
        if (at >= whole.length) {
          // The seal itself: with it goes nothing else.
          expect(outcome).toMatchObject({ records: expected, events: [{ type: 'journal.tail-cut' }] })
        } else if (record < 0) {
          expect(reasonOf(outcome)).toContain(`bytes 0 to 28 of ${name} are not its header`)
        } else {
          const from = ends[record - 1] ?? HEADER_BYTES
          expect(reasonOf(outcome)).toBe(
            `bytes ${from} to ${ends[record]} of ${name} are not record ${record + 1}, and a valid one follows`
          )
        }
      }
    }
  })

  it('is damaged without a seal, too, although all its records came with one write', async () => {
    for (let at = HEADER_BYTES; at < beforeLast; at++) {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] ?? 0) ^ 0x10
      expect(reasonOf(await found({ [name]: bytes }))).toContain(`to ${ends[recordAt(at)]} of ${name} are not record`)
    }
  })

  it('loses its last record, as if torn, when no seal follows: the two cannot be told apart', async () => {
    for (let at = beforeLast; at < whole.length; at++) {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] ?? 0) ^ 0x10
      expect(await found({ [name]: bytes })).toMatchObject({
        records: expected.slice(0, 5),
        events: [{ type: 'journal.tail-cut', atBytes: beforeLast }]
      })
    }
  })
})

describe('what lies behind the last record (pitfall 11)', () => {
  it('is cut off when it is zeros, which are no records', async () => {
    for (const length of [1, 7, 8, 27, 28, 29, 4_095, 70_000]) {
      expect(await found({ [name]: Buffer.concat([whole, Buffer.alloc(length)]) })).toEqual({
        records: expected,
        events: [{ type: 'journal.tail-cut', segment: name, atBytes: whole.length, lengthBytes: length }]
      })
    }
  })

  it('is cut off when it is the rest of an older segment in the same place', async () => {
    // The same sequences and the same epoch, from a folder of another journal: only the salt is another one.
    const disk = simulatedDisk()
    const journal = await openOn(disk)
    await Promise.all(texts.map((text) => journal.append(bytesOf(text))))
    await journal.close()
    const older = disk.files.read(FOLDER, name)
    expect(older.length).toBe(sealed.length)
    for (const end of ends.slice(0, -1)) {
      const recycled = Buffer.concat([whole.subarray(0, end), older.subarray(end)])
      expect(await found({ [name]: recycled })).toMatchObject({
        records: expected.slice(0, ends.indexOf(end) + 1),
        events: [{ type: 'journal.tail-cut', atBytes: end }]
      })
    }
  })

  it('is cut off when it is a torn record whose payload holds records of a journal', async () => {
    const disk = simulatedDisk()
    {
      await using journal = await openOn(disk)
      await journal.append(bytesOf('first'))
      await journal.append(whole)
    }
    const [nested = ''] = segmentsOn(disk)
    const bytes = disk.files.read(FOLDER, nested)
    const outcome = await found({ [nested]: bytes.subarray(0, bytes.length - RECORD_HEADER_BYTES - 1) })
    expect(outcome).toMatchObject({ records: [[1n, 'first']], events: [{ type: 'journal.tail-cut' }] })
  })

  it('is found to be damage wherever the next valid record begins', async () => {
    const big = { recordMaxBytes: 400_000, segmentMaxBytes: 1_048_576 }
    // Around the edge of what is read at a time, and far behind it.
    for (const length of [65_470, 65_482, 65_495, 65_508, 65_509, 65_530, 300_000]) {
      const disk = simulatedDisk()
      {
        await using journal = await openOn(disk, big)
        for (const size of [10, length, 200_000]) await journal.append(Buffer.alloc(size, 0xa7))
      }
      const bytes = disk.files.read(FOLDER, name)
      bytes[100] = 0
      expect(reasonOf(await found({ [name]: bytes }))).toBe(
        `bytes 66 to ${66 + 28 + length} of ${name} are not record 2, and a valid one follows`
      )
    }
  })
})

describe('sectors that are zeros', () => {
  const options = { recordMaxBytes: 8_192, segmentMaxBytes: 65_536 }
  const sizes = [400, 2_000, 400]

  /** The segment with zeros in the place of the second record's sectors. */
  async function holed(together: boolean): Promise<Buffer> {
    const disk = simulatedDisk()
    const journal = await openOn(disk, options)
    await journal.append(Buffer.alloc(100, 'a'))
    const rest = sizes.map((size) => () => journal.append(Buffer.alloc(size, 'b')))
    if (together) await Promise.all(rest.map((append) => append()))
    else for (const append of rest) await append()
    const bytes = disk.files.read(FOLDER, name)
    await journal.close()
    return bytes.fill(0, 1_024, 2_048)
  }

  it('are cut off with what follows when all of that came with the last write, which a power cut may have torn so', async () => {
    expect(await found({ [name]: await holed(true) })).toMatchObject({
      records: [
        [1n, 'a'.repeat(100)],
        [2n, 'b'.repeat(400)]
      ],
      events: [{ type: 'journal.tail-cut', atBytes: 28 + 128 + 428, lengthBytes: 2_028 + 428 }]
    })
  })

  it('are damage when a later write follows, before which they had been synced', async () => {
    expect(reasonOf(await found({ [name]: await holed(false) }))).toBe(
      `bytes 584 to 2612 of ${name} are not record 3, and a valid one follows`
    )
  })
})

describe('a segment that was not sealed (pitfall 11)', () => {
  /** What opening changes on the disk, in order. */
  async function changesBy(bytes: Buffer): Promise<{ readonly outcome: Found; readonly changes: string[] }> {
    const changes: string[] = []
    const disk = simulatedDisk({
      observe({ operation }) {
        if (['write', 'truncate', 'sync', 'sync-data', 'sync-folder'].includes(operation)) changes.push(operation)
      }
    })
    disk.files.write(FOLDER, name, bytes)
    return { outcome: await foundOn(disk), changes }
  }

  it('is written and synced again before anybody reads it, because a sync may have failed that nobody remembers', async () => {
    for (const tail of [0, 5]) {
      const { outcome, changes } = await changesBy(Buffer.concat([whole, Buffer.alloc(tail)]))
      expect(outcome).toMatchObject({ records: expected })
      expect(changes).toEqual(['write', 'truncate', 'sync', 'sync-folder'])
    }
  })

  it('keeps what a failed sync had left to be read, once it was read', async () => {
    const disk = simulatedDisk()
    const journal = await openOn(disk)
    await journal.append(bytesOf('synced'))
    disk.faults.add({ kind: 'error', code: 'EIO', only: ['sync-data'], times: 1 })
    await expect(journal.append(bytesOf('in doubt'))).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
    await journal.close()
    // A power cut now would lose it; after an opening that shows it, none does.
    expect(await foundOn(disk.afterPowerCut({ name: () => true, write: () => 'all' }))).toMatchObject({
      records: [[1n, 'synced']]
    })
    const shown = await foundOn(disk)
    expect(shown).toMatchObject({
      records: [
        [1n, 'synced'],
        [2n, 'in doubt']
      ]
    })
    expect(await foundOn(disk.afterPowerCut({ name: () => false, write: () => 'none' }))).toEqual(shown)
  })

  it('is left alone when it was sealed', async () => {
    expect((await changesBy(sealed)).changes).toEqual(['sync-folder'])
  })

  it('is not read when it cannot be written and synced', async () => {
    for (const failing of ['write', 'truncate', 'sync']) {
      const disk = diskWith({ [name]: whole })
      const heal = disk.faults.add({ kind: 'error', code: 'EIO', only: [failing] })
      await expect(openOn(disk)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      heal()
      // Nothing holds the folder any more.
      expect(await foundOn(disk)).toMatchObject({ records: expected })
    }
  })
})

describe('a row of segments', () => {
  const small = { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 }
  let names: string[] = []
  let files: Record<string, Buffer> = {}
  beforeEach(async () => {
    const disk = simulatedDisk()
    await using journal = await openOn(disk, small)
    for (let count = 0; count < 8; count++) await journal.append(Buffer.alloc(1_000, count))
    names = segmentsOn(disk)
    files = Object.fromEntries(names.map((one) => [one, disk.files.read(FOLDER, one)]))
    expect(names.length).toBe(3)
  })

  const [first, second, third] = [0, 1, 2].map((index) => () => names[index] ?? '') as [
    () => string,
    () => string,
    () => string
  ]

  it('has no torn tail but at its end', async () => {
    const bytes = files[second()] ?? Buffer.alloc(0)
    const cut = bytes.length - 1
    expect(reasonOf(await found({ ...files, [second()]: bytes.subarray(0, cut) }))).toBe(
      `bytes 2084 to ${cut} of ${second()}, a finished segment, are not a record`
    )
    expect(reasonOf(await found({ ...files, [second()]: bytes.subarray(0, 2_084) }))).toBe(
      `${second()} ends with record 5, and ${third()} begins with 7`
    )
    const longer = Buffer.concat([bytes, Buffer.alloc(3)])
    expect(reasonOf(await found({ ...files, [second()]: longer }))).toBe(
      `bytes ${bytes.length} to ${bytes.length + 3} of ${second()}, a finished segment, are not a record`
    )
  })

  it('is damaged when one in the middle is gone', async () => {
    const { [second()]: _, ...rest } = files
    expect(reasonOf(await found(rest))).toBe(`${first()} ends with record 3, and ${third()} begins with 7`)
  })

  it('is damaged when one is in the place of another', async () => {
    const swapped = { ...files, [second()]: files[first()] ?? Buffer.alloc(0) }
    expect(reasonOf(await found(swapped))).toBe(`${second()} holds the segment ${first()}`)
  })

  it('may lack the oldest ones, which were trimmed', async () => {
    const { [first()]: _, ...rest } = files
    const outcome = await found(rest)
    expect('records' in outcome && outcome.records.map(([sequence]) => sequence)).toEqual([4n, 5n, 6n, 7n, 8n])
  })
})
