import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { crc32 } from 'node:zlib'
import type { CoreError } from '@enablement/core'
import { type JournalEvent, type JournalOptions, openJournal } from '@enablement/core/journal'
import { describe, expect, it, vi } from 'vitest'
import { bytesOf, recordsIn, refusalOf, segmentsIn, textsIn, useFolder } from './journal-kit.ts'

const folder = useFolder()

/** Segments as small as they can be; a record of 1,000 bytes fills a quarter of one. */
const small = { recordMaxBytes: 2_000, segmentMaxBytes: 4_096 }
const quarter = Buffer.alloc(1_000, 'q')

/** A segment without records, as a journal that has come far would have it. */
function writeEmptySegment(firstSequence: bigint, epoch = 1, version = 1): string {
  const header = Buffer.alloc(28)
  header.write('ENJOURN', 'latin1')
  header.writeUInt8(version, 7)
  header.writeUInt32LE(epoch, 8)
  header.writeBigUInt64LE(firstSequence, 16)
  header.writeUInt32LE(crc32(header.subarray(0, 24)), 24)
  const name = `${String(firstSequence).padStart(20, '0')}-${String(epoch).padStart(10, '0')}.journal`
  mkdirSync(folder(), { recursive: true })
  writeFileSync(join(folder(), name), header)
  return name
}

describe('a journal', () => {
  it('numbers records from 1 in the order of the calls, and finds them when it is opened again', async () => {
    {
      await using journal = await openJournal({ folder: folder() })
      const sequences = await Promise.all(['one', 'two', 'three'].map((text) => journal.append(bytesOf(text))))
      expect(sequences).toEqual([1n, 2n, 3n])
      expect(await journal.append(bytesOf(''), { type: 65_534 })).toBe(4n)
    }
    await using journal = await openJournal({ folder: folder() })
    expect(await recordsIn(journal)).toEqual([
      { sequence: 1n, type: 0, payload: new Uint8Array(bytesOf('one')) },
      { sequence: 2n, type: 0, payload: new Uint8Array(bytesOf('two')) },
      { sequence: 3n, type: 0, payload: new Uint8Array(bytesOf('three')) },
      { sequence: 4n, type: 65_534, payload: new Uint8Array() }
    ])
    expect(await journal.append(bytesOf('five'))).toBe(5n)
    expect(journal.status()).toMatchObject({ state: 'open', firstSequence: 1n, lastSequence: 5n, waiting: 0 })
  })

  it('copies the payload during the call', async () => {
    await using journal = await openJournal({ folder: folder() })
    const payload = Buffer.from('mine')
    const appended = journal.append(payload)
    payload.fill(0)
    await appended
    expect(await textsIn(journal)).toEqual([[1n, 'mine']])
  })

  it('carries payloads of any size up to its bound, across batches and segments', async () => {
    const options = { folder: folder(), recordMaxBytes: 3_000_000, segmentMaxBytes: 4_000_000 }
    const sizes = [0, 1, 16_356, 16_357, 65_508, 65_509, 1_048_548, 1_048_549, 3_000_000, 70_000, 2_999_999, 5]
    const payloads = sizes.map((size, index) => Buffer.alloc(size, `${index}-`))
    {
      await using journal = await openJournal(options)
      await Promise.all(payloads.map((payload) => journal.append(payload)))
      expect(
        (await recordsIn(journal)).map(({ payload }) => Buffer.from(payload).equals(Buffer.from(payload)))
      ).not.toContain(false)
    }
    await using journal = await openJournal(options)
    const found = await recordsIn(journal)
    expect(
      found.map(({ payload }, index) => payload.length === sizes[index] && payloads[index]?.equals(payload))
    ).toEqual(sizes.map(() => true))
    expect(segmentsIn(folder()).length).toBeGreaterThan(2)
  })

  it('begins a segment when the next record does not fit in the one before', async () => {
    await using journal = await openJournal({ folder: folder(), ...small })
    for (let count = 0; count < 7; count++) await journal.append(quarter)
    expect(segmentsIn(folder())).toEqual(
      [1, 4, 7].map((first) => `${String(first).padStart(20, '0')}-0000000001.journal`)
    )
    expect(journal.status()).toMatchObject({ segments: 3, bytes: 3 * 4_096 })
  })

  it('goes on in a segment of its own after each opening', async () => {
    for (const text of ['a', 'b', 'c']) {
      await using journal = await openJournal({ folder: folder() })
      await journal.append(bytesOf(text))
    }
    // Opened and closed without a record: nothing is written.
    await (await openJournal({ folder: folder() })).close()
    expect(segmentsIn(folder())).toEqual(
      [1, 2, 3].map((n) => `${String(n).padStart(20, '0')}-${String(n).padStart(10, '0')}.journal`)
    )
  })

  it('counts beyond 2^53', async () => {
    writeEmptySegment(9_007_199_254_740_993n)
    await using journal = await openJournal({ folder: folder() })
    expect(await Promise.all([journal.append(bytesOf('a')), journal.append(bytesOf('b'))])).toEqual([
      9_007_199_254_740_993n,
      9_007_199_254_740_994n
    ])
    expect(await textsIn(journal, 9_007_199_254_740_993n)).toEqual([[9_007_199_254_740_994n, 'b']])
  })

  it('runs out of sequences and epochs with an answer', async () => {
    writeEmptySegment(2n ** 64n - 2n)
    {
      await using journal = await openJournal({ folder: folder() })
      expect(await journal.append(bytesOf('last'))).toBe(2n ** 64n - 2n)
      expect(await refusalOf(journal.append(bytesOf('no more')))).toMatchObject({ code: 'OVERLOADED' })
    }
    writeEmptySegment(2n ** 64n - 1n, 2 ** 32 - 1)
    await using journal = await openJournal({ folder: folder() })
    expect(await refusalOf(journal.append(bytesOf('no more')))).toMatchObject({ code: 'OVERLOADED' })
  })
})

describe('replay', () => {
  it('gives what is after the cursor, up to what was durable when reading began', async () => {
    await using journal = await openJournal({ folder: folder(), ...small })
    await Promise.all(Array.from({ length: 10 }, () => journal.append(quarter)))
    const seen: bigint[] = []
    for await (const { sequence } of journal.replay({ after: 6n })) {
      seen.push(sequence)
      await journal.append(quarter)
    }
    expect(seen).toEqual([7n, 8n, 9n, 10n])
    expect(await textsIn(journal, journal.status().lastSequence)).toEqual([])
  })

  it('can be left and taken up as often as one likes', async () => {
    await using journal = await openJournal({ folder: folder(), ...small })
    await Promise.all(Array.from({ length: 10 }, () => journal.append(quarter)))
    let cursor = 0n
    for (let expected = 1n; expected <= 10n; expected++) {
      for await (const { sequence } of journal.replay({ after: cursor })) {
        cursor = sequence
        break
      }
      expect(cursor).toBe(expected)
    }
    const records = journal.replay()
    const twice: number[] = [0, 0]
    for (const turn of [0, 1]) for await (const _ of records) twice[turn] = (twice[turn] ?? 0) + 1
    expect(twice).toEqual([10, 10])
  })

  it('refuses a cursor that is not of this journal', async () => {
    await using journal = await openJournal({ folder: folder() })
    await journal.append(bytesOf('one'))
    for (const after of [2n, -1n, 1 as never, 'x' as never]) {
      const refusal = await refusalOf(textsIn(journal, after))
      expect(refusal.is('INVALID_OPTIONS') && refusal.detail).toMatchObject({
        subject: 'journal.replay',
        issues: [{ path: 'after' }]
      })
    }
  })

  it('ends with the reason of its signal, and with CLOSED when the journal is closed', async () => {
    const journal = await openJournal({ folder: folder() })
    await Promise.all([journal.append(bytesOf('one')), journal.append(bytesOf('two'))])
    const controller = new AbortController()
    const reason = new Error('enough')
    const aborted = (async () => {
      for await (const _ of journal.replay({ signal: controller.signal })) controller.abort(reason)
    })()
    await expect(aborted).rejects.toBe(reason)
    const cut = (async () => {
      for await (const _ of journal.replay()) await journal.close()
    })()
    expect(await refusalOf(cut)).toMatchObject({ code: 'CLOSED' })
  })

  it('reports damage that came after the opening', async () => {
    await using journal = await openJournal({ folder: folder() })
    await journal.append(bytesOf('one'))
    const [name = ''] = segmentsIn(folder())
    writeFileSync(join(folder(), name), Buffer.alloc(10))
    const refusal = await refusalOf(textsIn(journal))
    expect(refusal.is('STORE_DAMAGED') && refusal.detail.reason).toBe(
      `record 1 at byte 28 of ${name} is no longer there`
    )
  })
})

describe('trimming', () => {
  it('removes the segments that hold nothing beyond the cursor, and keeps the last one', async () => {
    await using journal = await openJournal({ folder: folder(), ...small })
    for (let count = 0; count < 10; count++) await journal.append(quarter)
    expect(await journal.trim({ through: 2n })).toEqual({ segments: 0, bytes: 0 })
    expect(await journal.trim({ through: 7n })).toEqual({ segments: 2, bytes: 2 * (28 + 3 * 1_028) })
    expect((await textsIn(journal))[0]?.[0]).toBe(7n)
    expect(journal.status()).toMatchObject({ firstSequence: 7n, lastSequence: 10n })
    expect(await journal.trim({ through: 10n })).toMatchObject({ segments: 1 })
    expect((await textsIn(journal)).map(([sequence]) => sequence)).toEqual([10n])
  })

  it('is remembered, with the next sequence', async () => {
    {
      await using journal = await openJournal({ folder: folder(), ...small })
      for (let count = 0; count < 10; count++) await journal.append(quarter)
      await Promise.all([journal.trim({ through: 10n }), journal.trim({ through: 5n })])
    }
    await using journal = await openJournal({ folder: folder(), ...small })
    expect(await journal.append(quarter)).toBe(11n)
    const refusal = await refusalOf(textsIn(journal, 8n))
    expect(refusal).toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(refusal.message).toContain('after: is 8; the records before 10 have been trimmed')
    expect((await textsIn(journal, 9n)).map(([sequence]) => sequence)).toEqual([10n, 11n])
  })

  it('is told to a reader whom it overtakes', async () => {
    await using journal = await openJournal({ folder: folder(), ...small })
    for (let count = 0; count < 10; count++) await journal.append(quarter)
    const overtaken = (async () => {
      for await (const _ of journal.replay()) await journal.trim({ through: 9n })
    })()
    expect(await refusalOf(overtaken)).toMatchObject({ code: 'INVALID_OPTIONS' })
  })

  it('refuses a cursor ahead of the journal', async () => {
    await using journal = await openJournal({ folder: folder() })
    expect(await refusalOf(journal.trim({ through: 1n }))).toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(await journal.trim({ through: 0n })).toEqual({ segments: 0, bytes: 0 })
  })
})

describe('the bounds of a journal', () => {
  it('refuse a record that is too large or has no such type, and change nothing', async () => {
    await using journal = await openJournal({ folder: folder(), recordMaxBytes: 10 })
    const calls: [unknown, unknown, string][] = [
      [Buffer.alloc(11), 0, 'payload: has 11 bytes; a record takes 10'],
      ['text', 0, 'payload: is not a Uint8Array'],
      [Buffer.alloc(1), 65_535, 'type: is not an integer from 0 to 65534'],
      [Buffer.alloc(1), -1, 'type: is not'],
      [Buffer.alloc(1), 0.5, 'type: is not'],
      [Buffer.alloc(1), Number.NaN, 'type: is not']
    ]
    for (const [payload, type, message] of calls) {
      const refusal = await refusalOf(journal.append(payload as Uint8Array, { type: type as number }))
      expect(refusal.code).toBe('INVALID_OPTIONS')
      expect(refusal.message).toContain(message)
    }
    expect(await journal.append(Buffer.alloc(10))).toBe(1n)
  })

  it('answer OVERLOADED when too many records wait, and take more when they are durable', async () => {
    await using journal = await openJournal({ folder: folder(), queueMax: 3 })
    const appended = [1, 2, 3].map(() => journal.append(bytesOf('x')))
    const refusal = await refusalOf(journal.append(bytesOf('x')))
    expect(refusal.is('OVERLOADED') && refusal.detail).toEqual({ what: 'journal queue', waiting: 3, limit: 3 })
    await Promise.all(appended)
    expect(await journal.append(bytesOf('x'))).toBe(4n)
  })

  it('answer OVERLOADED when too many bytes wait', async () => {
    await using journal = await openJournal({ folder: folder(), recordMaxBytes: 100, queueMaxBytes: 256 })
    const appended = [1, 2].map(() => journal.append(Buffer.alloc(100)))
    const refusal = await refusalOf(journal.append(Buffer.alloc(0)))
    expect(refusal.is('OVERLOADED') && refusal.detail).toEqual({
      what: 'journal queued bytes',
      waiting: 256,
      limit: 256
    })
    expect(journal.status()).toMatchObject({ waiting: 2, waitingBytes: 256 })
    await Promise.all(appended)
    expect(journal.status()).toMatchObject({ waiting: 0, waitingBytes: 0 })
  })

  it('answer OVERLOADED when the folder is full, until it is trimmed', async () => {
    await using journal = await openJournal({ folder: folder(), ...small, totalMaxBytes: 8_192 })
    for (let count = 0; count < 4; count++) await journal.append(quarter)
    const refusal = await refusalOf(journal.append(quarter))
    expect(refusal.is('OVERLOADED') && refusal.detail).toMatchObject({ what: 'journal folder', limit: 8_192 })
    await journal.trim({ through: 3n })
    expect(await journal.append(quarter)).toBe(5n)
  })

  it('are checked when it is opened, with the path', async () => {
    const cases: [Partial<JournalOptions> & Record<string, unknown>, string][] = [
      [{ folder: '' }, 'folder'],
      [{ folder: 'a\0b' }, 'folder'],
      [{ recordMaxBytes: 0 }, 'recordMaxBytes'],
      [{ recordMaxBytes: 16_777_217, queueMaxBytes: 33_554_432, segmentMaxBytes: 33_554_432 }, 'recordMaxBytes'],
      [{ queueMax: Number.NaN }, 'queueMax'],
      [{ queueMax: Number.POSITIVE_INFINITY }, 'queueMax'],
      [{ queueMaxBytes: 1_048_603 }, 'queueMaxBytes'],
      [{ segmentMaxBytes: -1 }, 'segmentMaxBytes'],
      [{ segmentMaxBytes: 1_048_631 }, 'segmentMaxBytes'],
      [{ totalMaxBytes: 33_554_431 }, 'totalMaxBytes'],
      [{ foldr: 'x' }, 'foldr']
    ]
    for (const [options, path] of cases) {
      const refusal = await refusalOf(openJournal({ folder: folder(), ...options }))
      const paths = refusal.is('INVALID_OPTIONS') ? refusal.detail.issues.map((issue) => issue.path) : []
      expect([...new Set(paths)]).toEqual([path])
    }
  })
})

describe('opening a journal', () => {
  it('is refused while another one has the folder, and possible again when that one is closed', async () => {
    const first = await openJournal({ folder: folder() })
    const refusal = await refusalOf(openJournal({ folder: folder() }))
    expect(refusal).toMatchObject({ code: 'STORE_UNAVAILABLE', detail: { store: 'journal', operation: 'open' } })
    expect(refusal.message).toContain('has it open')
    // The refused opener has not taken the first one's lock away.
    expect(await refusalOf(openJournal({ folder: folder() }))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await first.append(bytesOf('one'))).toBe(1n)
    await first.close()
    await (await openJournal({ folder: folder() })).close()
  })

  it('says why it cannot, and lets go of the folder', async () => {
    const missing = await refusalOf(openJournal({ folder: folder('no/such') }))
    expect(missing).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(missing.message).toBe('the journal cannot open: ENOENT in mkdir')
    writeFileSync(folder('file'), '')
    expect(await refusalOf(openJournal({ folder: folder('file') }))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  it('refuses a segment of a later version', async () => {
    const name = writeEmptySegment(1n, 1, 2)
    const refusal = await refusalOf(openJournal({ folder: folder() }))
    expect(refusal.is('SCHEMA_TOO_NEW') && refusal.detail).toEqual({ component: 'journal', found: 2, supported: 1 })
    expect(refusal.message).toContain(name)
  })

  it('removes a segment that was not finished, and leaves files that are not its own alone', async () => {
    writeEmptySegment(5n)
    writeFileSync(join(folder(), `${String(5n).padStart(20, '0')}-0000000002.journal.unfinished`), 'EN')
    writeFileSync(join(folder(), 'note.txt'), 'keep')
    await using journal = await openJournal({ folder: folder() })
    expect(journal.status()).toMatchObject({ firstSequence: 5n, lastSequence: 4n, segments: 1 })
    expect(
      readdirSync(folder())
        .filter((name) => name !== 'lock')
        .sort()
    ).toEqual([...segmentsIn(folder()), 'note.txt'])
  })
})

describe('durability', () => {
  it('makes the name of its folder durable, also when an opener before did not live or fail to', async () => {
    const handle = await open(folder('.'), 'r')
    const around = (await handle.stat()).ino
    const handles = Object.getPrototypeOf(handle) as FileHandle
    await handle.close()
    const { sync } = handles
    const synced: number[] = []
    const spy = vi.spyOn(handles, 'sync').mockImplementation(async function (this: FileHandle) {
      synced.push((await this.stat()).ino)
      if (synced.length === 1) throw Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'fsync' })
      await sync.call(this)
    })
    expect((await refusalOf(openJournal({ folder: folder() }))).message).toBe('the journal cannot open: EIO in fsync')
    await (await openJournal({ folder: folder() })).close()
    spy.mockRestore()
    expect(synced.slice(0, 2)).toEqual([around, around])
  })

  it('stays in its folder when the process goes elsewhere', async () => {
    const here = process.cwd()
    mkdirSync(folder('one'))
    mkdirSync(folder('two/journal'), { recursive: true })
    try {
      process.chdir(folder('one'))
      await using journal = await openJournal({ folder: 'journal' })
      process.chdir(folder('two'))
      await journal.append(bytesOf('kept'))
      expect(await textsIn(journal)).toEqual([[1n, 'kept']])
    } finally {
      process.chdir(here)
    }
    expect(segmentsIn(folder('one/journal')).length).toBe(1)
    expect(readdirSync(folder('two/journal'))).toEqual([])
  })

  it('does not wait behind what fills the thread pool of the process (pitfall 11)', async () => {
    await using journal = await openJournal({ folder: folder() })
    // Who opens a pipe waits, on a thread of the pool, until somebody opens its other end.
    const pipes = Array.from({ length: Number(process.env['UV_THREADPOOL_SIZE'] ?? 4) }, (_, at) =>
      folder(`pipe-${at}`)
    )
    execFileSync('mkfifo', pipes)
    const opened = pipes.map((pipe) => open(pipe, 'r'))
    const letGo = (): void => {
      for (const pipe of pipes) closeSync(openSync(pipe, 'w'))
    }
    // A journal that waits fails, instead of hanging with all that comes after it.
    const enough = setTimeout(letGo, 10_000)
    let served = false
    const behind = stat(folder()).then(() => {
      served = true
    })
    await journal.append(bytesOf('urgent'))
    expect(served).toBe(false)
    clearTimeout(enough)
    letGo()
    await behind
    for (const one of opened) await (await one).close()
  })
})

describe('closing a journal', () => {
  it('waits for what was appended, refuses what comes, and ends once', async () => {
    const journal = await openJournal({ folder: folder() })
    const appended = Promise.all(Array.from({ length: 100 }, () => journal.append(bytesOf('x'))))
    const closings = [journal.close(), journal.close()]
    for (const call of [journal.append(bytesOf('y')), journal.trim({ through: 0n }), textsIn(journal)]) {
      expect(await refusalOf(call)).toMatchObject({ code: 'CLOSED' })
    }
    await Promise.all(closings)
    expect((await appended).length).toBe(100)
    expect(journal.status()).toMatchObject({ state: 'closed', lastSequence: 100n, waiting: 0 })
    await using again = await openJournal({ folder: folder() })
    expect((await textsIn(again)).length).toBe(100)
  })

  it('leaves nothing to repair', async () => {
    await using first = await openJournal({ folder: folder() })
    await first.append(bytesOf('x'))
    await first.close()
    const events: JournalEvent[] = []
    await using again = await openJournal({ folder: folder(), observe: (event) => events.push(event) })
    expect(events).toEqual([])
    expect(again.status().lastSequence).toBe(1n)
  })
})

describe('the errors of a journal', () => {
  it('show no payload and no folder', async () => {
    await using journal = await openJournal({ folder: folder('secret-customer'), recordMaxBytes: 4 })
    const errors: CoreError[] = [
      await refusalOf(journal.append(bytesOf('secret-payload'))),
      await refusalOf(openJournal({ folder: folder('secret-customer') })),
      await refusalOf(openJournal({ folder: folder('secret-customer/none/none') }))
    ]
    for (const error of errors) expect(JSON.stringify(error) + error.message).not.toContain('secret')
  })
})
