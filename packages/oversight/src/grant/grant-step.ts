import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { identitySchema, proseSchema } from '../directory/identity.ts'
import type { GrantFact } from './grant-fact.ts'
import { brokenRules, type GrantObstacle, obstaclesTo } from './grant-obstacle.ts'
import type { GrantAsk, GrantRecord } from './grant-record.ts'

/** What came of using a grant. Where it does not hold nothing changes. */
export type GrantUsed =
  | { readonly outcome: 'used'; readonly grant: GrantRecord; readonly fact: GrantFact }
  | {
      readonly outcome: 'not-usable'
      readonly because: readonly GrantObstacle[]
      /** Of the rules about the detail that are not met. */
      readonly paths: readonly string[]
    }

/**
 * Uses a grant once. Everything is looked at again: call it on the record as it is in the unit that opens the request,
 * with the row locked, so that two requests cannot share the last use. A request uses a grant when it is opened and
 * never again, however often its opening is repeated.
 */
export function useGrant(
  grant: GrantRecord,
  ask: GrantAsk,
  { now, requestId }: { readonly now: number; readonly requestId: string }
): GrantUsed {
  const because = obstaclesTo(grant, ask, now)
  if (because.length > 0) return { outcome: 'not-usable', because, paths: brokenRules(grant, ask) }
  const { id: grantId, usesMax } = grant
  const { action, requestedBy } = ask
  const use = grant.used + 1
  const fact: GrantFact = { type: 'grant.used', grantId, use, usesMax, requestId, action, requestedBy }
  return { outcome: 'used', grant: { ...grant, used: use }, fact }
}

/** What came of revoking a grant. */
export type GrantRevoked =
  | { readonly outcome: 'revoked'; readonly grant: GrantRecord; readonly fact: GrantFact }
  /** Since `revokedAt`; nothing changes. */
  | { readonly outcome: 'already-revoked'; readonly revokedAt: number }

const revocationSchema = z.strictObject({ by: identitySchema, reason: proseSchema(2_000) })

/**
 * Ends a grant. What it was used for stands: it is for the caller to revoke the requests too. Throws `INVALID_OPTIONS`
 * (core).
 */
export function revokeGrant(
  grant: GrantRecord,
  revocation: { readonly by: string; readonly reason: string },
  now: number
): GrantRevoked {
  const { by, reason } = parseOptions(revocationSchema, 'revokeGrant', revocation)
  const { id: grantId, used, revokedAt } = grant
  if (revokedAt !== undefined) return { outcome: 'already-revoked', revokedAt }
  const fact: GrantFact = { type: 'grant.revoked', grantId, by, reason, used }
  return { outcome: 'revoked', grant: { ...grant, revokedAt: now }, fact }
}
