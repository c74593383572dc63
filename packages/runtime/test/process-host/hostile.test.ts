import { readFileSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { mebibytes } from '@enablement/runtime'
import { afterAll, describe, expect, it } from 'vitest'
import { bwrap, type Guest, hostOf, isolations, openGuest, processesWith, temporary, until } from './support.ts'

describe.each(isolations)('a hostile guest with isolation %s', (_name, options) => {
  const place = temporary()
  const host = hostOf(options, place.folder)
  afterAll(async () => {
    await host.close()
    place[Symbol.dispose]()
  })

  it.each([
    ['arrays', 'globalThis.a = []; for (;;) a.push(new Array(1024 * 1024).fill("x"))'],
    ['buffers, which no limit of the heap bounds', 'globalThis.b = []; for (;;) b.push(Buffer.alloc(1 << 20, 1))'],
    ['awaited buffers', 'globalThis.b = []; for (;;) { b.push(Buffer.alloc(1 << 20, 1)); await safepoint() }'],
    [
      'memory of a child process',
      `const { spawn } = require('node:child_process')
       const child = spawn(process.execPath, ['-e', 'const b = []; for (;;) b.push(Buffer.alloc(1 << 20, 1))'])
       await new Promise((resolve) => child.once('exit', resolve))
       throw new Error('the child ended')`
    ]
  ])('that bombs with %s ends as out of memory, or its child does', async (what, code) => {
    const { sandbox } = await openGuest(host)
    const end = await sandbox.run(code)
    const isOver = end.outcome === 'exhausted' || (end.outcome === 'gone' && end.outOfMemory === true)
    expect(isOver || (what.includes('child') && end.outcome === 'failed'), JSON.stringify(end)).toBe(true)
    expect(sandbox.usage().peakBytes).toBeLessThan(mebibytes(400))
    await sandbox.kill()
  })

  it('that ends itself is gone, and not for want of memory', async () => {
    const { sandbox } = await openGuest(host)
    const end = await sandbox.run('process.exit(7)')
    expect(end).toEqual({ outcome: 'gone', reason: 'its process ended with code 7' })
    expect(sandbox.isAlive()).toBe(false)
  })

  it.each([
    ['garbage', "require('node:fs').writeSync(3, Buffer.from('garbage, and a lot of it'))"],
    ['a length without end', "require('node:fs').writeSync(3, Buffer.from([0xff, 0xff, 0xff, 0xff]))"],
    ['no JSON', "require('node:fs').writeSync(3, Buffer.from([0, 0, 0, 2, 0x7b, 0x7b]))"],
    ['a message of no kind', frameText({ kind: 'confess' })],
    [
      'an end that was not due',
      `setTimeout(() => ${frameText({ kind: 'ended', end: { outcome: 'interrupted' } })}, 30); forged = 1`
    ],
    ['a result that is no JSON', frameText({ kind: 'ended', end: { outcome: 'completed', json: '{' } })],
    ['a call with a number from before', frameText({ kind: 'call', callId: 0, name: 'echo' })],
    ['fields that nobody asked for', frameText({ kind: 'call', callId: 1, name: 'echo', idempotencyKey: 'mine' })],
    ['a state that was not asked for', frameText({ kind: 'saved', json: '{}' })],
    [
      'ten thousand lines',
      `const fs = require('node:fs'); const f = ${frameExpression({ kind: 'console', level: 'info', text: 'x' })}; for (let i = 0; i < 10_000; i++) { try { fs.writeSync(3, f) } catch { i -= 1 } }`
    ]
  ])('that writes %s to its pipe is tainted and ended', async (_what, code) => {
    const { sandbox } = await openGuest(host)
    const waits = code.includes('forged') ? '' : '; await new Promise((resolve) => setTimeout(resolve, 20_000))'
    const first = await sandbox.run(code + waits)
    await until(() => !sandbox.isAlive())
    const end = first.outcome === 'completed' ? await sandbox.run('1') : first
    expect(end.outcome, JSON.stringify(end)).toBe('tainted')
    expect(sandbox.isAlive()).toBe(false)
    await expect(sandbox.capture()).rejects.toMatchObject({ code: 'CHECKPOINT_REFUSED' })
    await sandbox.kill()
  })

  it('that closes its pipe is ended', async () => {
    const { sandbox } = await openGuest(host)
    const end = await sandbox.run("require('node:fs').closeSync(3); await new Promise((r) => setTimeout(r, 20_000))")
    expect(['tainted', 'gone']).toContain(end.outcome)
    expect(end).not.toHaveProperty('outOfMemory')
    expect(sandbox.isAlive()).toBe(false)
    await sandbox.kill()
  })

  it('that leaves descendants which have left its session and ignore SIGTERM takes all of them with it', async () => {
    const { sandbox } = await openGuest(host)
    const mark = `sleep-of-${process.pid}-${host.capabilities.network}`
    await sandbox.run(
      `const { spawn } = require('node:child_process')
       for (let i = 0; i < 3; i += 1) {
         spawn('/bin/sh', ['-c', 'trap "" TERM HUP; while :; do sleep 1; done # ${mark}'], { detached: true, stdio: 'ignore' }).unref()
       }`
    )
    expect(processesWith(mark).length).toBeGreaterThanOrEqual(3)
    await sandbox.kill()
    expect(processesWith(mark)).toEqual([])
  })

  it('that forks without end comes up against a bound, and its host does not', async () => {
    const bounded = hostOf({ ...options, processesMax: 64 }, place.folder)
    const { sandbox } = await openGuest(bounded)
    const running = sandbox.run(
      `const { spawn } = require('node:child_process'); let refused = 0
       for (let i = 0; i < 200; i += 1) { try { const c = spawn('/bin/sleep', ['30'], { stdio: 'ignore' }); c.on('error', () => { refused += 1 }) } catch { refused += 1 } }
       await new Promise((r) => setTimeout(r, 50)); refused`
    )
    const end = await running
    if (end.outcome === 'completed') expect(Number(end.json)).toBeGreaterThan(100)
    else expect(end.outcome).toBe('gone')
    await bounded.close()
  })

  it('sees nothing of the environment of its host', async () => {
    process.env['VERY_SECRET_TOKEN'] = 'hunter2'
    const { sandbox } = await openGuest(host)
    const end = await sandbox.run("JSON.stringify(process.env) + require('node:child_process').execSync('env')")
    expect(JSON.stringify(end)).not.toContain('hunter2')
    delete process.env['VERY_SECRET_TOKEN']
    await sandbox.kill()
  })
})

function frameExpression(message: unknown): string {
  const json = JSON.stringify(message)
  return `Buffer.concat([Buffer.from([0, 0, 0, ${json.length}]), Buffer.from(${JSON.stringify(json)})])`
}
function frameText(message: unknown): string {
  return `require('node:fs').writeSync(3, ${frameExpression(message)})`
}

describe('a guest in bubblewrap', () => {
  const place = temporary()
  const host = hostOf({ bwrap, diskLimitBytes: mebibytes(16) }, place.folder)
  let guest: Guest
  afterAll(async () => {
    await host.close()
    place[Symbol.dispose]()
  })
  const run = async (code: string): Promise<unknown> => {
    guest ??= await openGuest(host)
    const end = await guest.sandbox.run(code)
    if (end.outcome !== 'completed') throw new Error(JSON.stringify(end))
    return end.json === undefined ? undefined : JSON.parse(end.json)
  }
  const attempt = (work: string): Promise<unknown> =>
    run(`(() => { try { ${work}; return 'done' } catch (error) { return error.code ?? error.name } })()`)

  it('finds none of the files of its host', async () => {
    writeFileSync(path.join(place.folder, 'secret'), 'hunter2')
    expect(await attempt(`require('fs').readFileSync(${JSON.stringify(path.join(place.folder, 'secret'))})`)).toBe(
      'ENOENT'
    )
    for (const file of ['/etc/passwd', '/etc/shadow', '/root', '/home', '/sys', '/proc/1/root/etc/passwd']) {
      expect(await attempt(`require('fs').statSync(${JSON.stringify(file)})`), file).toMatch(/ENOENT|EACCES/)
    }
  })

  it('writes to its workspace alone', async () => {
    expect(await attempt(`require('fs').writeFileSync('/workspace/a', 'x')`)).toBe('done')
    expect(await attempt(`require('fs').writeFileSync('/tmp/a', 'x')`)).toBe('done')
    for (const file of ['/a', '/usr/a', '/dev/a', '/dev/shm/a', '/run/a', '/etc/a', '/proc/sys/kernel/core_pattern']) {
      expect(await attempt(`require('fs').writeFileSync(${JSON.stringify(file)}, 'x')`), file).toMatch(
        /EROFS|EACCES|ENOENT|EPERM/
      )
    }
    await run(`require('fs').rmSync('/workspace/a'); require('fs').rmSync('/tmp/a')`)
  })

  it('sees its own processes only, and no network', async () => {
    const pids = (await run(`require('fs').readdirSync('/proc').filter((n) => /^\\d+$/.test(n)).length`)) as number
    expect(pids).toBeLessThan(6)
    const names = await run(`Object.keys(require('os').networkInterfaces())`)
    expect(names).toEqual(['lo'])
  })

  it('gains no rights, and makes no namespaces of its own', async () => {
    const status = String(await run(`require('fs').readFileSync('/proc/self/status', 'utf8')`))
    expect(status).toMatch(/^CapEff:\t0+$/m)
    expect(status).toMatch(/^CapBnd:\t0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect(await run(`require('child_process').spawnSync('unshare', ['--user', 'true']).status`)).not.toBe(0)
  })

  it('gets ENOSPC after exactly its quota, and can go on once there is room', async () => {
    const written = await run(`(() => {
      const fs = require('fs'); const fd = fs.openSync('/workspace/fill', 'w'); let written = 0
      try { for (;;) written += fs.writeSync(fd, Buffer.alloc(4096, 1)) } catch (error) { fs.closeSync(fd); return [error.code, written] }
    })()`)
    expect(written).toEqual(['ENOSPC', mebibytes(16)])
    expect(statfsSync(guest.sandbox.workspace ?? '').bfree).toBe(0)
    await run(`require('fs').rmSync('/workspace/fill'); require('fs').writeFileSync('/workspace/fill', 'ok')`)
  })

  it('is made read-only by a remount, by its quota while a file is open for writing, and writable again', async () => {
    const { sandbox } = guest
    expect(await sandbox.setReadOnly?.(true)).toBe('remount')
    expect(await attempt(`require('fs').writeFileSync('/workspace/b', 'x')`)).toBe('EROFS')
    await sandbox.setReadOnly?.(false)
    await run(
      `globalThis.fd = require('fs').openSync('/workspace/open', 'w'); require('fs').writeSync(fd, Buffer.alloc(5000, 1))`
    )
    expect(await sandbox.setReadOnly?.(true)).toBe('quota-freeze')
    expect(await attempt(`require('fs').writeSync(fd, Buffer.alloc(65536, 1), 0, 65536, 8192)`)).toBe('ENOSPC')
    expect(await attempt(`require('fs').writeFileSync('/workspace/c', 'x')`)).toBe('ENOSPC')
    expect(await run(`require('fs').readFileSync('/workspace/open').length`)).toBe(5000)
    await sandbox.setReadOnly?.(false)
    expect(await attempt(`require('fs').writeFileSync('/workspace/c', Buffer.alloc(1 << 20, 1))`)).toBe('done')
  })

  it('is listed by the ids that its processes have on the host', async () => {
    const pids = guest.sandbox.processes?.() ?? []
    expect(pids.length).toBeGreaterThanOrEqual(2)
    expect(pids.some((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('max-old-space-size'))).toBe(true)
  })

  it('has time to end by itself when it is closed', async () => {
    const { sandbox } = await openGuest(host)
    await sandbox.run(`process.on('SIGTERM', () => setTimeout(() => process.exit(0), 100))`)
    const began = performance.now()
    await sandbox.close()
    expect(performance.now() - began).toBeGreaterThanOrEqual(90)
    expect(sandbox.isAlive()).toBe(false)
  })
})
