import type { Usage } from '@enablement/core'
import type { Refusal } from './incident/incident.ts'
import type { MemoryReading } from './monitor/memory-monitor.ts'
import type { ConsoleLine } from './sandbox/sandbox-host.ts'
import type { TerminationRecord } from './sandbox/termination.ts'

interface OfSandbox {
  readonly tenant: string
  readonly agent: string
  readonly sandboxId: string
}

interface OfIncident extends OfSandbox {
  readonly incidentId: string
}

/** What runtime tells an observer, by `type`. A guest's console lines are the only content of a guest's in it. */
export type RuntimeEvent =
  | (OfSandbox & { readonly type: 'sandbox.opened'; readonly memoryLimitBytes: number })
  | (OfSandbox & { readonly type: 'sandbox.closed' })
  | (OfSandbox & { readonly type: 'sandbox.terminated'; readonly record: TerminationRecord })
  | (OfSandbox & {
      readonly type: 'memory.warning' | 'memory.critical' | 'memory.normal'
      readonly reading: MemoryReading
    })
  /** The samples were late, as when the host's event loop was blocked: the level may have been passed unseen. */
  | (OfSandbox & { readonly type: 'memory.stale' })
  | (OfSandbox & { readonly type: 'console'; readonly line: ConsoleLine })
  | (OfIncident & { readonly type: 'incident.opened'; readonly limitBytes: number; readonly peakBytes: number })
  | (OfIncident & {
      readonly type: 'checkpoint.saved'
      readonly checkpointId: string
      readonly sealedBytes: number
      readonly elapsedMs: number
    })
  /** The incident goes on without a checkpoint. */
  | (OfIncident & { readonly type: 'checkpoint.failed'; readonly error: unknown })
  | (OfIncident & {
      readonly type: 'approval.requested'
      readonly approvalRequestId: string
      readonly requestedLimitBytes: number
    })
  | (OfIncident & { readonly type: 'limit.raised'; readonly limitBytes: number })
  | (OfIncident & { readonly type: 'limit.refused'; readonly refusal: Refusal })
  | (OfIncident & {
      readonly type: 'sandbox.resumed'
      readonly incarnation: number
      readonly memoryLimitBytes: number
      readonly evaluation: 'suspended' | 'lost'
    })
  /** An ownership could not be renewed; it is tried again until it runs out. */
  | (OfIncident & { readonly type: 'ownership.unrenewed'; readonly error: unknown })
  /** The sink did not take a run's usage. It is handed over here, so that nothing is lost: report it again. */
  | { readonly type: 'usage.unreported'; readonly usage: Usage; readonly error: unknown }

/** What an observer throws is dropped: a report must not stop the work. */
export function quietly(observe: ((event: RuntimeEvent) => void) | undefined): (event: RuntimeEvent) => void {
  return (event) => {
    try {
      observe?.(event)
    } catch {
      // See above.
    }
  }
}
