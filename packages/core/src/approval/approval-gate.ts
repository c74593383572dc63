import type { JsonObject, JsonValue } from '../json/json.ts'

/** What a human is asked to allow. */
export interface ApprovalAsk {
  readonly tenant: string
  /** The same key opens the same request, however often it is asked. */
  readonly idempotencyKey: string
  /** Dotted name of the action, such as `runtime.raise-memory-limit`. */
  readonly action: string
  readonly requestedBy: Requester
  /** One line that an approver can decide on. */
  readonly summary: string
  /** What would be done, bound by hash to every decision. No secrets: approvers read it. */
  readonly detail: JsonObject
}

/** Who asks: the agent, and the human or service in whose name it acts. */
export interface Requester {
  readonly agent: string
  readonly onBehalfOf?: string
}

/** How a request ended. `timed-out` is never reported as a person's denial. */
export type Verdict =
  | { readonly outcome: 'approved'; readonly requestId: string; readonly by: string; readonly decidedAt: number }
  | {
      readonly outcome: 'denied'
      readonly requestId: string
      readonly by: string
      readonly decidedAt: number
      readonly reason: string
    }
  /** It had been approved, and the approval was taken back before it was used. */
  | {
      readonly outcome: 'revoked'
      readonly requestId: string
      readonly by: string
      readonly decidedAt: number
      readonly reason: string
    }
  | { readonly outcome: 'timed-out'; readonly requestId: string; readonly decidedAt: number }
  | { readonly outcome: 'cancelled'; readonly requestId: string; readonly decidedAt: number }

/** What an approved effect is run with. */
export interface ExecutionGrant {
  readonly requestId: string
  readonly detail: JsonObject
  /** Hand it to whatever the effect calls, so that a repetition there is recognised. */
  readonly idempotencyKey: string
  /** Grows with every claim; a store that keeps the highest one refuses an executor that was overtaken. */
  readonly fence: number
}

/** What became of the effect of an approved request. */
export type Execution<Result extends JsonValue> =
  /** It ran now. */
  | { readonly outcome: 'executed'; readonly result: Result }
  /** It had run before; this is the result it had. */
  | { readonly outcome: 'replayed'; readonly result: Result }
  /** An executor was lost while it ran: whether it took effect is not known, and it is not run again blindly. */
  | { readonly outcome: 'in-doubt'; readonly since: number }
  /** Another executor holds the claim until `until`. */
  | { readonly outcome: 'busy'; readonly until: number }
  /** `expired`: it was approved, and the time within which that may be used is over. */
  | {
      readonly outcome: 'not-approved'
      readonly status: 'pending' | 'denied' | 'timed-out' | 'cancelled' | 'revoked' | 'expired'
    }

/**
 * The seam through which runtime and metering ask humans. Oversight answers it; it is durable and idempotent, so a
 * caller that was restarted asks again with the same key and gets the same request.
 */
export interface ApprovalGate {
  /** Opens the request, or finds the one that the idempotency key opened before. Resolved means durable. */
  request(ask: ApprovalAsk): Promise<{ readonly id: string }>
  /** Waits for the verdict. Rejects with the signal's reason when it aborts; the request stays open. */
  settled(id: string, options?: { readonly signal?: AbortSignal }): Promise<Verdict>
  /** Runs `effect` at most once for an approved request, whoever calls and however often. */
  execute<Result extends JsonValue>(
    id: string,
    effect: (grant: ExecutionGrant) => Promise<Result>
  ): Promise<Execution<Result>>
}
