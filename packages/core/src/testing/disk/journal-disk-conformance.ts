import assert from 'node:assert/strict'
import { isSuiteError } from '../../failure/suite-error.ts'
import { type JournalDisk, type JournalFile, type JournalFolder, readAt, writeAll } from '../../journal/journal-disk.ts'
import type { ConformanceKit } from '../conformance.ts'
import type { PowerCut, WriteRemains } from './power-cut.ts'

/** A disk under examination. */
export interface JournalDiskSubject extends AsyncDisposable {
  readonly disk: JournalDisk
  /** Where no folder is yet, in a folder that exists. */
  readonly path: string
  /** Cuts the power, and gives the disk as it is afterwards. Called of a subject that supports `powerCut`, and no other. */
  powerCut?(power: PowerCut): JournalDisk
}

/** Makes a subject. */
export type CreateJournalDisk = () => Promise<JournalDiskSubject>

/** Of what was not synced nothing is left, or all of it. */
const NOTHING: PowerCut = { name: () => false, write: () => 'none' }
const EVERYTHING: PowerCut = { name: () => true, write: () => 'all' }
const REMAINS: readonly WriteRemains[] = ['all', 'none', 'half', 'zeros', 'holes']

interface Bench {
  readonly folder: JournalFolder
  readonly subject: JournalDiskSubject
  /** The folder after the power was cut. */
  afterCut(power: PowerCut): Promise<JournalFolder>
}

function exam(body: (bench: Bench) => Promise<void>): (create: CreateJournalDisk) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const folder = await subject.disk.openFolder(subject.path)
    let cut = false
    await body({
      subject,
      folder,
      async afterCut(power) {
        cut = true
        const disk = subject.powerCut?.(power)
        assert.ok(disk !== undefined, 'a subject that supports powerCut must have it')
        return disk.openFolder(subject.path)
      }
    })
    if (!cut) await folder.close()
  }
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

async function textIn(folder: JournalFolder, name: string): Promise<string> {
  const file = await folder.open(name, 'read')
  try {
    return await textOf(file)
  } finally {
    await file.close()
  }
}

/** All of a file, and a little beyond its end. */
const textOf = async (file: JournalFile): Promise<string> =>
  (await readAt(file, 0, (await file.lengthBytes()) + 16)).toString('latin1')

/** A file of that content; synced, and its name too, when so wanted. */
async function put(folder: JournalFolder, name: string, text: string, durable = true): Promise<JournalFile> {
  const file = await folder.create(name)
  await writeAll(file, bytesOf(text), 0)
  if (durable) {
    await file.sync()
    await folder.sync()
  }
  return file
}

/** The names of the exam: a disk may keep files of its own there, such as a lock. */
const namesIn = async (folder: JournalFolder): Promise<string[]> =>
  (await folder.names()).filter((name) => name.startsWith('exam-')).sort()

async function missing(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error: { readonly code?: unknown }) => error.code === 'ENOENT')
}

const A = 'exam-a'
const B = 'exam-b'

/** The exam of a `JournalDisk`. */
export const journalDiskConformance: ConformanceKit<CreateJournalDisk, 'powerCut'> = {
  name: 'JournalDisk',
  needs: ['powerCut'],
  cases: [
    {
      name: 'makes a folder that does not exist, and finds what it has in it when it is opened again',
      run: exam(async ({ folder, subject }) => {
        assert.deepEqual(await namesIn(folder), [])
        await (await put(folder, A, 'kept')).close()
        await folder.close()
        const again = await subject.disk.openFolder(subject.path)
        assert.deepEqual(await namesIn(again), [A])
        assert.equal(await textIn(again, A), 'kept')
        await again.close()
        await (await subject.disk.openFolder(subject.path)).close()
      })
    },
    {
      name: 'keeps others out of a folder that is open, and its own is not let go by their attempt',
      run: exam(async ({ folder, subject }) => {
        for (let attempt = 0; attempt < 3; attempt++) {
          await assert.rejects(subject.disk.openFolder(subject.path), (error) =>
            isSuiteError(error, 'STORE_UNAVAILABLE')
          )
        }
        await (await put(folder, A, 'still mine')).close()
      })
    },
    {
      name: 'reads what stands at a place, less at the end and nothing beyond',
      run: exam(async ({ folder }) => {
        const file = await put(folder, A, '0123456789')
        const target = Buffer.alloc(4, 'x')
        assert.equal(await file.read(target, 3), 4)
        assert.equal(target.toString(), '3456')
        target.fill('x')
        assert.equal(await file.read(target, 8), 2)
        assert.equal(target.toString(), '89xx')
        assert.equal(await file.read(target, 10), 0)
        assert.equal(await file.read(target, 1_000), 0)
        assert.equal(await file.lengthBytes(), 10)
        await file.close()
      })
    },
    {
      name: 'writes at a place and leaves the rest',
      run: exam(async ({ folder }) => {
        const file = await put(folder, A, '0123456789')
        await writeAll(file, bytesOf('ab'), 4)
        assert.equal(await textOf(file), '0123ab6789')
        await file.close()
      })
    },
    {
      name: 'has zeros where nothing was written',
      run: exam(async ({ folder }) => {
        const file = await put(folder, A, 'ab')
        await writeAll(file, bytesOf('z'), 5)
        assert.equal(await textOf(file), 'ab\0\0\0z')
        await file.truncate(1)
        await writeAll(file, bytesOf('z'), 3)
        assert.equal(await textOf(file), 'a\0\0z')
        await file.close()
      })
    },
    {
      name: 'takes the bytes as they were when it answered',
      run: exam(async ({ folder }) => {
        const file = await folder.create(A)
        const bytes = Buffer.from('mine')
        await writeAll(file, bytes, 0)
        bytes.fill('x')
        await file.sync()
        assert.equal(await textOf(file), 'mine')
        await file.close()
      })
    },
    {
      name: 'shows one handle what another one wrote, and updates what was there',
      run: exam(async ({ folder }) => {
        const writing = await put(folder, A, 'one')
        const reading = await folder.open(A, 'read')
        const updating = await folder.open(A, 'update')
        await writeAll(writing, bytesOf('two'), 3)
        await writeAll(updating, bytesOf('O'), 0)
        assert.equal(await textOf(reading), 'Onetwo')
        for (const file of [writing, reading, updating]) await file.close()
      })
    },
    {
      name: 'truncates, to less and to nothing',
      run: exam(async ({ folder }) => {
        const file = await put(folder, A, '0123456789')
        await file.truncate(4)
        assert.equal(await textOf(file), '0123')
        await file.truncate(0)
        assert.equal(await file.lengthBytes(), 0)
        await file.close()
      })
    },
    {
      name: 'creates an empty file in place of one that has the name',
      run: exam(async ({ folder }) => {
        await (await put(folder, A, 'old')).close()
        await (await folder.create(A)).close()
        assert.equal(await textIn(folder, A), '')
        assert.deepEqual(await namesIn(folder), [A])
      })
    },
    {
      name: 'renames a file in place of another, and an open one goes on under its new name',
      run: exam(async ({ folder }) => {
        const file = await put(folder, A, 'new')
        await (await put(folder, B, 'the old one')).close()
        await folder.rename(A, B)
        await writeAll(file, bytesOf('er'), 3)
        assert.deepEqual(await namesIn(folder), [B])
        assert.equal(await textIn(folder, B), 'newer')
        await file.close()
      })
    },
    {
      name: 'removes a file',
      run: exam(async ({ folder }) => {
        await (await put(folder, A, 'a')).close()
        await (await put(folder, B, 'b')).close()
        await folder.remove(A)
        assert.deepEqual(await namesIn(folder), [B])
        assert.equal(await textIn(folder, B), 'b')
      })
    },
    {
      name: 'answers ENOENT about a file that is not there',
      run: exam(async ({ folder }) => {
        await missing(folder.open(A, 'read'))
        await missing(folder.open(A, 'update'))
        await missing(folder.rename(A, B))
        await missing(folder.remove(A))
        assert.deepEqual(await namesIn(folder), [])
      })
    },
    {
      name: 'keeps synced bytes and synced names through a power cut that leaves nothing else',
      needs: ['powerCut'],
      run: exam(async ({ folder, afterCut }) => {
        const [a, b] = [await folder.create(A), await folder.create(B)]
        await writeAll(a, bytesOf('one'), 0)
        await writeAll(b, bytesOf('other'), 0)
        await a.sync()
        await writeAll(a, bytesOf('two'), 3)
        await a.sync()
        await folder.sync()
        const after = await afterCut(NOTHING)
        assert.ok((await namesIn(after)).includes(A))
        assert.equal(await textIn(after, A), 'onetwo')
      })
    },
    {
      name: 'keeps bytes by a sync of data alone, with the length that they make',
      needs: ['powerCut'],
      run: exam(async ({ folder, afterCut }) => {
        const file = await put(folder, A, 'one')
        await writeAll(file, bytesOf('two'), 3)
        await file.syncData()
        assert.equal(await textIn(await afterCut(NOTHING), A), 'onetwo')
      })
    },
    {
      name: 'keeps a truncation that was synced, and the bytes that replaced others',
      needs: ['powerCut'],
      run: exam(async ({ folder, afterCut }) => {
        const file = await put(folder, A, '0123456789')
        await file.truncate(4)
        await file.sync()
        await writeAll(file, bytesOf('ab'), 1)
        await file.sync()
        assert.equal(await textIn(await afterCut(NOTHING), A), '0ab3')
      })
    },
    {
      name: 'leaves what was synced alone, whatever becomes of writes behind it',
      needs: ['powerCut'],
      run: async (create) => {
        for (const remains of REMAINS) {
          await exam(async ({ folder, afterCut }) => {
            const synced = 's'.repeat(700)
            const file = await put(folder, A, synced)
            await writeAll(file, bytesOf('u'.repeat(2_000)), 700)
            await writeAll(file, bytesOf('v'.repeat(2_000)), 2_700)
            const text = await textIn(await afterCut({ name: () => true, write: () => remains }), A)
            assert.equal(text.slice(0, 700), synced)
            assert.match(text.slice(700), /^[uv\0]*$/)
          })(create)
        }
      }
    },
    {
      name: 'has a file under its old name or its new one when the power goes, whole, and under the new one once synced',
      needs: ['powerCut'],
      run: async (create) => {
        for (const [power, synced] of [
          [NOTHING, false],
          [EVERYTHING, false],
          [NOTHING, true]
        ] as const) {
          await exam(async ({ folder, afterCut }) => {
            await (await put(folder, A, 'the file')).close()
            await folder.rename(A, B)
            if (synced) await folder.sync()
            const after = await afterCut(power)
            const names = await namesIn(after)
            assert.equal(names.length, 1, `one name, not ${names.join()}`)
            if (synced) assert.deepEqual(names, [B])
            assert.equal(await textIn(after, names[0] as string), 'the file')
          })(create)
        }
      }
    },
    {
      name: 'has one of two files under a name that a rename took over when the power goes',
      needs: ['powerCut'],
      run: async (create) => {
        for (const power of [NOTHING, EVERYTHING]) {
          await exam(async ({ folder, afterCut }) => {
            await (await put(folder, A, 'new')).close()
            await (await put(folder, B, 'old')).close()
            await folder.rename(A, B)
            assert.match(await textIn(await afterCut(power), B), /^(new|old)$/)
          })(create)
        }
      }
    },
    {
      name: 'does not bring a removed file back once that was synced',
      needs: ['powerCut'],
      run: exam(async ({ folder, afterCut }) => {
        await (await put(folder, A, 'a')).close()
        await folder.remove(A)
        await folder.sync()
        assert.deepEqual(await namesIn(await afterCut(NOTHING)), [])
      })
    },
    {
      name: 'opens a folder again that was open when the power went',
      needs: ['powerCut'],
      run: exam(async ({ afterCut }) => {
        const after = await afterCut(EVERYTHING)
        await (await put(after, A, 'a')).close()
        assert.deepEqual(await namesIn(after), [A])
      })
    }
  ]
}
