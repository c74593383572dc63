import { CoreError } from '@enablement/core'
import { IdentifierField, isIdentifier } from '../event/identifier.ts'
import { USED_AT_LIMIT } from '../event/usage-event.ts'

/** An event's identity, claimed before the event is counted. */
export interface DedupClaim {
  readonly tenant: string
  readonly subscription: string
  readonly transactionId: string
  /** SHA-256 in lower case hex. */
  readonly payloadHash: string
  /** When it was received first, as far as the caller knows: epoch milliseconds. */
  readonly receivedAt: number
}

/** What a claim found. */
export type DedupAnswer =
  /** Nobody had claimed it: it is the caller's. */
  | { readonly outcome: 'new' }
  /**
   * Somebody claimed it, with this payload, and has not said that it is counted: perhaps they died. Go on to the ledger,
   * which decides.
   */
  | { readonly outcome: 'pending'; readonly firstReceivedAt: number }
  /** It is counted, with this payload. */
  | { readonly outcome: 'duplicate'; readonly firstReceivedAt: number }
  /** It is claimed or counted with another payload. Only `settled` is the last word; otherwise the ledger decides. */
  | { readonly outcome: 'conflict'; readonly firstReceivedAt: number; readonly settled: boolean }

/**
 * Identities seen of late, shared by all processes: an answer without asking the ledger. Never the last word on what is
 * new: the ledger's unique index is. Each method takes up to `CLAIMS_MAX` claims, does what it does for a tenant in one
 * atomic step, in the order given, and throws an error of the suite when it cannot tell that it did: `INVALID_OPTIONS`
 * for claims that are none, of which nothing is kept, and the store's own.
 */
export interface DedupStore {
  /** How long an identity is remembered at least after it was claimed, in milliseconds. */
  readonly ttlMs: number
  /** Set-if-absent for each; answers in order. One that comes twice in a call is `pending` the second time. */
  claim(claims: readonly DedupClaim[], options?: { readonly signal?: AbortSignal }): Promise<readonly DedupAnswer[]>
  /**
   * These are counted now, with this payload and first receipt, whoever claimed them, or nobody. What was settled before
   * stays as it was.
   */
  settle(claims: readonly DedupClaim[], options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * These were claimed and will not be counted: they are free again, so that a retry is not told that it is a duplicate.
   * Only what was claimed with this payload and receipt is, and only until somebody settles it.
   */
  release(claims: readonly DedupClaim[], options?: { readonly signal?: AbortSignal }): Promise<void>
}

/** Claims of one call: a store's step for as many takes it a millisecond or two. */
const CLAIMS_MAX = 1_000

/**
 * How long stores remember an identity unless told otherwise: 45 days. A month and the 7 days in which usage may still
 * come take 39 at most, with the five minutes that clocks may be ahead.
 */
export const DEDUP_TTL_MS: number = 45 * 86_400_000

const PAYLOAD_HASH_LENGTH = 64
const NO_HEX = /[^0-9a-f]/

const tenants = new IdentifierField()
const subscriptions = new IdentifierField()

/** Every store refuses the same claims, before it asks anybody. Throws `INVALID_OPTIONS`. */
export function checkClaims(subject: string, claims: readonly DedupClaim[]): void {
  if (claims.length > CLAIMS_MAX) throw refused(subject, '', `more than ${CLAIMS_MAX} claims`)
  let at = 0
  for (const { tenant, subscription, transactionId, payloadHash, receivedAt } of claims) {
    if (!tenants.accepts(tenant)) throw refused(subject, `${at}.tenant`, 'is no identifier')
    if (!subscriptions.accepts(subscription)) throw refused(subject, `${at}.subscription`, 'is no identifier')
    if (!isIdentifier(transactionId)) throw refused(subject, `${at}.transactionId`, 'is no identifier')
    if (!isPayloadHash(payloadHash)) throw refused(subject, `${at}.payloadHash`, 'is no SHA-256 in hex')
    if (!(Number.isInteger(receivedAt) && receivedAt >= 0 && receivedAt < USED_AT_LIMIT)) {
      throw refused(subject, `${at}.receivedAt`, 'is not epoch milliseconds')
    }
    at += 1
  }
}

function isPayloadHash(value: unknown): boolean {
  return typeof value === 'string' && value.length === PAYLOAD_HASH_LENGTH && !NO_HEX.test(value)
}

function refused(subject: string, path: string, message: string): CoreError<'INVALID_OPTIONS'> {
  return new CoreError('INVALID_OPTIONS', `${subject} refused its claims: ${path} ${message}`, {
    subject,
    issues: [{ path, message }]
  })
}
