import { canonicalJson, type JsonObject, type JsonValue } from '@enablement/core'

/** What an action's target is asked about an execution in doubt. */
export interface ReconcileCall<Detail = JsonObject> {
  readonly requestId: string
  readonly detail: Detail
  /** The one that the effect was given. */
  readonly idempotencyKey: string
  readonly fence: number
  /** Aborts when the time for the answer is up. */
  readonly signal: AbortSignal
}

/** What the target says. */
export type Reconciled =
  /** It happened; `result` is what later calls of `execute` are given. */
  | { readonly outcome: 'executed'; readonly result: JsonValue }
  /** It did not happen, and no longer will: the approval may be used again. */
  | { readonly outcome: 'not-executed' }
  /** The target cannot tell. It is asked again later. */
  | { readonly outcome: 'unknown' }

/** Characters of a result's JSON that are kept for replay. */
export const RESULT_LENGTH_MAX = 262_144

/** How long the target may take to answer. */
export const RECONCILE_MS = 30_000

/** The result's text, as it is kept for replay. Throws `NOT_JSON` (core). */
export const resultText = (result: JsonValue): string => canonicalJson(result ?? null, { lengthMax: RESULT_LENGTH_MAX })
