import { SuiteError } from '@enablement/core'

/** What goes wrong in runtime, by code. */
export type RuntimeErrorTable = {
  /** The QuickJS module was not found, or is not the build that this version was made for. */
  readonly ENGINE_UNAVAILABLE: { readonly reason: string }
  /** The isolation that was asked for cannot be had on this machine. The message says what to do about it. */
  readonly ISOLATION_UNAVAILABLE: { readonly isolation: string; readonly reason: string }
  /** A sandbox could not be started. Nothing is left behind. */
  readonly SANDBOX_NOT_STARTED: { readonly sandboxId: string; readonly reason: string }
  /** The code that prepares an image did not complete. */
  readonly SETUP_FAILED: { readonly outcome: string; readonly reason: string }
  /** The host cannot do it, on this machine or at all: see `SandboxHost.capabilities`. */
  readonly NOT_SUPPORTED: { readonly host: string; readonly capability: string }
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
  /** The network is away, and the request cannot wait for it; `sent` says whether it may have taken effect before. */
  readonly REQUEST_REFUSED: {
    readonly reason: 'not-repeatable' | 'entries' | 'body' | 'bytes' | 'closed'
    readonly sent: boolean
  }
  /** The request waited for the network for as long as it may; `sent` says whether it may have taken effect before. */
  readonly REQUEST_EXPIRED: { readonly limit: 'age' | 'deadline'; readonly waitedMs: number; readonly sent: boolean }
  /** The request was sent, its reply was lost, and it must not be sent again. Whether it took effect is unknown. */
  readonly REPLY_LOST: { readonly origin: string }
  /** As many sandboxes are open as the host takes. */
  readonly OVERLOADED: { readonly what: string; readonly count: number; readonly limit: number }
  /** The kernel, or the machine, did not give or do what was asked of a control group. `errno` is its answer, such as `EBUSY`. */
  readonly CGROUP_REFUSED: { readonly path: string; readonly errno: string }
  /** Not the name of a host: too long, empty labels, or characters that no host name has. The name itself may be anything. */
  readonly NAME_INVALID: { readonly reason: string }
  /** The name has no addresses: that is what the name servers answered. Its cause has the code `ENOTFOUND`. */
  readonly NAME_NOT_FOUND: { readonly name: string }
  /** No name server gave an answer, and nothing was remembered or pinned. Its cause has the code `EAI_AGAIN`. */
  readonly NAME_UNRESOLVED: {
    readonly name: string
    readonly failures: readonly { readonly server: string; readonly reason: string }[]
  }
  /** The server's certificate was judged and refused; nothing was sent. `reason` is the verdict's. */
  readonly CERTIFICATE_REJECTED: { readonly host: string; readonly reason: string }
  /** A connection whose certificate was to be judged did not come about. Nothing was sent. */
  readonly CONNECTION_FAILED: { readonly host: string; readonly port: number; readonly reason: string }
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
