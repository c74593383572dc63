import type { Execution, JsonValue, Verdict } from '@enablement/core'
import type { MemoryLevel } from '../monitor/memory-monitor.ts'
import type { FileDeletion } from './deletion.ts'
import type { DiskSpace } from './disk-space.ts'

/** One look at a file system. */
export interface DiskReading extends DiskSpace {
  readonly level: MemoryLevel
  /** The level before, when this look changed it. */
  readonly changedFrom?: MemoryLevel
  /** Monotonic milliseconds. */
  readonly at: number
}

/** What a disk monitor tells, by `type`. */
export type DiskMonitorEvent =
  | {
      readonly type: 'disk.warning' | 'disk.critical' | 'disk.normal'
      readonly root: string
      readonly reading: DiskReading
    }
  /** No look has succeeded for three intervals: what was read last says nothing about now. Told once until one succeeds. */
  | { readonly type: 'disk.stale'; readonly root: string }
  /** `statfs` failed, or its answer made no sense. Told once until a look succeeds. */
  | { readonly type: 'disk.unreadable'; readonly root: string; readonly error: unknown }

/** Which sandbox's disk. */
interface GuardedSandbox {
  readonly tenant: string
  readonly agent: string
  readonly sandboxId: string
}

/** What a disk guard tells, by `type`. */
export type DiskEvent =
  | (GuardedSandbox & DiskMonitorEvent)
  /** `how` is what the sandbox's host did; `none` when it cannot. */
  | (GuardedSandbox & { readonly type: 'disk.read-only'; readonly how: string })
  | (GuardedSandbox & { readonly type: 'disk.writable' })
  | (GuardedSandbox & {
      readonly type: 'disk.approval-requested'
      readonly approvalRequestId: string
      readonly files: number
      readonly reclaimableBytes: number
    })
  /** No file is large enough, unprotected, and with all of its names inside. */
  | (GuardedSandbox & { readonly type: 'disk.nothing-to-delete' })
  /** The verdict was not an approval. It is not asked again before the disk has been below critical. */
  | (GuardedSandbox & { readonly type: 'disk.deletion-refused'; readonly verdict: Verdict })
  | (GuardedSandbox & {
      readonly type: 'disk.deleted'
      readonly deletions: readonly FileDeletion[]
      readonly reclaimedBytes: number
    })
  /** Approved, and not run now: another process has it, or it is not known whether it ran. */
  | (GuardedSandbox & {
      readonly type: 'disk.deletion-elsewhere'
      readonly execution: Exclude<Execution<JsonValue>, { readonly outcome: 'executed' }>
    })
  /** A step failed; all but `tell` are tried again at the next look, while the disk is critical. */
  | (GuardedSandbox & {
      readonly type: 'disk.step-failed'
      readonly step: 'read-only' | 'writable' | 'tell' | 'search' | 'approval'
      readonly error: unknown
    })
