import { rmSync } from 'node:fs'
import path from 'node:path'
import type { Clock } from '@enablement/core'
import { readCgroup } from '../cgroup/create-cgroup.ts'
import { type Lease, leasesIn } from './lease.ts'
import { identify, isRunning } from './proc.ts'
import { sandboxProcesses } from './sandbox-processes.ts'

/** What was left of hosts that were killed. */
export interface ReapReport {
  readonly sandboxes: number
  /** Processes that were still running. */
  readonly processes: number
}

/** Ends the sandboxes in `stateFolder` whose hosts have gone, and removes all that is left of them. */
export async function reapIn(
  stateFolder: string,
  options: {
    readonly clock: Clock
    readonly place: { readonly root?: string; readonly parent?: string } | undefined
  }
): Promise<ReapReport> {
  const { clock, place } = options
  let sandboxes = 0
  let processes = 0
  for (const { path: folder, lease } of leasesIn(stateFolder)) {
    if (isOwned(path.basename(folder), lease)) continue
    sandboxes += 1
    const first = lease?.first
    const cgroup =
      lease?.cgroup === undefined || place === undefined ? undefined : readCgroup({ ...place, name: lease.cgroup })
    if (lease !== undefined) {
      const left = sandboxProcesses(clock, {
        ...(first === undefined ? {} : { first }),
        mark: lease.mark,
        isContained: false,
        ...(cgroup === undefined ? {} : { cgroup })
      })
      processes += left.list().length
      await left.kill()
    }
    await cgroup?.remove().catch(() => undefined)
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
  return { sandboxes, processes }
}

/** The name says who made it: a host may have been killed before it wrote the first lease. */
function isOwned(name: string, lease: Lease | undefined): boolean {
  if (lease !== undefined) return isRunning(lease.host)
  const [, pid, startTime] = /^enablement-(\d+)-(\d+)-\d+$/.exec(name) ?? []
  return pid !== undefined && identify(Number(pid))?.startTime === startTime
}
