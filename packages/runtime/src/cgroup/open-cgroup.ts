import { join } from 'node:path'
import { type Clock, type Deadline, deadlineAfter, parseOptions, sleep } from '@enablement/core'
import { z } from 'zod'
import type { Cgroup } from './cgroup.ts'
import type { CgroupKernel } from './cgroup-kernel.ts'
import { memoryControllerOf } from './cgroup-memory.ts'
import { isV2 } from './hierarchy.ts'
import { attempt, errnoOf, refusal, refusalOf } from './refusal.ts'

/** A folder of the group, and the mount point of the tree that it is in. */
export interface GroupFolder {
  readonly mount: string
  readonly folder: string
}

/** How long the kernel may take to freeze, to end or to let go of a group: each takes it milliseconds when all is well. */
const PATIENCE_MS = 10_000

/** Waits between looks double up to the longest. */
const FIRST_LOOK_MS = 1
const LAST_LOOK_MS = 50

/** A guest that may make groups could nest them without end. */
const NESTING_MAX = 32

const bytesSchema = z.int().min(4_096)

/** A group that is there, by the files in its folders. */
export function openCgroup(kernel: CgroupKernel, clock: Clock, folders: readonly GroupFolder[]): Cgroup {
  const paths = folders.map(({ folder }) => folder)
  const memory = folders
    .map(({ mount, folder }) => memoryControllerOf(kernel, mount, folder))
    .find((controller) => controller !== undefined)
  const writable = (name: string): string | undefined =>
    paths.map((folder) => join(folder, name)).find((file) => kernel.canWrite(file))
  const killFile = writable('cgroup.kill')
  const freezeFile = writable('cgroup.freeze')
  const freezerFile = writable('freezer.state')
  const pidsFolder = paths.find((folder) => kernel.exists(join(folder, 'pids.max')))

  const processes = (): readonly number[] => [...new Set(paths.flatMap((folder) => membersOf(kernel, folder)))]

  /** Looks until `isDone` says so. Resolves with whether it did in time. */
  const until = async (isDone: () => boolean): Promise<boolean> => {
    const deadline: Deadline = deadlineAfter(clock, PATIENCE_MS)
    for (let lookMs = FIRST_LOOK_MS; !isDone(); lookMs = Math.min(LAST_LOOK_MS, lookMs * 2)) {
      if (deadline.expired()) return false
      await sleep(clock, lookMs)
    }
    return true
  }

  const put = (what: string, path: string, text: string): void => {
    try {
      kernel.write(path, text)
    } catch (error) {
      throw refusal(what, path, error)
    }
  }

  const signalAll = (): void => {
    for (const pid of processes()) {
      // It ended by itself, or it is not ours to kill and `kill` says so when time is up.
      attempt(() => kernel.kill(pid))
    }
  }

  return {
    paths,
    supports: {
      memory: memory?.version ?? 'none',
      processes: pidsFolder === undefined ? 'none' : isV2(kernel, pidsFolder) ? 'v2' : 'v1',
      kill: killFile === undefined ? 'signals' : 'kill',
      freeze: freezeFile !== undefined || freezerFile !== undefined,
      pauseOnOom: memory?.canPauseOnOom ?? false
    },
    memory: () => memory?.read(),
    processes,
    add(pid) {
      for (const folder of paths)
        put(`process ${pid} was not taken into the group`, join(folder, 'cgroup.procs'), `${pid}`)
    },
    setMemoryLimit(bytes) {
      parseOptions(bytesSchema, 'setMemoryLimit', bytes)
      if (memory === undefined)
        throw refusalOf('ENOTSUP', 'there is no memory controller to set a limit', paths[0] ?? '')
      memory.setLimit(bytes)
    },
    async freeze(frozen) {
      const what = frozen ? 'the group was not frozen' : 'the group was not thawed'
      if (freezeFile !== undefined) {
        put(what, freezeFile, frozen ? '1' : '0')
        const events = freezeFile.replace(/freeze$/, 'events')
        const wanted = `frozen ${frozen ? 1 : 0}`
        if (await until(() => (attempt(() => kernel.read(events)) ?? '').split('\n').includes(wanted))) return
        put(what, freezeFile, frozen ? '0' : '1')
        throw refusalOf('ETIMEDOUT', what, freezeFile)
      }
      if (freezerFile === undefined) throw refusalOf('ENOTSUP', what, paths[0] ?? '')
      const state = frozen ? 'FROZEN' : 'THAWED'
      put(what, freezerFile, state)
      if (await until(() => (attempt(() => kernel.read(freezerFile)) ?? '').trim() === state)) return
      put(what, freezerFile, frozen ? 'THAWED' : 'FROZEN')
      throw refusalOf('ETIMEDOUT', what, freezerFile)
    },
    async kill() {
      const isHere = (file: string | undefined): file is string => file !== undefined && kernel.exists(file)
      if (isHere(killFile)) put('the members were not killed', killFile, '1')
      else signalAll()
      // v1 delivers a signal to a frozen process only when it is thawed.
      if (isHere(freezerFile)) put('the group was not thawed', freezerFile, 'THAWED')
      let looks = 0
      const isEmpty = (): boolean => {
        if (processes().length === 0) return true
        looks += 1
        // Who forked while it was read, or is a member of one tree alone.
        if (killFile === undefined || looks > 1) signalAll()
        return false
      }
      if (!(await until(isEmpty))) {
        throw refusalOf('ETIMEDOUT', `processes ${processes().slice(0, 8).join(', ')} outlived SIGKILL`, paths[0] ?? '')
      }
    },
    async remove() {
      for (const folder of paths) {
        for (const nested of nestedIn(kernel, folder)) await removeFolder(kernel, nested, until)
      }
    }
  }
}

/** A group and those inside it, the innermost first. */
function nestedIn(kernel: CgroupKernel, folder: string, depth = 0): readonly string[] {
  const inside = depth < NESTING_MAX ? (attempt(() => kernel.folders(folder)) ?? []) : []
  return [...inside.flatMap((name) => nestedIn(kernel, join(folder, name), depth + 1)), folder]
}

function membersOf(kernel: CgroupKernel, folder: string): readonly number[] {
  return nestedIn(kernel, folder).flatMap((nested) =>
    (attempt(() => kernel.read(join(nested, 'cgroup.procs'))) ?? '')
      .split('\n')
      .filter((line) => /^[1-9]\d{0,9}$/.test(line))
      .map(Number)
  )
}

/** The kernel keeps a group busy for a moment after its last process ended. */
async function removeFolder(
  kernel: CgroupKernel,
  folder: string,
  until: (isDone: () => boolean) => Promise<boolean>
): Promise<void> {
  let last: unknown
  const isGone = (): boolean => {
    try {
      kernel.removeFolder(folder)
      return true
    } catch (error) {
      last = error
      if (errnoOf(error) === 'ENOENT') return true
      if (errnoOf(error) === 'EBUSY') return false
      throw refusal('the group was not removed', folder, error)
    }
  }
  if (!(await until(isGone))) throw refusal('the group was not removed', folder, last)
}
