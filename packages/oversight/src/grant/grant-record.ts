import type { JsonObject, Requester } from '@enablement/core'
import type { Risk } from '../policy/risk.ts'
import type { DetailRule } from './detail-rule.ts'

/**
 * A standing approval: somebody who may decide has said in advance what an agent may do, within a scope, a time and a
 * number of uses. Instants are epoch milliseconds of the store's clock.
 */
export interface GrantRecord {
  readonly id: string
  readonly tenant: string
  /** The name of an action, or everything below one: `payments.*` covers `payments.refund` and not `payments`. */
  readonly action: string
  /** Whom it is for; every agent of the tenant when undefined. */
  readonly agent: string | undefined
  /** For what task; every task when undefined. */
  readonly task: string | undefined
  /** Of the action, when the grant was meant for it as it was then; every version when undefined. */
  readonly policyVersion: string | undefined
  /** All of them must be met. What no rule names may be anything that the action's schema lets pass. */
  readonly detail: readonly DetailRule[]
  readonly riskMax: Risk
  readonly issuedBy: string
  /** Who that really is, as the directory said then. */
  readonly issuerPrincipal: string
  readonly reason: string
  /** It holds from here, */
  readonly issuedAt: number
  /** to the millisecond before this. */
  readonly expiresAt: number
  readonly usesMax: number
  readonly used: number
  readonly revokedAt: number | undefined
}

/** What an agent is about to do, as far as grants are concerned. */
export interface GrantAsk {
  readonly tenant: string
  readonly action: string
  readonly requestedBy: Requester
  /** Who these really are: the principals of the agent and of the human behind, as far as the directory knows them. */
  readonly principals?: readonly string[]
  readonly task?: string
  readonly detail: JsonObject
  readonly risk: Risk
  readonly policyVersion: string
}
