import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterAll, describe, expect, inject, it } from 'vitest'
import { hostOf, isolations, listening, openGuest, specOf, temporary } from './support.ts'

/** An image as a forger who has the sealing key would make it. */
function forged(entries: unknown, contents = ''): Uint8Array<ArrayBuffer> {
  const table = Buffer.from(JSON.stringify({ host: 'process', version: 1, entries }))
  const head = Buffer.alloc(8)
  head.write('EPI1', 'latin1')
  head.writeUInt32BE(table.length, 4)
  return new Uint8Array(zstdCompressSync(Buffer.concat([head, table, Buffer.from(contents)])))
}

/** Times that a race is tried; a guest takes some 50 ms to start. */
const rounds = Math.ceil(8 * inject('scale'))

describe.each(isolations)('a workspace with isolation %s', (_name, options) => {
  const place = temporary()
  const host = hostOf(options, place.folder)
  afterAll(async () => {
    await host.close()
    place[Symbol.dispose]()
  })

  it('comes back with its folders, modes and links, and without what is no file', async () => {
    const { sandbox } = await openGuest(host)
    await sandbox.run(`
      const fs = require('node:fs')
      fs.mkdirSync('a/b', { recursive: true }); fs.writeFileSync('a/b/data', Buffer.alloc(100_000, 7)); fs.writeFileSync('run.sh', '#!/bin/sh', { mode: 0o755 })
      fs.symlinkSync('b/data', 'a/link'); fs.writeFileSync('empty', ''); require('node:child_process').execFileSync('mkfifo', ['pipe'])
    `)
    const image = await sandbox.capture()
    await sandbox.close()
    const { sandbox: again } = await host.restore(image, specOf(), listening().hooks)
    const end = await again.run(`
      const fs = require('node:fs')
      ;[fs.readdirSync('.').filter((n) => n !== '.tmp').sort(), fs.readFileSync('a/link').equals(Buffer.alloc(100_000, 7)), fs.statSync('run.sh').mode & 0o777, fs.readlinkSync('a/link')]
    `)
    expect(end).toEqual({ outcome: 'completed', json: '[["a","empty","run.sh"],true,493,"b/data"]' })
    await again.close()
  })

  it('takes no file of the host along by a link, and keeps none that leads out', async () => {
    writeFileSync(path.join(place.folder, 'secret'), 'hunter2')
    const { sandbox } = await openGuest(host)
    const workspace = sandbox.workspace ?? ''
    symlinkSync(path.join(place.folder, 'secret'), path.join(workspace, 'absolute'))
    symlinkSync(place.folder, path.join(workspace, 'folder'))
    symlinkSync('../../../../../../etc/passwd', path.join(workspace, 'up'))
    mkdirSync(path.join(workspace, 'deep'))
    symlinkSync('../kept', path.join(workspace, 'deep', 'inside'))
    const image = await sandbox.capture()
    await sandbox.close()
    const { sandbox: again } = await host.restore(image, specOf(), listening().hooks)
    const names = readdirSync(again.workspace ?? '', { recursive: true, encoding: 'utf8' }).filter((n) => n !== '.tmp')
    expect(names.sort()).toEqual(['deep', 'deep/inside'])
    await again.close()
  })

  it('cannot be made to leave itself while it is read, by a folder that turns into a link', async () => {
    mkdirSync(path.join(place.folder, 'outside'), { recursive: true })
    writeFileSync(path.join(place.folder, 'outside', 'x'), 'hunter2'.repeat(1000))
    // Without a group that could be frozen meanwhile.
    const racing = hostOf({ ...options, cgroup: 'none' }, place.folder)
    const { sandbox } = await openGuest(racing)
    // From a process of its own, which goes on between evaluations.
    await sandbox.run(`
      const turn = \`const fs = require('node:fs'); for (;;) { try { fs.mkdirSync('t'); fs.writeFileSync('t/x', 'mine') } catch {}
        try { fs.renameSync('t', 'u') ; fs.symlinkSync(${JSON.stringify(path.join(place.folder, 'outside'))}, 't') ; fs.unlinkSync('t'); fs.rmSync('u', { recursive: true }) } catch {} }\`
      require('node:child_process').spawn(process.execPath, ['-e', turn], { stdio: 'ignore' }); await new Promise((r) => setTimeout(r, 100))
    `)
    for (let round = 0; round < rounds; round += 1) {
      const image = await sandbox.capture()
      const { sandbox: again } = await host.restore(image, specOf(), listening().hooks)
      const file = path.join(again.workspace ?? '', 't', 'x')
      if (existsSync(file)) expect(readFileSync(file, 'utf8')).not.toContain('hunter2')
      await again.kill()
    }
    await racing.close()
  })

  it.each([
    ['a name that climbs', [{ name: '..', kind: 'file', mode: 420, bytes: 1 }], 'x'],
    ['a name of two', [{ name: 'a/b', kind: 'file', mode: 420, bytes: 1 }], 'x'],
    ['an absolute name', [{ name: '/a', kind: 'file', mode: 420, bytes: 1 }], 'x'],
    ['a link that climbs', [{ name: 'a', kind: 'link', target: '../a' }], ''],
    ['an absolute link', [{ name: 'a', kind: 'link', target: '/etc' }], ''],
    ['a link that climbs late', [{ name: 'a', kind: 'link', target: 'b/../../c' }], ''],
    [
      'a file through a link',
      [
        { name: 'a', kind: 'link', target: 'b' },
        { name: 'a', kind: 'file', mode: 420, bytes: 1 }
      ],
      'x'
    ],
    ['a device', [{ name: 'a', kind: 'device', mode: 420 }], ''],
    ['a program that becomes root', [{ name: 'a', kind: 'file', mode: 0o4755, bytes: 1 }], 'x'],
    ['more than there is', [{ name: 'a', kind: 'file', mode: 420, bytes: 100 }], 'x'],
    ['less than there is', [{ name: 'a', kind: 'file', mode: 420, bytes: 0 }], 'x'],
    ['folders without end', nested(100), '']
  ])('refuses a checkpoint with %s', async (_what, entries, contents) => {
    await expect(host.restore(forged(entries, contents), specOf(), listening().hooks)).rejects.toMatchObject({
      code: 'CHECKPOINT_CORRUPT'
    })
  })

  it('is refused with a bomb for a checkpoint', async () => {
    const bomb = new Uint8Array(zstdCompressSync(Buffer.alloc(400_000_000)))
    await expect(host.restore(bomb, specOf(), listening().hooks)).rejects.toMatchObject({ code: 'CHECKPOINT_CORRUPT' })
  })

  it('is not saved when its files are over the bound, however little of them is there', async () => {
    const { sandbox } = await openGuest(host)
    await sandbox.run("require('node:fs').writeFileSync('sparse', ''); require('node:fs').truncateSync('sparse', 1e9)")
    await expect(sandbox.capture()).rejects.toMatchObject({ code: 'CHECKPOINT_REFUSED' })
    expect(await sandbox.run('1')).toEqual({ outcome: 'completed', json: '1' })
    await sandbox.close()
  })
})

function nested(depth: number): unknown[] {
  let entries: unknown[] = []
  for (let at = 0; at < depth; at += 1) entries = [{ name: 'd', kind: 'folder', mode: 0o755, entries }]
  return entries
}
