import { SuiteError } from '@enablement/core'

/** What goes wrong in runtime, by code. */
export type RuntimeErrorTable = {
  /** The QuickJS module was not found, or is not the build that this version was made for. */
  readonly ENGINE_UNAVAILABLE: { readonly reason: string }
  /** A sandbox could not be started. Nothing is left behind. */
  readonly SANDBOX_NOT_STARTED: { readonly sandboxId: string; readonly reason: string }
  /** An evaluation is under way; a sandbox runs one at a time. */
  readonly SANDBOX_BUSY: { readonly sandboxId: string }
  /** The sandbox was closed, ran out of memory, was terminated, or is owned by another process now. */
  readonly SANDBOX_GONE: { readonly sandboxId: string; readonly reason: string }
  /** `continue` was called, and the sandbox holds no suspended evaluation. */
  readonly NOTHING_TO_CONTINUE: { readonly sandboxId: string }
  /** The code to evaluate is longer than the bound. */
  readonly CODE_TOO_LARGE: { readonly bytes: number; readonly limitBytes: number }
  /** The checkpoint's bytes are not what was sealed: flipped, cut short, or not a checkpoint at all. */
  readonly CHECKPOINT_CORRUPT: { readonly reason: string }
  /** The checkpoint is whole but belongs to another tenant, engine build, host or sealing key. */
  readonly CHECKPOINT_FOREIGN: { readonly claim: 'tenant' | 'engine' | 'key' | 'sandbox' }
  /** The checkpoint's time to live has passed. */
  readonly CHECKPOINT_EXPIRED: { readonly expiredAt: number }
  /** The image does not fit the bound or the memory limit that it would be restored under. */
  readonly CHECKPOINT_TOO_LARGE: { readonly bytes: number; readonly limitBytes: number }
  /** The store holds no checkpoint of that id. */
  readonly CHECKPOINT_MISSING: { readonly checkpointId: string }
  /** The sandbox cannot be checkpointed. */
  readonly CHECKPOINT_REFUSED: { readonly sandboxId: string; readonly reason: string }
  /** No incident of that id is on record. */
  readonly INCIDENT_UNKNOWN: { readonly incidentId: string }
  /**
   * The sandbox ran out of memory and was stopped, but a store or the approval gate failed before everything was on
   * record. `state` is how far it came; `recover(incidentId)` carries on, except from `unrecorded`.
   */
  readonly INCIDENT_STALLED: { readonly incidentId: string; readonly state: string }
  /** As many sandboxes are open as the host takes. */
  readonly OVERLOADED: { readonly what: string; readonly count: number; readonly limit: number }
  /** The runtime or the host was closed. */
  readonly CLOSED: { readonly what: string }
}

/** An error of `@enablement/runtime`. */
export class RuntimeError<Code extends keyof RuntimeErrorTable = keyof RuntimeErrorTable> extends SuiteError<
  RuntimeErrorTable,
  Code
> {
  override readonly name = 'RuntimeError'
}
