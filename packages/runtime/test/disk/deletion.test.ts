import {
  appendFileSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { deleteListedFiles, findLargeFiles, type ListedFile } from '@enablement/runtime/monitor'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { diskFolder, noProcesses } from '../fakes/disk-folder.ts'

const listed = async (root: string): Promise<readonly ListedFile[]> =>
  (await findLargeFiles(root, { minBytes: 8_192, procRoot: noProcesses })).files

const deletionOf = (root: string, files: readonly ListedFile[]) =>
  deleteListedFiles(root, files, { procRoot: noProcesses })

const outcomes = async (root: string, files: readonly ListedFile[]) =>
  (await deletionOf(root, files)).map(({ outcome }) => outcome)

/** What happens when the deletion renames: between its first look at a file and its second. */
function onRename(first: (from: string, to: string) => void): void {
  const { rename } = fs
  vi.spyOn(fs, 'rename').mockImplementationOnce(async (from, to) => {
    first(String(from), String(to))
    return rename(from, to)
  })
  syncBuiltinESMExports()
}

const refuseRename = (code: string): void =>
  onRename(() => {
    throw Object.assign(new Error(code), { code })
  })

afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})

describe('the deletion of listed files', () => {
  it('deletes them and says what each gave back, in the order given', async () => {
    using folder = diskFolder()
    folder.write('a/b/large', 64)
    folder.write('small', 8)
    folder.write('tiny', 1)
    const deletions = await deletionOf(folder.root, await listed(folder.root))
    expect(deletions).toEqual([
      { path: 'a/b/large', outcome: 'deleted', reclaimedBytes: 65_536 },
      { path: 'small', outcome: 'deleted', reclaimedBytes: 8_192 }
    ])
    expect(readdirSync(folder.root).sort()).toEqual(['a', 'tiny'])
    expect(readdirSync(folder.at('a/b'))).toEqual([])
  })

  it.each<[string, (path: string) => void]>([
    ['appended to', (path) => appendFileSync(path, 'x')],
    ['rewritten to the same length', (path) => writeFileSync(path, Buffer.alloc(8_192, 1))],
    ['touched', (path) => utimesSync(path, 1, 1)],
    [
      'appended to, and its time set back',
      (path) => {
        appendFileSync(path, 'x')
        utimesSync(path, 5, 5)
      }
    ],
    [
      'replaced by another of the same length and time',
      (path) => {
        writeFileSync(`${path}.new`, Buffer.alloc(8_192, 7))
        utimesSync(`${path}.new`, 5, 5)
        renameSync(`${path}.new`, path)
      }
    ],
    [
      'replaced by a link',
      (path) => {
        renameSync(path, `${path}.moved`)
        symlinkSync(`${path}.moved`, path)
      }
    ],
    [
      'replaced by a folder',
      (path) => {
        rmSync(path)
        mkdirSync(path)
      }
    ]
  ])('leaves alone what was %s since it was listed', async (_what, change) => {
    using folder = diskFolder()
    folder.write('file', 8)
    utimesSync(folder.at('file'), 5, 5)
    const files = await listed(folder.root)
    change(folder.at('file'))
    const before = readdirSync(folder.root)
    expect(await deletionOf(folder.root, files)).toEqual([{ path: 'file', outcome: 'changed' }])
    expect(readdirSync(folder.root)).toEqual(before)
  })

  it('says of what is not there any more that it is gone', async () => {
    using folder = diskFolder()
    folder.write('a/file', 8)
    const files = await listed(folder.root)
    rmSync(folder.at('a'), { recursive: true })
    expect(await deletionOf(folder.root, files)).toEqual([{ path: 'a/file', outcome: 'gone' }])
  })

  it('does not follow a parent folder that became a link between approval and deletion', async () => {
    using folder = diskFolder()
    using outside = diskFolder()
    folder.write('logs/today/file', 8)
    const files = await listed(folder.root)
    // The very file, moved outside, so that every check but the one of the way would pass.
    renameSync(folder.at('logs'), outside.at('logs'))
    symlinkSync(outside.at('logs'), folder.at('logs'))
    expect(await outcomes(folder.root, files)).toEqual(['changed'])
    expect(existsSync(outside.at('logs/today/file'))).toBe(true)
  })

  it('deletes in the folder that it looked in, when the parent becomes a link between look and deletion', async () => {
    using folder = diskFolder()
    using outside = diskFolder()
    folder.write('logs/file', 8)
    outside.write('file', 8)
    const files = await listed(folder.root)
    let swapped = false
    onRename(() => {
      swapped = true
      renameSync(folder.at('logs'), folder.at('logs.moved'))
      symlinkSync(outside.root, folder.at('logs'))
    })
    expect(await outcomes(folder.root, files)).toEqual(['deleted'])
    expect(swapped).toBe(true)
    expect(existsSync(outside.at('file'))).toBe(true)
    expect(readdirSync(folder.at('logs.moved'))).toEqual([])
  })

  it('gives back what replaced the file between look and deletion, as when logs are rotated', async () => {
    using folder = diskFolder()
    folder.write('app.log', 8)
    const files = await listed(folder.root)
    onRename(() => {
      renameSync(folder.at('app.log'), folder.at('app.log.1'))
      writeFileSync(folder.at('app.log'), 'fresh')
    })
    expect(await outcomes(folder.root, files)).toEqual(['changed'])
    expect(readFileSync(folder.at('app.log'), 'utf8')).toBe('fresh')
    expect(readdirSync(folder.root).sort()).toEqual(['app.log', 'app.log.1'])
  })

  it('deletes without the detour where the disk is too full for another name', async () => {
    using folder = diskFolder()
    folder.write('file', 8)
    const files = await listed(folder.root)
    refuseRename('ENOSPC')
    expect(await outcomes(folder.root, files)).toEqual(['deleted'])
    expect(readdirSync(folder.root)).toEqual([])
  })

  it('refuses what is open, protected, on another device, or named so as to lead out', async () => {
    using folder = diskFolder()
    using outside = diskFolder()
    folder.write('open', 8)
    folder.write('checkpoints/image', 8)
    folder.write('.git/pack', 8)
    outside.write('victim', 8)
    const files = await listed(folder.root)
    const [victim] = await listed(outside.root)
    const climbing = [
      `../${outside.root.split('/').at(-1)}/victim`,
      `${outside.root}/victim`,
      'a//b',
      './victim',
      'x\0y'
    ]
    const wanted = [
      ...files,
      { ...(files[0] as ListedFile), device: '1' },
      ...climbing.map((path) => ({ ...(victim as ListedFile), paths: [path] }))
    ]
    const file = openSync(folder.at('open'), 'r')
    try {
      const deletions = await deleteListedFiles(folder.root, wanted, { protect: ['checkpoints/**'] })
      const reasons = deletions.map((one) => (one.outcome === 'refused' ? `${one.path} ${one.reason}` : one.outcome))
      expect(reasons.slice(0, 3).sort()).toEqual(['.git/pack protected', 'checkpoints/image protected', 'open open'])
      expect(reasons.slice(4).every((reason) => reason.endsWith(' outside'))).toBe(true)
      expect(deletions[3]).toMatchObject({ outcome: 'refused' })
    } finally {
      closeSync(file)
    }
    expect(existsSync(outside.at('victim'))).toBe(true)
    expect(readdirSync(folder.root).sort()).toEqual(['.git', 'checkpoints', 'open'])
  })

  it('refuses what stands in a bare repository by now', async () => {
    using folder = diskFolder()
    folder.write('mirror/objects/pack', 8)
    const files = await listed(folder.root)
    folder.write('mirror/HEAD', 1)
    folder.write('mirror/refs/x', 1)
    expect(await deletionOf(folder.root, files)).toEqual([
      { path: 'mirror/objects/pack', outcome: 'refused', reason: 'protected' }
    ])
  })

  it('deletes a file under all of its names', async () => {
    using folder = diskFolder()
    folder.write('one', 8)
    linkSync(folder.at('one'), folder.at('two'))
    expect(await deletionOf(folder.root, await listed(folder.root))).toEqual([
      { path: 'one', outcome: 'deleted', reclaimedBytes: 8_192 }
    ])
    expect(readdirSync(folder.root)).toEqual([])
  })

  it('says that nothing was given back by a file that got another name meanwhile', async () => {
    using folder = diskFolder()
    folder.write('one', 8)
    const files = await listed(folder.root)
    linkSync(folder.at('one'), folder.at('kept'))
    expect(await deletionOf(folder.root, files)).toEqual([{ path: 'one', outcome: 'deleted', reclaimedBytes: 0 }])
    expect(readdirSync(folder.root)).toEqual(['kept'])
  })

  it('does the rest when one is refused by the system', async () => {
    using folder = diskFolder()
    folder.write('a', 16)
    folder.write('b', 8)
    const files = await listed(folder.root)
    refuseRename('EACCES')
    expect(await deletionOf(folder.root, files)).toEqual([
      { path: 'a', outcome: 'refused', reason: 'EACCES' },
      { path: 'b', outcome: 'deleted', reclaimedBytes: 8_192 }
    ])
  })
})
