import { z } from 'zod'
import { RISKS, type Risk } from '../policy/risk.ts'

/** A request that has ended, as far as statistics are concerned. Instants are epoch milliseconds of the store's clock. */
export interface SettledRequest {
  readonly action: string
  readonly risk: Risk
  readonly status: SettledStatus
  /**
   * `system` when the chain's final action decided, `grant` when a standing grant did; `nobody` for what was timed out or
   * cancelled.
   */
  readonly decidedBy: 'person' | 'grant' | 'system' | 'nobody'
  readonly openedAt: number
  /** When the verdict fell; of a request that was revoked, the verdict that was revoked. */
  readonly settledAt: number
  /** Which tier was asked last, from 0; -1 when none was. */
  readonly tier: number
  /** When somebody was first shown the request in full. */
  readonly firstViewedAt?: number
  /** By how much its chain was behind its own waits, at most: 0 unless given. */
  readonly lateByMs?: number
  /** Whom it was put to, and when. */
  readonly asked: readonly { readonly approver: string; readonly askedAt: number }[]
  readonly votes: readonly {
    readonly approver: string
    readonly decision: 'approve' | 'deny'
    readonly votedAt: number
  }[]
}

/** The ways in which a request ends. */
export const SETTLED_STATUSES = [
  'approved',
  'denied',
  'timed-out',
  'cancelled',
  'revoked'
] as const satisfies readonly SettledStatus[]

export type SettledStatus = 'approved' | 'denied' | 'timed-out' | 'cancelled' | 'revoked'

/** More than any chain has tiers, or people in them. */
export const TIERS_MAX = 64
const PEOPLE_MAX = 10_000

const instantSchema = z.int().min(0)
const nameSchema = z.string().min(1).max(256)

/** What a row must be. A row that does not add up would make every figure that it goes into doubtful. */
export const settledRequestSchema: z.ZodType<SettledRequest> = z
  .strictObject({
    action: nameSchema,
    risk: z.enum(RISKS),
    status: z.enum(SETTLED_STATUSES),
    decidedBy: z.enum(['person', 'grant', 'system', 'nobody']),
    openedAt: instantSchema,
    settledAt: instantSchema,
    tier: z
      .int()
      .min(-1)
      .max(TIERS_MAX - 1),
    firstViewedAt: instantSchema.exactOptional(),
    lateByMs: instantSchema.exactOptional(),
    asked: z.array(z.strictObject({ approver: nameSchema, askedAt: instantSchema })).max(PEOPLE_MAX),
    votes: z
      .array(z.strictObject({ approver: nameSchema, decision: z.enum(['approve', 'deny']), votedAt: instantSchema }))
      .max(PEOPLE_MAX)
  })
  .refine(({ status, decidedBy }) => (decidedBy === 'nobody') === (status === 'timed-out' || status === 'cancelled'), {
    path: ['decidedBy'],
    message: 'must be nobody for what was timed out or cancelled, and for nothing else'
  })
