import type { JsonObject, JsonValue, Requester } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import type { Risk } from '../policy/risk.ts'
import type { DetailRule } from './detail-rule.ts'

/** Something that happened to a grant, to be committed to the audit log in the unit that made it true. */
export type GrantFact =
  | {
      readonly type: 'grant.issued'
      readonly grantId: string
      readonly by: string
      readonly action: string
      readonly agent?: string
      readonly task?: string
      readonly policyVersion?: string
      readonly detail: readonly DetailRule[]
      readonly riskMax: Risk
      readonly expiresAt: number
      readonly usesMax: number
      readonly reason: string
    }
  /** Somebody tried to grant something to themselves. */
  | {
      readonly type: 'grant.refused'
      readonly grantId: string
      readonly by: string
      readonly action: string
      readonly because: 'separation-of-duties'
    }
  | {
      readonly type: 'grant.used'
      readonly grantId: string
      /** Which use of `usesMax` this is, from 1. */
      readonly use: number
      readonly usesMax: number
      readonly requestId: string
      readonly action: string
      readonly requestedBy: Requester
    }
  | {
      readonly type: 'grant.revoked'
      readonly grantId: string
      readonly by: string
      readonly reason: string
      /** How often it had been used. */
      readonly used: number
    }

/** The fact as a draft for the audit log. */
export function grantEvidence(tenant: string, fact: GrantFact): AuditDraft {
  const { type, grantId, ...detail } = fact
  const actor = fact.type === 'grant.used' ? `agent:${fact.requestedBy.agent}` : `approver:${fact.by}`
  return { tenant, actor, action: type, subject: `grant:${grantId}`, detail: asJson(detail) }
}

/** The rest of a fact holds nothing but JSON; an interface merely lacks the index type. */
const asJson = (detail: { readonly [key: string]: unknown }): JsonObject => detail as { [key: string]: JsonValue }
