import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { CgroupKernel } from '@enablement/runtime/monitor'

/** A root of control groups in a temporary folder, and a kernel that answers there as Linux does. */
export interface FakeKernel extends CgroupKernel, Disposable {
  readonly root: string
  /** Every write, as `file=text` with the file's last two names. */
  readonly writes: readonly string[]
  readonly killed: readonly number[]
  set(path: string, text: string): void
  /** The next write to a file of this name is refused. */
  refuse(name: string, code: string): void
  /** A folder of this name says so many times that it is busy. */
  busy(name: string, times: number): void
  /** What `/proc/self/cgroup` says. */
  ownGroups: string
}

const UNLIMITED = '9223372036854771712'

const failed = (code: string, path: string): Error => Object.assign(new Error(`${code}: ${path}`), { code })

export function fakeKernel(layout: 'v1' | 'v2' | 'hybrid'): FakeKernel {
  const root = mkdtempSync(join(tmpdir(), 'cgroups-'))
  const writes: string[] = []
  const killed: number[] = []
  const refusals = new Map<string, string>()
  const busyTimes = new Map<string, number>()
  const put = (path: string, text: string): void => writeFileSync(path, text)
  const get = (path: string): string => readFileSync(path, 'latin1')
  const wordsIn = (path: string): string[] => (existsSync(path) ? get(path).split(/\s+/).filter(Boolean) : [])

  const populateV2 = (folder: string, controllers: readonly string[], isRoot: boolean): void => {
    const at = (name: string, text: string): void => put(join(folder, name), text)
    at('cgroup.procs', '')
    at('cgroup.controllers', controllers.join(' '))
    at('cgroup.subtree_control', '')
    if (isRoot) return
    at('cgroup.events', 'populated 0\nfrozen 0\n')
    at('cgroup.freeze', '0')
    at('cgroup.kill', '')
    if (controllers.includes('memory')) {
      at('memory.current', '0')
      for (const name of ['memory.max', 'memory.high', 'memory.swap.max']) at(name, 'max')
      at('memory.peak', '0')
      at('memory.oom.group', '0')
      at('memory.stat', 'anon 0\nfile 0\ninactive_file 0\n')
      at('memory.events', 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n')
    }
    if (controllers.includes('pids')) at('pids.max', 'max')
  }
  const populateV1 = (folder: string, tree: string): void => {
    const at = (name: string, text: string): void => put(join(folder, name), text)
    at('cgroup.procs', '')
    if (tree === 'pids') at('pids.max', 'max')
    if (tree === 'freezer') at('freezer.state', 'THAWED')
    if (tree !== 'memory') return
    at('memory.usage_in_bytes', '0')
    at('memory.max_usage_in_bytes', '0')
    at('memory.failcnt', '0')
    at('memory.limit_in_bytes', UNLIMITED)
    at('memory.memsw.limit_in_bytes', UNLIMITED)
    at('memory.stat', `hierarchical_memory_limit ${UNLIMITED}\ntotal_inactive_file 0\n`)
    at('memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n')
  }
  const treeOf = (path: string): string => {
    const first = path.slice(root.length + 1).split('/')[0] as string
    return layout === 'v2' ? 'v2' : first === 'unified' ? 'v2' : first
  }

  if (layout === 'v2') populateV2(root, ['cpu', 'memory', 'pids'], true)
  else {
    for (const tree of ['memory', 'pids', 'freezer']) {
      mkdirSync(join(root, tree))
      populateV1(join(root, tree), tree)
    }
    if (layout === 'hybrid') {
      mkdirSync(join(root, 'unified'))
      populateV2(join(root, 'unified'), [], true)
    }
  }

  /** What a file does when it is written to, besides taking the text. */
  const take = (path: string, text: string): void => {
    const name = basename(path)
    const folder = dirname(path)
    const sibling = (other: string): string => join(folder, other)
    if (name === 'cgroup.procs') return put(path, `${get(path)}${text}\n`)
    if (name === 'cgroup.kill') {
      for (const pid of wordsIn(sibling('cgroup.procs'))) kernel.kill(Number(pid))
      return
    }
    if (name === 'cgroup.subtree_control') {
      const isTop = folder === root || folder === join(root, 'unified')
      if (!isTop && wordsIn(sibling('cgroup.procs')).length > 0) throw failed('EBUSY', path)
      return put(path, `${get(path)} ${text.slice(1)}`.trim())
    }
    const limits = ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']
    if (limits.includes(name)) {
      const other = BigInt(get(sibling(limits[1 - limits.indexOf(name)] as string)))
      const isMemsw = name === limits[1]
      if (isMemsw ? BigInt(text) < other : BigInt(text) > other) throw failed('EINVAL', path)
      if (BigInt(text) < BigInt(get(sibling('memory.usage_in_bytes')))) throw failed('EBUSY', path)
      if (!isMemsw) put(sibling('memory.stat'), `hierarchical_memory_limit ${text}\ntotal_inactive_file 0\n`)
    }
    if (name === 'cgroup.freeze') put(sibling('cgroup.events'), `populated 1\nfrozen ${text}\n`)
    put(path, text)
  }

  const kernel: FakeKernel = {
    root,
    writes,
    killed,
    ownGroups: '0::/\n4:memory:/\n8:pids:/\n6:freezer:/\n',
    set: put,
    refuse: (name, code) => void refusals.set(name, code),
    busy: (name, times) => void busyTimes.set(name, times),
    read: (path) => (path === '/proc/self/cgroup' ? kernel.ownGroups : get(path)),
    write(path, text) {
      if (!existsSync(path)) throw failed('ENOENT', path)
      const name = basename(path)
      const code = refusals.get(name)
      refusals.delete(name)
      if (code !== undefined) throw failed(code, path)
      writes.push(`${name}=${text}`)
      take(path, text)
    },
    exists: existsSync,
    canWrite: existsSync,
    folders: (path) => readdirSync(path).filter((name) => statSync(join(path, name)).isDirectory()),
    makeFolder(path) {
      const code = refusals.get(`mkdir ${treeOf(path)}`)
      if (code !== undefined) throw failed(code, path)
      mkdirSync(path)
      if (treeOf(path) === 'v2') populateV2(path, wordsIn(join(dirname(path), 'cgroup.subtree_control')), false)
      else populateV1(path, treeOf(path))
    },
    removeFolder(path) {
      if (!existsSync(path)) throw failed('ENOENT', path)
      const left = busyTimes.get(basename(path)) ?? 0
      busyTimes.set(basename(path), left - 1)
      const hasGroups = readdirSync(path).some((name) => statSync(join(path, name)).isDirectory())
      if (left > 0 || hasGroups || wordsIn(join(path, 'cgroup.procs')).length > 0) throw failed('EBUSY', path)
      rmSync(path, { recursive: true })
    },
    kill(pid) {
      killed.push(pid)
      for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
        if (basename(file) !== 'cgroup.procs') continue
        const path = join(root, file)
        put(path, get(path).replace(new RegExp(`^${pid}\n`, 'm'), ''))
      }
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true })
  }
  return kernel
}
