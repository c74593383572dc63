import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { identitySchema, keySchema, proseSchema } from '../directory/identity.ts'
import { RISKS, type Risk } from '../policy/risk.ts'
import { actionPatternSchema } from './action-pattern.ts'
import { type DetailRule, detailRulesSchema } from './detail-rule.ts'
import type { GrantFact } from './grant-fact.ts'
import { isOneOf } from './grant-obstacle.ts'
import type { GrantRecord } from './grant-record.ts'

/** What somebody grants. See `GrantRecord` for what each of these means. */
export interface GrantTerms {
  readonly tenant: string
  readonly action: string
  readonly agent?: string
  readonly task?: string
  /** Only with the name of one action: versions of several have nothing in common. */
  readonly policyVersion?: string
  /** None unless given; at most 16. */
  readonly detail?: readonly DetailRule[]
  readonly riskMax: Risk
  readonly issuedBy: string
  /** The same as `issuedBy` unless given. */
  readonly issuerPrincipal?: string
  readonly reason: string
  /** How long it holds. */
  readonly ttlMs: number
  /** How often it may be used: 1 to 10,000. */
  readonly usesMax: number
}

/** What the issuing itself needs. */
export interface GrantIssue {
  readonly id: string
  readonly now: number
  /** Everybody known to stand behind the agent: the human, the principals of both. None of them may issue it. */
  readonly requesters?: readonly string[]
  /** 30 days unless given, 366 at most. */
  readonly ttlMaxMs?: number
}

/** What came of it. */
export type GrantIssued =
  | { readonly outcome: 'issued'; readonly grant: GrantRecord; readonly fact: GrantFact }
  | { readonly outcome: 'not-authorized'; readonly because: 'separation-of-duties'; readonly fact: GrantFact }

const DAY_MS = 86_400_000

/** A permission that nobody renews for longer than this is a change of policy, and belongs there. */
const TTL_MS_MAX = 30 * DAY_MS

/** An agent that does something more often than this needs no approval, but a policy. */
const USES_MAX = 10_000

const REASON_LENGTH_MAX = 2_000

const termsSchema = (ttlMaxMs: number): z.ZodType<GrantTerms> =>
  z
    .strictObject({
      tenant: identitySchema,
      action: actionPatternSchema,
      agent: identitySchema.exactOptional(),
      task: keySchema.exactOptional(),
      policyVersion: keySchema.exactOptional(),
      detail: detailRulesSchema.exactOptional(),
      riskMax: z.enum(RISKS),
      issuedBy: identitySchema,
      issuerPrincipal: identitySchema.exactOptional(),
      reason: proseSchema(REASON_LENGTH_MAX),
      ttlMs: z.int().min(1).max(ttlMaxMs),
      usesMax: z.int().min(1).max(USES_MAX)
    })
    .refine(({ action, policyVersion }) => policyVersion === undefined || !action.endsWith('.*'), {
      path: ['policyVersion'],
      message: 'is of one action, and this grant is for several'
    })

const usualTermsSchema = termsSchema(TTL_MS_MAX)

const issueSchema: z.ZodType<GrantIssue> = z.strictObject({
  id: keySchema,
  now: z.int().min(0),
  requesters: z.array(identitySchema).max(16).exactOptional(),
  ttlMaxMs: z
    .int()
    .min(1)
    .max(366 * DAY_MS)
    .exactOptional()
})

/**
 * Makes a grant of its terms. Nothing is stored: that is the caller's line, together with the fact, in one unit. Whether
 * the issuer may decide about these actions at all is the caller's question as well; that they do not grant something to
 * themselves is held to here, and again at each use, when the human behind the agent is known for certain.
 *
 * Throws `INVALID_OPTIONS` (core) with the path of every issue.
 */
export function issueGrant(terms: GrantTerms, issue: GrantIssue): GrantIssued {
  const { id, now, requesters = [], ttlMaxMs } = parseOptions(issueSchema, 'issueGrant', issue)
  const schema = ttlMaxMs === undefined ? usualTermsSchema : termsSchema(ttlMaxMs)
  const parsed = parseOptions(schema, 'issueGrant', terms)
  const { tenant, action, agent, task, policyVersion, riskMax, issuedBy: by, reason, usesMax } = parsed
  const { detail = [], issuerPrincipal = by, ttlMs } = parsed
  if (isOneOf([by, issuerPrincipal], [...requesters, ...(agent === undefined ? [] : [agent])])) {
    const because = 'separation-of-duties'
    return { outcome: 'not-authorized', because, fact: { type: 'grant.refused', grantId: id, by, action, because } }
  }
  const expiresAt = now + ttlMs
  const scope = { tenant, action, agent, task, policyVersion, detail, riskMax }
  const grant = { id, ...scope, issuedBy: by, issuerPrincipal, reason, issuedAt: now, expiresAt, usesMax }
  const fact: GrantFact = {
    type: 'grant.issued',
    grantId: id,
    by,
    action,
    ...(agent === undefined ? {} : { agent }),
    ...(task === undefined ? {} : { task }),
    ...(policyVersion === undefined ? {} : { policyVersion }),
    detail,
    riskMax,
    expiresAt,
    usesMax,
    reason
  }
  return { outcome: 'issued', grant: { ...grant, used: 0, revokedAt: undefined }, fact }
}
