import { type Issue, SuiteError } from '@enablement/core'

/** What goes wrong in oversight, by code. */
export type OversightErrorTable = {
  /** No action of this name was given to `createOversight`, or another definition of it was. Nothing was opened. */
  readonly UNKNOWN_ACTION: { readonly action: string }
  /** The action's schema refused the detail, or it has no canonical JSON, or it is too long. Nothing was opened. */
  readonly INVALID_DETAIL: { readonly action: string; readonly issues: readonly Issue[] }
  /** The key opened a request before, for another action or with another detail. That request is unchanged. */
  readonly IDEMPOTENCY_KEY_REUSED: {
    readonly tenant: string
    readonly idempotencyKey: string
    readonly requestId: string
  }
  /** The store holds no request of this id. */
  readonly UNKNOWN_REQUEST: { readonly requestId: string }
  /** The request was opened for another action than the one it was looked up with. */
  readonly WRONG_ACTION: { readonly requestId: string; readonly expected: string; readonly found: string }
  /** The stored detail is not what was hashed when the request was opened or approved. Nothing is executed. */
  readonly ARGUMENTS_ALTERED: { readonly requestId: string }
  /**
   * Thrown by an effect (see `noEffect`): it failed before anything took effect, so that the approval may be used
   * again. `execute` throws it on with the request's id, and the effect's own error as its cause.
   */
  readonly NO_EFFECT: { readonly reason: string; readonly requestId?: string }
  /**
   * The directory threw, did not answer in time, or answered what no directory may. This is no "nobody": who would have
   * to be asked is not known, so ask again. The directory's own error is the cause.
   */
  readonly DIRECTORY_UNAVAILABLE: {
    readonly tenant: string
    /** Who or what was asked for: the name of an approver, a group or a schedule. */
    readonly asked: { readonly kind: 'approver' | 'group' | 'on-call'; readonly name: string }
    readonly because: 'failed' | 'unanswered' | 'malformed'
  }
  /**
   * What a channel throws when its provider fails, gives no answer, or would not take a verdict for now: it is told again,
   * and not before `retryAfterMs`. `reason` is a code such as `HTTP_503`.
   */
  readonly CHANNEL_FAILED: { readonly reason: string; readonly retryAfterMs?: number }
  /**
   * A channel's provider refuses the credentials that it was given, or a permission is lacking: it reaches nobody until
   * somebody sees to that. `reason` is the provider's own word, such as `invalid_auth`.
   */
  readonly CHANNEL_UNAUTHORIZED: { readonly reason: string }
  /** The reason with which a running effect's signal aborts: its lease ran out, and it may be declared in doubt. */
  readonly LEASE_LOST: { readonly requestId: string; readonly fence: number }
  /**
   * A model's call of a gated tool was not carried out by this attempt, where the framework wants that thrown. The message
   * is for the model; `because` is an outcome of `ToolCallRefusal`.
   */
  readonly TOOL_CALL_REFUSED: {
    readonly because: string
    readonly requestId: string | undefined
    readonly toolCallId: string
  }
}

/** An error of `@enablement/oversight`. */
export class OversightError<Code extends keyof OversightErrorTable = keyof OversightErrorTable> extends SuiteError<
  OversightErrorTable,
  Code
> {
  override readonly name = 'OversightError'
}

/** Characters of an effect's reason that are kept: a sentence or two for whoever reads the record. */
const REASON_LENGTH_MAX = 1_000

/**
 * What an effect throws when it knows that nothing took effect: the card was declined, the connection was refused. The
 * approval stays good and `execute` may be called again. Any other error leaves the execution in doubt, because an
 * effect that threw half-way may well have happened. `reason` goes on record, so it must hold no secret.
 */
export function noEffect(reason: string, options?: { readonly cause?: unknown }): OversightError<'NO_EFFECT'> {
  const kept = keptReason(reason)
  return new OversightError('NO_EFFECT', `the effect did not happen: ${kept}`, { reason: kept }, options)
}

/** As much of an effect's reason as goes on record. */
export function keptReason(reason: string): string {
  return reason.slice(0, REASON_LENGTH_MAX).toWellFormed()
}
