import type { JsonValue } from '@enablement/core'
import type { MemoryReading } from '../monitor/memory-monitor.ts'
import type { GuestError } from './sandbox-host.ts'
import type { TerminationRecord } from './termination.ts'

/** What a host function is told besides its argument. */
export interface HostFunctionCall {
  /**
   * The same for the same call, also when it is issued again after a restore or by another process. Hand it to whatever
   * the function calls, so that a repetition there is recognised.
   */
  readonly idempotencyKey: string
  /** Aborts when the evaluation ends or is suspended: nobody waits for the answer any more. */
  readonly signal: AbortSignal
}

/**
 * Something the guest may do outside its sandbox: `await host.<name>(argument)`. The argument and the result are JSON.
 * When it throws, the guest's promise is rejected with an Error of the same message, so no secret belongs there.
 */
export type HostFunction = (
  argument: JsonValue | undefined,
  call: HostFunctionCall
) => Promise<JsonValue | undefined> | JsonValue | undefined

/** Host functions by the name under which the guest finds them. */
export type HostFunctions = Readonly<Record<string, HostFunction>>

/** How to carry on from an exhausted sandbox. */
export interface Recovery {
  readonly incidentId: string
  readonly sandboxId: string
  /** Absent when no checkpoint could be taken in time: a recovery then starts afresh under the larger limit. */
  readonly checkpointId?: string
  readonly approvalRequestId: string
}

/** How an evaluation ended. */
export type EvaluationOutcome =
  /** `value` is that of the last expression, awaited; undefined where JSON has no form for it. */
  | { readonly outcome: 'completed'; readonly value: JsonValue | undefined }
  /** The guest threw, or its result has no JSON form. The sandbox can be used on. */
  | { readonly outcome: 'failed'; readonly error: GuestError }
  /** The sandbox was checkpointed and ended, and a larger limit has been asked for. Never retry under the same limit. */
  | { readonly outcome: 'memory-exhausted'; readonly code: 'MEMORY_EXHAUSTED'; readonly recovery: Recovery }
  /** Interrupted after `timeoutMs`. The sandbox can be used on; globals are as they were. */
  | { readonly outcome: 'timed-out'; readonly timeoutMs: number }
  /** The sandbox is gone. */
  | { readonly outcome: 'terminated'; readonly record: TerminationRecord }

/** Bounds of one evaluation. */
export interface EvaluationOptions {
  /** Wall time that it may take, host calls included; 30,000 ms unless given, 1 ms to 24 h. */
  readonly timeoutMs?: number
  /** Interrupts it. The call then rejects with the signal's reason, and the sandbox can be used on. */
  readonly signal?: AbortSignal
}

/** A running sandbox. One evaluation at a time; a second one throws `SANDBOX_BUSY`. */
export interface Sandbox extends AsyncDisposable {
  readonly id: string
  readonly tenant: string
  readonly agent: string
  /** 1 when opened; higher after each recovery. Names this run of the sandbox wherever it is fenced. */
  readonly incarnation: number
  readonly memoryLimitBytes: number
  /**
   * Evaluates `code` as a script with top-level await: its `let`, `const`, `var` and functions are there for the next
   * evaluation. The result is the value of the last expression, awaited if it is a promise. Guests find `console`,
   * `host.<name>(argument)` and `safepoint()`; every `await`, and `await safepoint()` for those with nothing else to
   * await, is a place where a guest near its limit is stopped whole, to be continued exactly there.
   *
   * Throws `SANDBOX_BUSY`, `SANDBOX_GONE`, `CODE_TOO_LARGE`, `INCIDENT_STALLED`, and the signal's reason.
   */
  evaluate(code: string, options?: EvaluationOptions): Promise<EvaluationOutcome>
  /** Carries on the evaluation that was suspended when the sandbox ran out. As `evaluate`; and `NOTHING_TO_CONTINUE`. */
  continue(options?: EvaluationOptions): Promise<EvaluationOutcome>
  /** How memory stands now. */
  memory(): MemoryReading
  /**
   * The whole state as sealed bytes for `runtime.restore`, valid for `ttlMs` (one day unless given). Throws
   * `SANDBOX_BUSY`, `SANDBOX_GONE`, `CHECKPOINT_REFUSED`.
   */
  checkpoint(options?: { readonly ttlMs?: number }): Promise<Uint8Array<ArrayBuffer>>
  /** Ends it and its thread; an evaluation under way is interrupted and comes back as `terminated`. */
  close(): Promise<void>
}
