import type { JsonValue } from '@enablement/core'
import type { MemoryReading } from '../monitor/memory-monitor.ts'
import type { GuestError, GuestNotice } from './sandbox-host.ts'
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
  /** Interrupted after `cpuMs` of running. The sandbox can be used on; globals are as they were. */
  | { readonly outcome: 'cpu-exhausted'; readonly cpuMs: number }
  /** The sandbox is gone. */
  | { readonly outcome: 'terminated'; readonly record: TerminationRecord }

/** Bounds of one evaluation. */
export interface EvaluationOptions {
  /** Wall time that it may take, host calls included; 30,000 ms unless given, 1 ms to 24 h. */
  readonly timeoutMs?: number
  /** Time that it may run, waits for host calls not counted: 1 ms to 24 h; unbounded unless given. */
  readonly cpuMs?: number
  /** Interrupts it. The call then rejects with the signal's reason, and the sandbox can be used on. */
  readonly signal?: AbortSignal
}

/** How a sandbox is saved. */
export interface CheckpointOptions {
  /** How long the bytes can be restored: one day unless given, at most a year. */
  readonly ttlMs?: number
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
   * The whole state as sealed bytes for `runtime.restore`, valid for `ttlMs` (one day unless given). An evaluation under
   * way is part of it where the host saves memory: it is stopped at its next `await`, saved, and goes on. Throws
   * `SANDBOX_BUSY`, `SANDBOX_GONE`, `CHECKPOINT_REFUSED`; then it goes on as if nothing had been asked.
   */
  checkpoint(options?: CheckpointOptions): Promise<Uint8Array<ArrayBuffer>>
  /**
   * Saves it as `checkpoint` does and ends it, for its place is needed. An evaluation under way comes back as `terminated`
   * (`preempted`), and `continue` carries it on in a sandbox restored from the bytes. Throws as `checkpoint`.
   */
  preempt(options?: CheckpointOptions): Promise<Uint8Array<ArrayBuffer>>
  /** Tells the guest about its surroundings: `onNotice((notice) => …)` inside. Throws `SANDBOX_GONE`. */
  tell(notice: GuestNotice): void
  /**
   * Makes its files read-only, or writable again. Gives how: `remount` refuses every write, `quota-freeze` those that need
   * more room. Throws `NOT_SUPPORTED`, `SANDBOX_GONE`.
   */
  setReadOnly(readOnly: boolean): Promise<'remount' | 'quota-freeze'>
  /** Ids of its processes on this machine, for attributing GPU memory; none where it has no processes of its own. */
  processes(): readonly number[]
  /** The folder on this machine that is its writable root, where it has files. */
  readonly workspace?: string
  /** Ends it and its thread; an evaluation under way is interrupted and comes back as `terminated`. */
  close(): Promise<void>
}
