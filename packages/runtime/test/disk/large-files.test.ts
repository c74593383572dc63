import { closeSync, linkSync, mkdirSync, openSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { findLargeFiles, type LargeFileOptions } from '@enablement/runtime/monitor'
import { describe, expect, it } from 'vitest'
import { diskFolder, noProcesses } from '../fakes/disk-folder.ts'

const large = (root: string, options: LargeFileOptions = {}) =>
  findLargeFiles(root, { minBytes: 64 * 1_024, procRoot: noProcesses, ...options })

describe('large files', () => {
  it('are found the largest first, by what they have allocated and not by how long they look', async () => {
    using folder = diskFolder()
    folder.write('a/small', 60)
    folder.write('a/medium', 64)
    folder.write('b/c/large', 256)
    folder.write('sparse', 0)
    truncateSync(folder.at('sparse'), 10 * 1_073_741_824)
    const found = await large(folder.root)
    expect(found.files.map(({ paths }) => paths)).toEqual([['b/c/large'], ['a/medium']])
    expect(found.files[0]).toMatchObject({
      sizeBytes: 262_144,
      allocatedBytes: 262_144,
      isOpen: false,
      isLinkedElsewhere: false,
      isProtected: false
    })
    expect(found).toMatchObject({ isTruncated: false, unreadable: 0 })
  })

  it('are 10 MiB or more unless told otherwise', async () => {
    using folder = diskFolder()
    folder.write('under', 10_236)
    folder.write('over', 10_240)
    expect((await findLargeFiles(folder.root, { procRoot: noProcesses })).files.map(({ paths }) => paths)).toEqual([
      ['over']
    ])
  })

  it('are not looked for behind links, nor on another file system', async () => {
    using folder = diskFolder()
    using outside = diskFolder()
    outside.write('secret', 128)
    symlinkSync(outside.root, folder.at('folder-link'))
    symlinkSync(outside.at('secret'), folder.at('file-link'))
    mkdirSync(folder.at('loop'))
    symlinkSync('..', folder.at('loop/up'))
    expect((await large(folder.root)).files).toEqual([])
    // The root file system holds /proc, /sys and /dev, all of other devices.
    const top = await findLargeFiles('/dev', { minBytes: 1, procRoot: noProcesses })
    expect(top.files.every(({ paths }) => !paths[0]?.startsWith('shm/'))).toBe(true)
  })

  it('with several names are one file; with a name outside they are not offered as room', async () => {
    using folder = diskFolder()
    using outside = diskFolder()
    folder.write('one', 128)
    linkSync(folder.at('one'), folder.at('two'))
    folder.write('shared', 64)
    linkSync(folder.at('shared'), outside.at('name'))
    const { files } = await large(folder.root)
    expect(files).toMatchObject([
      { paths: ['one', 'two'], isLinkedElsewhere: false },
      { paths: ['shared'], isLinkedElsewhere: true }
    ])
  })

  it('that a process has open or mapped are marked', async () => {
    using folder = diskFolder()
    folder.write('open', 128)
    folder.write('closed', 64)
    const file = openSync(folder.at('open'), 'r')
    try {
      expect((await large(folder.root, { procRoot: '/proc' })).files).toMatchObject([
        { paths: ['open'], isOpen: true },
        { paths: ['closed'], isOpen: false }
      ])
    } finally {
      closeSync(file)
    }
    const found = await large(folder.root, { procRoot: '/proc' })
    expect(found.files.some(({ isOpen }) => isOpen)).toBe(false)
  })

  it('say that it is not known what is open where processes do not let us look', async () => {
    using folder = diskFolder()
    using proc = diskFolder()
    folder.write('file', 128)
    // A process whose descriptors are no folder, as ENOTDIR stands for EACCES here: the tests run as root.
    mkdirSync(proc.at('17'))
    writeFileSync(proc.at('17/maps'), '')
    writeFileSync(proc.at('17/fd'), '')
    expect((await large(folder.root, { procRoot: proc.root })).isOpenComplete).toBe(false)
  })

  it('in repositories and under protected globs are marked, in bare repositories too', async () => {
    using folder = diskFolder()
    folder.write('.git/objects/pack/a.pack', 128)
    folder.write('deep/vendor/.git/b', 128)
    for (const name of ['HEAD', 'objects/x', 'refs/y']) folder.write(`mirror/${name}`, 1)
    folder.write('mirror/objects/pack', 128)
    folder.write('state/checkpoints/7/image', 128)
    folder.write('state/log', 128)
    const { files } = await large(folder.root, { protect: ['state/checkpoints'] })
    expect(Object.fromEntries(files.map(({ paths, isProtected }) => [paths[0], isProtected]))).toEqual({
      '.git/objects/pack/a.pack': true,
      'deep/vendor/.git/b': true,
      'mirror/objects/pack': true,
      'state/checkpoints/7/image': true,
      'state/log': false
    })
    expect((await large(folder.root, { protect: ['**/*.pack', '**/log'] })).files.every((one) => one.isProtected)).toBe(
      false
    )
  })

  it('are searched for within bounds, and it is said when these were reached', async () => {
    using folder = diskFolder()
    for (let n = 0; n < 6; n += 1) folder.write(`f${n}`, 64 + n * 4)
    const few = await large(folder.root, { filesMax: 2 })
    expect(few).toMatchObject({ isTruncated: true, files: [{ paths: ['f5'] }, { paths: ['f4'] }] })
    expect(await large(folder.root, { entriesMax: 3 })).toMatchObject({ isTruncated: true })
    const deep = Array.from({ length: 80 }, () => 'd').join('/')
    folder.write(`${deep}/below`, 128)
    expect(await large(folder.root)).toMatchObject({ isTruncated: true })
  })

  it('whose names are not UTF-8 are counted and left alone', async () => {
    using folder = diskFolder()
    writeFileSync(Buffer.concat([Buffer.from(`${folder.root}/`), Buffer.from([0xff, 0xfe])]), Buffer.alloc(131_072, 1))
    folder.write('new\nline "quoted"', 128)
    const found = await large(folder.root)
    expect(found).toMatchObject({ unreadable: 1, files: [{ paths: ['new\nline "quoted"'] }] })
  })

  it('are no longer searched for when the signal aborts', async () => {
    using folder = diskFolder()
    folder.write('f', 64)
    await expect(large(folder.root, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  })

  it('leave no descriptor open', async () => {
    using folder = diskFolder()
    folder.write('a/b/c/f', 64)
    const descriptors = async () => (await import('node:fs')).readdirSync('/proc/self/fd').length
    const before = await descriptors()
    await large(folder.root)
    await large(folder.at('missing')).catch(() => undefined)
    expect(await descriptors()).toBe(before)
  })
})
