import type { Clock } from '@enablement/core'
import { sleep } from '@enablement/core'
import type { Cgroup } from '../cgroup/cgroup.ts'
import { familyOf, identify, isRunning, markedWith, memoryOf, type ProcessIdentity, signal } from './proc.ts'

/** The processes of one sandbox, by whatever the machine has to tell them by. */
export interface SandboxProcesses {
  /** Ids on the host, now. */
  list(): readonly number[]
  /** Memory that they have for themselves, by `/proc`. */
  memoryBytes(): number
  /** Ends all of them. Resolves when none is left. */
  kill(): Promise<void>
}

/** Waits between two looks at whether all have ended. */
const LOOK_MS = 5

/** How often: what stands uninterruptible in the kernel may take its time, but not for ever. */
const LOOKS_MAX = 1_000

/**
 * `mark` is an entry in the environment of the first process, inherited by what it starts unless that wants otherwise. It
 * tells plain processes that have left their family; those in a namespace of process ids (`isContained`) cannot, except for
 * bwrap's own in the moment before it has tied them to itself.
 */
export function sandboxProcesses(
  clock: Clock,
  of: {
    readonly first?: ProcessIdentity
    readonly mark: string
    readonly isContained: boolean
    readonly cgroup?: Cgroup
  }
): SandboxProcesses {
  const { first, mark, isContained, cgroup } = of
  /** The id of the first may be somebody else's by now, with a family of its own. */
  const family = (): readonly number[] => (first !== undefined && isRunning(first) ? familyOf(first.pid) : [])
  const list = (): readonly number[] => {
    const members = cgroup?.processes() ?? []
    if (members.length > 0) return members
    return isContained ? family() : [...new Set([...family(), ...markedWith(mark)])]
  }
  const left = (): readonly ProcessIdentity[] =>
    [...new Set([...(cgroup?.processes() ?? []), ...family(), ...markedWith(mark)])]
      .map((pid) => identify(pid))
      .filter((one) => one !== undefined)
  return {
    list,
    memoryBytes: () => list().reduce((sum, pid) => sum + memoryOf(pid), 0),
    async kill() {
      if (cgroup !== undefined) await cgroup.kill().catch(() => undefined)
      for (let look = 0; look < LOOKS_MAX; look += 1) {
        const those = left()
        if (those.length === 0) return
        // Again and again: one that is being started while another ends is not on the list yet.
        for (const one of those) signal(one, 'SIGKILL')
        await sleep(clock, LOOK_MS)
      }
    }
  }
}
