import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { bundledProgram } from '@enablement/build/program'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bwrap, hostOf, isolations, openGuest, processesWith, temporary, until } from './support.ts'

/** Control groups tell the processes of a sandbox better than anything else, and not everybody may make them. */
const withoutGroups = isolations.map(
  ([name, options]) => [`${name} without groups`, { ...options, cgroup: 'none' }] as const
)

describe.each([...isolations, ...withoutGroups])('a host that is killed with isolation %s', (name, options) => {
  const place = temporary()
  const children: ChildProcess[] = []
  let program = ''
  beforeAll(async () => {
    program = await bundledProgram(path.join(import.meta.dirname, 'host-process.ts'), place.folder)
  })
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL')
    place[Symbol.dispose]()
  })

  it('leaves nothing that the next one does not end: processes, groups and folders', async () => {
    const mark = `orphan-${process.pid}-${name.replaceAll(' ', '-')}`
    const state = path.join(place.folder, 'state')
    const child = spawn(process.execPath, [program, name, bwrap, state, mark], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    const killed = new Promise((resolve) => child.once('exit', resolve))
    for await (const piece of child.stdout) if (String(piece).includes('ready')) break
    expect(processesWith(mark).length).toBeGreaterThanOrEqual(3)
    const [sandbox = ''] = readdirSync(state)
    expect(sandbox).toMatch(/^enablement-\d+-\d+-1$/)
    child.kill('SIGKILL')
    await killed
    // In bubblewrap the kernel ends them by itself.
    if (name.startsWith('bubblewrap')) await until(() => processesWith(mark).length === 0)
    const events: unknown[] = []
    const next = hostOf({ ...options, observe: (event) => void events.push(event) }, place.folder)
    const { sandbox: fresh } = await openGuest(next)
    expect(processesWith(mark)).toEqual([])
    expect(processesWith(sandbox)).toEqual([])
    expect(events).toMatchObject([{ type: 'process.reaped', sandboxes: 1 }])
    expect(existsSync(path.join(state, sandbox))).toBe(false)
    for (const tree of ['memory', 'pids', 'unified', '.']) {
      const groups = path.join('/sys/fs/cgroup', tree)
      if (existsSync(groups)) {
        const left = readdirSync(groups, { recursive: true, encoding: 'utf8' }).filter((one) => one.includes(sandbox))
        expect(left).toEqual([])
      }
    }
    await fresh.close()
    expect(await next.reap()).toEqual({ sandboxes: 0, processes: 0 })
    await next.close()
  })

  it('is not mistaken for one that lives, nor one that lives for it', async () => {
    const one = hostOf(options, place.folder)
    const { sandbox } = await openGuest(one)
    const two = hostOf(options, place.folder)
    expect(await two.reap()).toEqual({ sandboxes: 0, processes: 0 })
    expect(await sandbox.run('1')).toEqual({ outcome: 'completed', json: '1' })
    await one.close()
    // The id of a host that has gone is this process's now, by its lease: only the time it started tells them apart.
    const left = path.join(place.folder, 'state', `enablement-${process.pid}-1-1`)
    mkdirSync(left)
    const host = { pid: process.pid, startTime: '1', bootId: 'another' }
    writeFileSync(path.join(left, 'lease.json'), JSON.stringify({ host, first: host, mark: `X=${left}` }))
    expect(await two.reap()).toEqual({ sandboxes: 1, processes: 0 })
    await two.close()
  })

  it('may have written a lease that nobody can read', async () => {
    const host = hostOf(options, place.folder)
    await host.reap()
    const left = path.join(place.folder, 'state', 'enablement-1-1-1')
    mkdirSync(left)
    writeFileSync(path.join(left, 'lease.json'), '{"host": {"pid": 0')
    expect(await host.reap()).toEqual({ sandboxes: 1, processes: 0 })
    expect(existsSync(left)).toBe(false)
    await host.close()
  })
})
