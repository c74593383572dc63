import type { Usage } from '@enablement/core'
import type { Refusal } from './incident/incident.ts'
import type { MemoryReading } from './monitor/memory-monitor.ts'
import type { ConsoleLine } from './sandbox/sandbox-host.ts'
import type { TerminationRecord } from './sandbox/termination.ts'

/** Which sandbox an event is about. */
export interface SandboxRef {
  readonly tenant: string
  readonly agent: string
  readonly sandboxId: string
}

/** Which incident, of which sandbox. */
export interface IncidentRef extends SandboxRef {
  readonly incidentId: string
}

/** What runtime tells an observer, by `type`. A guest's console lines are the only content of a guest's in it. */
export type RuntimeEvent =
  | (SandboxRef & { readonly type: 'sandbox.opened'; readonly memoryLimitBytes: number })
  | (SandboxRef & { readonly type: 'sandbox.closed' })
  | (SandboxRef & { readonly type: 'sandbox.terminated'; readonly record: TerminationRecord })
  | (SandboxRef & {
      readonly type: 'memory.warning' | 'memory.critical' | 'memory.normal'
      readonly reading: MemoryReading
    })
  /** The samples were late, as when the host's event loop was blocked: the level may have been passed unseen. */
  | (SandboxRef & { readonly type: 'memory.stale' })
  | (SandboxRef & { readonly type: 'console'; readonly line: ConsoleLine })
  | (IncidentRef & { readonly type: 'incident.opened'; readonly limitBytes: number; readonly peakBytes: number })
  | (IncidentRef & {
      readonly type: 'checkpoint.saved'
      readonly checkpointId: string
      readonly sealedBytes: number
      readonly elapsedMs: number
    })
  /** The incident goes on without a checkpoint. */
  | (IncidentRef & { readonly type: 'checkpoint.failed'; readonly error: unknown })
  | (IncidentRef & {
      readonly type: 'approval.requested'
      readonly approvalRequestId: string
      readonly requestedLimitBytes: number
    })
  | (IncidentRef & { readonly type: 'limit.raised'; readonly limitBytes: number })
  | (IncidentRef & { readonly type: 'limit.refused'; readonly refusal: Refusal })
  | (IncidentRef & {
      readonly type: 'sandbox.resumed'
      readonly incarnation: number
      readonly memoryLimitBytes: number
      readonly evaluation: 'suspended' | 'lost'
    })
  /** An ownership could not be renewed; it is tried again until it runs out. */
  | (IncidentRef & { readonly type: 'ownership.unrenewed'; readonly error: unknown })
  /** The sink did not take a run's usage. It is handed over here, so that nothing is lost: report it again. */
  | { readonly type: 'usage.unreported'; readonly usage: Usage; readonly error: unknown }
