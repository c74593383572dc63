import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testPlatform } from '@enablement/core/testing'
import { mebibytes, RuntimeError } from '@enablement/runtime'
import {
  constrainedMemoryBytes,
  createCgroup,
  listCgroups,
  probeCgroups,
  readCgroup,
  readCgroupMemory
} from '@enablement/runtime/monitor'
import { describe, expect, it } from 'vitest'
import { fakeKernel } from '../fakes/fake-kernel.ts'

const limit = mebibytes(64)

const refusedBy = (work: () => unknown): { path: string; errno: string } => {
  try {
    work()
  } catch (error) {
    if (error instanceof RuntimeError && error.is('CGROUP_REFUSED')) return error.detail
    throw error
  }
  throw new Error('it was not refused')
}

/** What a promise rejects with, listened to from now on. */
const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error
  )

describe('a control group of v2', () => {
  it('gets its controllers from its parent, one limit for memory and swap, and dies as one', () => {
    using kernel = fakeKernel('v2')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit, processesMax: 32 })
    expect(group.supports).toEqual({ memory: 'v2', processes: 'v2', kill: 'kill', freeze: true, pauseOnOom: true })
    expect(kernel.writes).toEqual([
      'cgroup.subtree_control=+memory',
      'cgroup.subtree_control=+pids',
      `memory.max=${limit}`,
      'memory.swap.max=0',
      'memory.oom.group=1',
      'pids.max=32'
    ])
    expect(group.memory()).toEqual({
      usageBytes: 0,
      workingSetBytes: 0,
      limitBytes: limit,
      peakBytes: 0,
      oomKills: 0,
      underOom: false
    })
  })

  it('stands beside our own group where that has members, for the kernel gives controllers to no such group', () => {
    using kernel = fakeKernel('v2')
    kernel.makeFolder(join(kernel.root, 'app'))
    kernel.set(join(kernel.root, 'app', 'cgroup.procs'), '7\n')
    kernel.ownGroups = '0::/app\n'
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit })
    expect(group.paths).toEqual([join(kernel.root, 'box')])
    expect(readCgroup({ name: 'box', root: kernel.root, kernel })?.paths).toEqual(group.paths)
    expect(listCgroups({ root: kernel.root, kernel })).toContain('box')
  })

  it('never stands in the slice above our own service, where our limits would not hold', () => {
    using kernel = fakeKernel('v2')
    kernel.set(join(kernel.root, 'cgroup.subtree_control'), 'memory pids')
    kernel.makeFolder(join(kernel.root, 'system.slice'))
    kernel.write(join(kernel.root, 'system.slice', 'cgroup.subtree_control'), '+memory')
    kernel.makeFolder(join(kernel.root, 'system.slice', 'app.service'))
    kernel.set(join(kernel.root, 'system.slice', 'app.service', 'cgroup.procs'), '7\n')
    kernel.ownGroups = '0::/system.slice/app.service\n'
    const place = { root: kernel.root, kernel }
    expect(refusedBy(() => createCgroup({ name: 'box', ...place, memoryLimitBytes: limit })).errno).toBe('ENOTSUP')
    expect(existsSync(join(kernel.root, 'system.slice', 'box'))).toBe(false)
    expect(existsSync(join(kernel.root, 'system.slice', 'app.service', 'box'))).toBe(false)
    expect(createCgroup({ name: 'box', ...place }).supports).toMatchObject({ memory: 'none', kill: 'kill' })
  })

  it('switches the controllers on from the top down for a parent that was named', () => {
    using kernel = fakeKernel('v2')
    kernel.write(join(kernel.root, 'cgroup.subtree_control'), '+memory')
    kernel.makeFolder(join(kernel.root, 'agents'))
    const place = { root: kernel.root, kernel, parent: '/agents' }
    expect(createCgroup({ name: 'box', ...place, memoryLimitBytes: limit }).supports.memory).toBe('v2')
  })

  it('throttles before the limit instead of killing, says so by its working set, and moves both marks together', () => {
    using kernel = fakeKernel('v2')
    const group = createCgroup({
      name: 'box',
      root: kernel.root,
      kernel,
      memoryLimitBytes: 100_000_000,
      pauseOnOom: true
    })
    const file = (name: string): string => join(kernel.root, 'box', name)
    expect(readFileSync(file('memory.high'), 'utf8')).toBe('95000000')
    kernel.set(file('memory.current'), '96000000')
    kernel.set(file('memory.stat'), 'anon 1\ninactive_file 90000000\n')
    expect(group.memory()).toMatchObject({ underOom: false, usageBytes: 96_000_000, workingSetBytes: 6_000_000 })
    kernel.set(file('memory.stat'), 'anon 96000000\ninactive_file 0\n')
    expect(group.memory()).toMatchObject({ underOom: true })
    const before = kernel.writes.length
    group.setMemoryLimit(200_000_000)
    expect(kernel.writes.slice(before)).toEqual(['memory.max=200000000', 'memory.high=190000000', 'memory.swap.max=0'])
    group.setMemoryLimit(120_000_000)
    expect(kernel.writes.slice(before + 3, before + 5)).toEqual(['memory.high=114000000', 'memory.max=120000000'])
  })

  it('refuses a limit below what is used, for which the kernel would kill', () => {
    using kernel = fakeKernel('v2')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit })
    kernel.set(join(kernel.root, 'box', 'memory.current'), `${mebibytes(40)}`)
    expect(refusedBy(() => group.setMemoryLimit(mebibytes(32))).errno).toBe('EBUSY')
    expect(group.memory()?.limitBytes).toBe(limit)
  })

  it('counts the limits of the groups above as its own', () => {
    using kernel = fakeKernel('v2')
    kernel.write(join(kernel.root, 'cgroup.subtree_control'), '+memory')
    kernel.makeFolder(join(kernel.root, 'pod'))
    kernel.set(join(kernel.root, 'pod', 'memory.max'), '1000000')
    kernel.ownGroups = '0::/pod\n'
    expect(readCgroupMemory({ root: kernel.root, kernel })?.limitBytes).toBe(1_000_000)
  })
})

describe('a control group of v1', () => {
  it('is a folder in each tree', () => {
    using kernel = fakeKernel('v1')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit, processesMax: 32 })
    expect(group.paths).toEqual(['memory', 'pids', 'freezer'].map((tree) => join(kernel.root, tree, 'box')))
    expect(group.supports).toEqual({ memory: 'v1', processes: 'v1', kill: 'signals', freeze: true, pauseOnOom: true })
  })

  it('has memory+swap raised first and lowered last, for EINVAL answers any other order', () => {
    using kernel = fakeKernel('v1')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit })
    group.setMemoryLimit(limit * 2)
    group.setMemoryLimit(limit)
    expect(kernel.writes).toEqual([
      `memory.limit_in_bytes=${limit}`,
      `memory.memsw.limit_in_bytes=${limit}`,
      `memory.memsw.limit_in_bytes=${limit * 2}`,
      `memory.limit_in_bytes=${limit * 2}`,
      `memory.limit_in_bytes=${limit}`,
      `memory.memsw.limit_in_bytes=${limit}`
    ])
  })

  it('keeps the limit that it had when the second half of a change is refused', () => {
    using kernel = fakeKernel('v1')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit })
    kernel.refuse('memory.memsw.limit_in_bytes', 'EBUSY')
    expect(refusedBy(() => group.setMemoryLimit(limit / 2))).toEqual({
      path: join(kernel.root, 'memory', 'box', 'memory.memsw.limit_in_bytes'),
      errno: 'EBUSY'
    })
    expect(group.memory()?.limitBytes).toBe(limit)
  })

  it('does without the limit of memory+swap where the kernel does not count swap', () => {
    using kernel = fakeKernel('v1')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel })
    unlinkSync(join(kernel.root, 'memory', 'box', 'memory.memsw.limit_in_bytes'))
    kernel.write = (path, text) => writeFileSync(path, text)
    group.setMemoryLimit(limit)
    expect(readFileSync(join(kernel.root, 'memory', 'box', 'memory.limit_in_bytes'), 'utf8')).toBe(`${limit}`)
  })

  it('takes 9223372036854771712 and anything from 2^62 on for no limit', () => {
    using kernel = fakeKernel('v1')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel })
    expect(group.memory()).not.toHaveProperty('limitBytes')
    const stat = join(kernel.root, 'memory', 'box', 'memory.stat')
    kernel.set(stat, `hierarchical_memory_limit ${2n ** 62n}\n`)
    kernel.set(join(kernel.root, 'memory', 'box', 'memory.limit_in_bytes'), `${2n ** 62n}`)
    expect(group.memory()).not.toHaveProperty('limitBytes')
    kernel.set(stat, 'hierarchical_memory_limit 5000000\n')
    expect(group.memory()?.limitBytes).toBe(5_000_000)
  })

  it('counts kills by oom_control and never by failcnt, and the working set without inactive page cache', () => {
    using kernel = fakeKernel('v1')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit })
    const file = (name: string): string => join(kernel.root, 'memory', 'box', name)
    kernel.set(file('memory.failcnt'), '9')
    expect(group.memory()?.oomKills).toBe(0)
    kernel.set(file('memory.oom_control'), 'oom_kill_disable 0\nunder_oom 1\noom_kill 2\n')
    kernel.set(file('memory.usage_in_bytes'), '254000000')
    kernel.set(
      file('memory.stat'),
      'inactive_file 5\nhierarchical_memory_limit 256000000\ntotal_inactive_file 247000000\n'
    )
    expect(group.memory()).toMatchObject({
      oomKills: 2,
      underOom: true,
      usageBytes: 254_000_000,
      workingSetBytes: 7_000_000
    })
  })

  it('ends its members by signals until it is empty, those of nested groups and who forked meanwhile too', async () => {
    using kernel = fakeKernel('v1')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel })
    group.add(11)
    kernel.makeFolder(join(kernel.root, 'memory', 'box', 'inner'))
    kernel.set(join(kernel.root, 'memory', 'box', 'inner', 'cgroup.procs'), '12\n')
    const { kill } = kernel
    kernel.kill = (pid) => {
      kill(pid)
      if (pid === 12) kernel.set(join(kernel.root, 'memory', 'box', 'cgroup.procs'), '13\n')
    }
    expect(new Set(group.processes())).toEqual(new Set([11, 12]))
    await group.kill()
    expect(kernel.killed).toEqual(expect.arrayContaining([11, 12, 13]))
    expect(kernel.writes).toContain('freezer.state=THAWED')
    await group.remove()
    expect(group.paths.some(existsSync)).toBe(false)
  })
})

describe('a control group on a hybrid', () => {
  it('has its memory from v1 and its end from v2, and lets the unified tree freeze it', async () => {
    using kernel = fakeKernel('hybrid')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit })
    expect(group.supports).toEqual({ memory: 'v1', processes: 'v1', kill: 'kill', freeze: true, pauseOnOom: true })
    group.add(21)
    await group.freeze(true)
    await group.freeze(false)
    await group.kill()
    expect(kernel.writes.slice(2)).toEqual([
      'cgroup.procs=21',
      'cgroup.procs=21',
      'cgroup.procs=21',
      'cgroup.procs=21',
      'cgroup.freeze=1',
      'cgroup.freeze=0',
      'cgroup.kill=1',
      'freezer.state=THAWED'
    ])
  })

  it('stands below our own group, each tree by its own line of /proc/self/cgroup', () => {
    using kernel = fakeKernel('hybrid')
    kernel.makeFolder(join(kernel.root, 'memory', 'svc'))
    mkdirSync(join(kernel.root, 'outside'))
    kernel.ownGroups = '4:memory:/svc\n8:pids:/not/in/this/container\n6:freezer:/../outside\n0::/\n'
    const group = createCgroup({ name: 'box', root: kernel.root, kernel })
    expect(group.paths.map((path) => path.slice(kernel.root.length))).toEqual([
      '/unified/box',
      '/memory/svc/box',
      '/pids/box',
      '/freezer/box'
    ])
  })

  it('does without a tree that is not ours to write to, unless what is asked for needs it', () => {
    using kernel = fakeKernel('hybrid')
    kernel.refuse('mkdir memory', 'EROFS')
    const place = { root: kernel.root, kernel }
    expect(createCgroup({ name: 'box', ...place }).supports.memory).toBe('none')
    const detail = refusedBy(() => createCgroup({ name: 'other', ...place, memoryLimitBytes: limit }))
    expect(detail).toEqual({ path: join(kernel.root, 'memory', 'other'), errno: 'EROFS' })
    expect(listCgroups(place)).toEqual(['box'])
  })
})

describe('a control group that is refused', () => {
  it('leaves nothing behind', () => {
    using kernel = fakeKernel('hybrid')
    kernel.refuse('memory.limit_in_bytes', 'EACCES')
    const place = { root: kernel.root, kernel }
    expect(refusedBy(() => createCgroup({ name: 'box', ...place, memoryLimitBytes: limit })).errno).toBe('EACCES')
    expect(listCgroups(place)).toEqual([])
    kernel.refuse('pids.max', 'EINVAL')
    expect(refusedBy(() => createCgroup({ name: 'box', ...place, processesMax: 1 })).errno).toBe('EINVAL')
    expect(listCgroups(place)).toEqual([])
  })

  it('does not take the place of another of its name', () => {
    using kernel = fakeKernel('hybrid')
    const place = { root: kernel.root, kernel }
    createCgroup({ name: 'box', ...place })
    expect(refusedBy(() => createCgroup({ name: 'box', ...place })).errno).toBe('EEXIST')
    expect(readCgroup({ name: 'box', ...place })?.paths).toHaveLength(4)
    kernel.makeFolder(join(kernel.root, 'pids', 'other'))
    expect(refusedBy(() => createCgroup({ name: 'other', ...place })).errno).toBe('EEXIST')
    expect(existsSync(join(kernel.root, 'memory', 'other'))).toBe(false)
    expect(existsSync(join(kernel.root, 'pids', 'other'))).toBe(true)
  })

  it('is not there on a machine without control groups', () => {
    const root = mkdtempSync(join(tmpdir(), 'no-cgroups-'))
    try {
      expect(refusedBy(() => createCgroup({ name: 'box', root }))).toEqual({ path: root, errno: 'ENOENT' })
      expect(probeCgroups({ root })).toMatchObject({ memory: 'none', pauseOnOom: false })
      expect(readCgroup({ name: 'box', root })).toBeUndefined()
      expect(readCgroupMemory({ root })).toBeUndefined()
    } finally {
      rmSync(root, { recursive: true })
    }
  })

  it.each(['', '..', 'a/b', '.hidden', 'a\nb', 'x'.repeat(129)])('has no such name as %j', (name) => {
    expect(() => createCgroup({ name })).toThrow(/createCgroup refused its options: name/)
  })

  it.each([
    [{ name: 'a', parent: '/../b' }, /parent/],
    [{ name: 'a', memoryLimitBytes: 1 }, /memoryLimitBytes/],
    [{ name: 'a', pauseOnOom: true }, /pauseOnOom: needs memoryLimitBytes/],
    [{ name: 'a', memoryLimit: 5 }, /memoryLimit: there is no such option/]
  ])('has no options such as %j', (options, message) => {
    expect(() => createCgroup(options)).toThrow(message)
  })
})

describe('a control group whose files are broken', () => {
  it.each([
    ['memory.current', 'garbage', undefined],
    ['memory.current', '-5', undefined],
    ['memory.current', '', undefined],
    ['memory.max', 'garbage', undefined],
    ['memory.stat', 'inactive_file many\n', { usageBytes: 900, workingSetBytes: 900 }],
    ['memory.stat', 'inactive_file 1000\n', { usageBytes: 900, workingSetBytes: 0 }],
    ['memory.events', '\0\0', { oomKills: 0 }]
  ])('with %s = %j does not invent a reading', (name, text, expected) => {
    const root = mkdtempSync(join(tmpdir(), 'cgroups-'))
    try {
      mkdirSync(join(root, 'box'))
      const files = {
        'cgroup.procs': '',
        'memory.current': '900',
        'memory.max': 'max',
        'memory.stat': 'inactive_file 0'
      }
      for (const [file, content] of Object.entries({ ...files, [name]: text })) {
        writeFileSync(join(root, 'box', file), content)
      }
      writeFileSync(join(root, 'cgroup.procs'), '')
      const memory = readCgroup({ name: 'box', root, parent: '/' })?.memory()
      if (expected === undefined) expect(memory).toBeUndefined()
      else expect(memory).toMatchObject(expected)
    } finally {
      rmSync(root, { recursive: true })
    }
  })

  it('that disappear reads as gone, takes no limit, and can be removed again', async () => {
    using kernel = fakeKernel('hybrid')
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, memoryLimitBytes: limit })
    for (const path of group.paths) rmSync(path, { recursive: true })
    expect(group.memory()).toBeUndefined()
    expect(group.processes()).toEqual([])
    expect(refusedBy(() => group.setMemoryLimit(limit)).errno).toBe('ENOENT')
    expect(refusedBy(() => group.add(1)).errno).toBe('ENOENT')
    await group.kill()
    await group.remove()
  })
})

describe('what a kernel takes its time for', () => {
  it('removal is tried again while the group is busy, and given up after 10 s', async () => {
    using kernel = fakeKernel('v2')
    const platform = testPlatform()
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, platform })
    kernel.busy('box', 3)
    const removed = group.remove()
    await platform.clock.advance(20)
    await removed
    expect(existsSync(join(kernel.root, 'box'))).toBe(false)

    const stuck = createCgroup({ name: 'stuck', root: kernel.root, kernel, platform })
    kernel.busy('stuck', 1e9)
    const refused = rejection(stuck.remove())
    await platform.clock.advance(10_100)
    expect(await refused).toMatchObject({ code: 'CGROUP_REFUSED', detail: { errno: 'EBUSY' } })
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('a freeze that does not come about within 10 s is taken back', async () => {
    using kernel = fakeKernel('v2')
    const platform = testPlatform()
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, platform })
    const write = kernel.write
    kernel.write = (path, text) => {
      write(path, text)
      kernel.set(join(kernel.root, 'box', 'cgroup.events'), 'populated 1\nfrozen 0\n')
    }
    const refused = rejection(group.freeze(true))
    await platform.clock.advance(10_100)
    expect(await refused).toMatchObject({ detail: { errno: 'ETIMEDOUT' } })
    expect(kernel.writes.slice(-2)).toEqual(['cgroup.freeze=1', 'cgroup.freeze=0'])
  })

  it('members that outlive SIGKILL are told', async () => {
    using kernel = fakeKernel('v1')
    const platform = testPlatform()
    const group = createCgroup({ name: 'box', root: kernel.root, kernel, platform })
    group.add(31)
    kernel.kill = () => undefined
    const refused = rejection(group.kill())
    await platform.clock.advance(10_100)
    expect(String(await refused)).toContain('processes 31 outlived SIGKILL')
  })
})

describe('the memory that Node says a process may use', () => {
  it.each([
    [18_446_744_073_709_552_000, undefined],
    [0, undefined],
    [1_001, undefined],
    [1_000, 1_000],
    [512, 512]
  ])('%d of a machine with 1,000 bytes is %s', (constrained, expected) => {
    expect(constrainedMemoryBytes(constrained, 1_000)).toBe(expected)
  })
})
