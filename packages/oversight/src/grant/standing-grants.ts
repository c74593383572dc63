import { parseOptions } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import { z } from 'zod'
import { identitySchema, keySchema } from '../directory/identity.ts'
import type { OversightEvent } from '../oversight-event.ts'
import type { OversightStore } from '../oversight-store.ts'
import { grantEvidence } from './grant-fact.ts'
import type { GrantRecord } from './grant-record.ts'
import { type GrantRevoked, revokeGrant } from './grant-step.ts'
import { type GrantIssued, type GrantTerms, issueGrant } from './issue-grant.ts'

/** What came of issuing a grant. */
export type GrantIssuing =
  | { readonly outcome: 'issued'; readonly grant: GrantRecord }
  /** It would have been for whoever issues it. The attempt is on record. */
  | { readonly outcome: 'not-authorized'; readonly because: 'separation-of-duties' }

/** What came of revoking one. */
export type GrantRevoking =
  | { readonly outcome: 'revoked' }
  | { readonly outcome: 'already-revoked'; readonly revokedAt: number }
  | { readonly outcome: 'unknown' }

/** Approvals that people give in advance, for actions whose policy accepts them. */
export interface StandingGrants {
  /**
   * Issues a grant; the caller has authenticated the issuer, and seen that they may decide about such actions. Throws
   * `INVALID_OPTIONS` (core) and what the store throws.
   */
  issue(terms: GrantTerms): Promise<GrantIssuing>
  /** Ends a grant. What it was used for stands. Throws `INVALID_OPTIONS` (core) and what the store throws. */
  revoke(grantId: string, call: { readonly by: string; readonly reason: string }): Promise<GrantRevoking>
  /** A tenant's grants, the newest first; 50 to a page unless given, at most 200. `next` is given back as `after`. */
  list(query: {
    readonly tenant: string
    readonly after?: string
    readonly limit?: number
  }): Promise<{ readonly grants: readonly GrantRecord[]; readonly next: string | undefined }>
}

const LIST_DEFAULT = 50
const LIST_MAX = 200

const listSchema = z.strictObject({
  tenant: identitySchema,
  after: keySchema.exactOptional(),
  limit: z.int().min(1).max(LIST_MAX).exactOptional()
})

/** Whether a grant can never be used again, whatever is asked. */
export function isSpent({ used, usesMax, revokedAt }: GrantRecord): boolean {
  return used >= usesMax || revokedAt !== undefined
}

export function createStandingGrants(options: {
  readonly store: OversightStore
  readonly nextId: () => string
  readonly emit: (event: OversightEvent) => void
}): StandingGrants {
  const { store, nextId, emit } = options

  return {
    async issue(terms) {
      const id = nextId()
      const issued = await store.addGrant<GrantIssued>((now) => {
        const made = issueGrant(terms, { id, now })
        const evidence: readonly AuditDraft[] = [grantEvidence(terms.tenant, made.fact)]
        return made.outcome === 'issued' ? { answer: made, grant: made.grant, evidence } : { answer: made, evidence }
      })
      emit({ ...issued.fact, tenant: terms.tenant })
      if (issued.outcome === 'issued') return { outcome: 'issued', grant: issued.grant }
      return { outcome: 'not-authorized', because: issued.because }
    },
    async revoke(grantId, call) {
      const changed = await store.changeGrant<{ readonly made: GrantRevoked; readonly tenant: string }>(
        grantId,
        (grant, now) => {
          const made = revokeGrant(grant, call, now)
          if (made.outcome === 'already-revoked') return { answer: { made, tenant: grant.tenant }, evidence: [] }
          const evidence = [grantEvidence(grant.tenant, made.fact)]
          return { answer: { made, tenant: grant.tenant }, grant: made.grant, evidence }
        }
      )
      if (changed === undefined) return { outcome: 'unknown' }
      const { made, tenant } = changed
      if (made.outcome === 'already-revoked') return { outcome: 'already-revoked', revokedAt: made.revokedAt }
      emit({ ...made.fact, tenant })
      return { outcome: 'revoked' }
    },
    async list(query) {
      const { tenant, after, limit = LIST_DEFAULT } = parseOptions(listSchema, 'grants.list', query)
      const page = { tenant, limit: limit + 1, ...(after === undefined ? {} : { before: after }) }
      const found = await store.grants(page)
      const grants = found.slice(0, limit)
      return { grants, next: found.length > limit ? grants.at(-1)?.id : undefined }
    }
  }
}
