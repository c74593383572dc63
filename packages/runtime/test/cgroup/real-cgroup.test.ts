import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mebibytes } from '@enablement/runtime'
import {
  type Cgroup,
  type CreateCgroupOptions,
  createCgroup,
  listCgroups,
  probeCgroups
} from '@enablement/runtime/monitor'
import { afterEach, describe, expect, it } from 'vitest'
import { fakeKernel } from '../fakes/fake-kernel.ts'

const machine = probeCgroups()
/** Title of a case: what this machine lacks is shown on a fake root in its place. */
const on = (has: boolean): string =>
  has ? 'on the kernel of this machine' : 'on a fake root, for this machine lacks it'

const cleanUps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

function group(options: Omit<CreateCgroupOptions, 'name'> = {}): Cgroup {
  const made = createCgroup({ name: `test-${process.pid}-${cleanUps.length}`, ...options })
  cleanUps.push(async () => {
    await made.kill()
    await made.remove()
  })
  return made
}

/** Starts a command that waits to be let go, so that it is a member before it does anything. */
function startIn(
  members: Cgroup,
  command: string
): { readonly child: ChildProcess; readonly exit: Promise<unknown[]> } {
  const child = spawn('sh', ['-c', `read go; ${command}`], { stdio: ['pipe', 'pipe', 'ignore'] })
  const exit = once(child, 'close')
  cleanUps.push(async () => child.kill('SIGKILL'))
  members.add(child.pid as number)
  child.stdin?.end('\n')
  return { child, exit }
}

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

const hasMemory = machine.memory !== 'none'

describe('a memory bomb in a control group', () => {
  it(`is killed at the limit, counted, and the host lives: ${on(hasMemory)}`, async () => {
    if (!hasMemory) {
      using kernel = fakeKernel('v2')
      const made = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: mebibytes(64) })
      kernel.set(join(kernel.root, 'box', 'memory.events'), 'oom 1\noom_kill 1\n')
      expect(made.memory()).toMatchObject({ oomKills: 1 })
      return
    }
    const members = group({ memoryLimitBytes: mebibytes(64) })
    const bomb = "const a=[];for(;;)a.push(new Array(1024*1024).fill('x'))"
    const { exit } = startIn(members, `exec "${process.execPath}" -e "${bomb}"`)
    expect(await exit).toEqual([null, 'SIGKILL'])
    expect(members.memory()).toMatchObject({ oomKills: 1, limitBytes: mebibytes(64) })
    expect(members.memory()?.peakBytes).toBeGreaterThan(mebibytes(60))
    expect(members.memory()?.peakBytes).toBeLessThanOrEqual(mebibytes(64))
    expect(members.processes()).toEqual([])
  })

  it(`that is to be paused stops at the limit and goes on with its state when that is raised: ${on(machine.memory === 'v1' && machine.pauseOnOom)}`, async () => {
    if (machine.memory !== 'v1' || !machine.pauseOnOom) {
      using kernel = fakeKernel('v1')
      const made = createCgroup({
        name: 'box',
        root: kernel.root,
        kernel,
        memoryLimitBytes: mebibytes(64),
        pauseOnOom: true
      })
      expect(kernel.writes).toContain('memory.oom_control=1')
      made.setMemoryLimit(mebibytes(256))
      expect(made.memory()?.limitBytes).toBe(mebibytes(256))
      return
    }
    const members = group({ memoryLimitBytes: mebibytes(64), pauseOnOom: true })
    // Room is asked for before the limit is near, and then only touched: what allocates inside a system call at the limit
    // is answered ENOMEM by v1 instead of being stopped, and V8 aborts on that.
    const job =
      'const m=1048576,a=Buffer.allocUnsafeSlow(80*m);for(let i=0;i<10;i++)a.fill(i,i*8*m,(i+1)*8*m);console.log(Array.from({length:10},(_,i)=>a[i*8*m+9]).join())'
    const { child, exit } = startIn(members, `exec "${process.execPath}" -e "${job}"`)
    const output: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => output.push(chunk))
    await until(() => members.memory()?.underOom === true)
    expect(members.memory()).toMatchObject({ oomKills: 0 })
    expect(child.exitCode).toBeNull()
    members.setMemoryLimit(mebibytes(256))
    expect(await exit).toEqual([0, null])
    expect(Buffer.concat(output).toString().trim()).toBe('0,1,2,3,4,5,6,7,8,9')
    expect(members.memory()).toMatchObject({ oomKills: 0, underOom: false, limitBytes: mebibytes(256) })
  })

  it(`is told from page cache, which the kernel drops by itself: ${on(hasMemory)}`, async () => {
    if (!hasMemory) {
      using kernel = fakeKernel('v2')
      const made = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: mebibytes(16) })
      kernel.set(join(kernel.root, 'box', 'memory.current'), `${mebibytes(15)}`)
      kernel.set(join(kernel.root, 'box', 'memory.stat'), `inactive_file ${mebibytes(14)}\n`)
      expect(made.memory()?.workingSetBytes).toBe(mebibytes(1))
      return
    }
    const folder = mkdtempSync(join(tmpdir(), 'page-cache-'))
    cleanUps.push(async () => rmSync(folder, { recursive: true }))
    const members = group({ memoryLimitBytes: mebibytes(16) })
    const { exit } = startIn(members, `exec dd if=/dev/zero of="${join(folder, 'file')}" bs=1M count=32`)
    expect(await exit).toEqual([0, null])
    const memory = members.memory()
    expect(memory).toMatchObject({ oomKills: 0 })
    expect(memory?.usageBytes).toBeGreaterThan(mebibytes(8))
    expect(memory?.workingSetBytes).toBeLessThan(mebibytes(8))
  })
})

describe('the members of a control group', () => {
  it(`are ended all at once, those in a session of their own too: ${on(hasMemory)}`, async () => {
    if (!hasMemory) {
      using kernel = fakeKernel('v2')
      const made = createCgroup({ name: 'box', root: kernel.root, kernel })
      made.add(41)
      await made.kill()
      expect(made.processes()).toEqual([])
      return
    }
    const members = group()
    const { exit } = startIn(members, "trap '' TERM; setsid sleep 100 & sleep 100 & setsid setsid sleep 100 & wait")
    await until(() => members.processes().length >= 4)
    const pids = members.processes()
    await members.kill()
    expect(await exit).toEqual([null, 'SIGKILL'])
    expect(members.processes()).toEqual([])
    expect(pids.filter(isRunning)).toEqual([])
    await members.remove()
    expect(listCgroups()).not.toContain(`test-${process.pid}-0`)
  })

  it(`cannot be more than were allowed: ${on(machine.processes !== 'none')}`, async () => {
    if (machine.processes === 'none') {
      using kernel = fakeKernel('v1')
      createCgroup({ name: 'box', root: kernel.root, kernel, processesMax: 32 })
      expect(kernel.writes).toContain('pids.max=32')
      return
    }
    const members = group({ processesMax: 32 })
    // Threads count as well, of which Node has a dozen.
    const job =
      "for(let n=0;n<32;n++)require('child_process').spawn('sleep',['100']).on('error',(error)=>{console.log(error.code);process.exit()})"
    const { child, exit } = startIn(members, `exec "${process.execPath}" -e "${job}"`)
    const output: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => output.push(chunk))
    expect(await exit).toEqual([0, null])
    expect(Buffer.concat(output).toString().trim()).toBe('EAGAIN')
    expect(members.processes().length).toBeLessThan(32)
    await members.kill()
    expect(members.processes()).toEqual([])
  })

  it(`stand still while the group is frozen, and can be ended so: ${on(machine.freeze)}`, async () => {
    if (!machine.freeze) {
      using kernel = fakeKernel('v1')
      const made = createCgroup({ name: 'box', root: kernel.root, kernel })
      await made.freeze(true)
      expect(kernel.writes).toContain('freezer.state=FROZEN')
      return
    }
    const members = group()
    const { child, exit } = startIn(members, 'while :; do echo x; done')
    child.stdout?.resume()
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    await members.freeze(true)
    const spent = (): string => readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[11] ?? ''
    const before = spent()
    for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    expect(spent()).toBe(before)
    await members.kill()
    expect(await exit).toEqual([null, 'SIGKILL'])
  })
})

/** A zombie has ended; it only waits for its parent to ask. */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}
