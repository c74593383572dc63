import { parseOptions } from '@enablement/core'
import { z } from 'zod'

/** What the processes of a pool agree on. Each exchange brings them; processes of one pool give the same. */
export interface PoolRules {
  /** Sandboxes of the pool in all processes: starting, free, claimed and closing. */
  readonly capacity: number
  /** Claims beyond the capacity, in all processes. */
  readonly coldMax: number
  /** Claims that one tenant holds at once, and as many may wait, in all processes. */
  readonly tenantMax: number
  /** Claims that wait at once, in all processes, beyond those that there is a place for. */
  readonly queueMax: number
  /** Waiting this long is worth one step of priority. */
  readonly agingMs: number
  /** Claims that are preempted within a minute, tries that fail included. */
  readonly preemptionsPerMinute: number
  /** How long a claim that could not be saved is left alone. */
  readonly cooldownMs: number
}

/** A claim as its process tells of it. */
export interface ClaimDraft {
  /** One for ever. */
  readonly claim: string
  readonly tenant: string
  /** From 0, the lowest, to 9. */
  readonly priority: number
  /** Milliseconds that count as waited already. */
  readonly creditMs: number
  readonly preemptible: boolean
  /** For how long after its grant it is not preempted. */
  readonly shieldMs: number
}

/** What a process wants changed. */
export type PoolCommand =
  /** Queues a claim. Where the queue, or the tenant's share of it (`tenantMax`), is full the view does not show it. */
  | ({ readonly type: 'enter' } & ClaimDraft)
  /** Gives a claim that waits a sandbox beyond the capacity. Where `coldMax` or `tenantMax` is reached it waits on. */
  | { readonly type: 'go-cold'; readonly claim: string }
  /** Ends a claim, waiting or held. */
  | { readonly type: 'end'; readonly claim: string }
  /** The claim's sandbox could not be saved, so it goes on. */
  | { readonly type: 'keep'; readonly claim: string }
  /** The claim's sandbox is used now. */
  | { readonly type: 'use'; readonly claim: string }
  /** Takes up a claim that the process holds, after the store had given it up. Counts even beyond the capacity. */
  | ({ readonly type: 'adopt'; readonly fence: number; readonly cold: boolean } & ClaimDraft)

/** The sandboxes of a process that nobody holds. */
export interface PoolStock {
  /** To be handed out at once. */
  readonly ready: number
  /** Under way, or in the place of one under way: to be handed out soon. */
  readonly starting: number
  /** On their way out. */
  readonly closing: number
}

/** One step of a process: how it stands, and what it wants. */
export interface PoolExchange {
  /** The process's pool: unique for as long as it lives. */
  readonly member: string
  /** Grows by one with each exchange; the same exchange may be sent again, and is answered as it was. */
  readonly sequence: number
  /** Without an exchange for so long the member and all that it holds are given up. */
  readonly leaseMs: number
  /** `join` begins anew, and `leave` ends: both drop whatever the store has of this member first. */
  readonly kind: 'join' | 'stay' | 'leave'
  readonly rules: PoolRules
  readonly stock: PoolStock
  /** Sandboxes that it would like to start for stock. */
  readonly wanted: number
  /** In this order. */
  readonly commands: readonly PoolCommand[]
}

/** A claim that has a sandbox, or the right to one. */
export interface HeldClaim {
  readonly claim: string
  /** Grows over all claims of the pool. */
  readonly fence: number
  /** `wanted`: another claim needs its place; save it and end it, or keep it. `cold`: beyond the capacity. */
  readonly state: 'held' | 'wanted' | 'cold'
}

/** A claim of the member's that waits. */
export interface WaitingClaim {
  readonly claim: string
  /** Its place in the queue of all, from 1; those whose tenant is at its limit take none. */
  readonly position: number
  /** Its tenant holds as many claims as it may: others go first. */
  readonly isCapped: boolean
}

/** How the pool stands for a member after an exchange. */
export type PoolView =
  /** The store does not know the member, which left or was away for longer than its lease. Nothing was done. */
  | { readonly outcome: 'lapsed' }
  | {
      readonly outcome: 'exchanged'
      /** The member's stock as the store counts it now: less what was granted, more what it may start. */
      readonly ready: number
      readonly starting: number
      /** How much of its stock the member must give up, because claims elsewhere need the room. */
      readonly recalled: number
      readonly waiting: readonly WaitingClaim[]
      /** The member's claims that were granted. */
      readonly held: readonly HeldClaim[]
      readonly pool: PoolTotals
    }

/** The whole pool, in all processes. */
export interface PoolTotals {
  readonly members: number
  /** Free or soon to be. */
  readonly stock: number
  /** Claims held within the capacity. */
  readonly held: number
  /** Claims held beyond it. */
  readonly cold: number
  readonly queued: number
  /** How long the claim that waits longest has waited, credit included. */
  readonly oldestWaitMs: number
}

/**
 * Where processes that share a pool agree on its capacity, on the order of claims and on their fences. Sandboxes live in
 * the processes that made them; the store deals in places.
 *
 * An exchange is one atomic step, on the store's own clock. It gives up members whose lease has run out, takes what the
 * member says, and then grants, in the order of priority and waiting: a claim gets a free sandbox of its own process, or
 * one that is under way there, or room to start one; where there is no room, a free sandbox of another process is
 * recalled, and where none is free, the place of a claim of strictly lower priority. An exchange that is sent again is not
 * done again. Throws `STORE_UNAVAILABLE` or `COMMIT_UNKNOWN`: then it is sent again as it was.
 *
 * The order is `priority + waited / agingMs`, which grows equally for all that wait, so that it never changes between two
 * of them: a claim is overtaken only by claims that came less than `agingMs` after it for each step that they are above
 * it. Fences grow for ever: the one before plus one, or the store's clock in microseconds where that is more.
 */
export interface PoolStateStore {
  readonly supports: {
    /** What the state survives. */
    readonly durable: 'power-loss' | 'process' | 'none'
    /** Whether several processes may use the same pool. */
    readonly shared: boolean
  }
  exchange(pool: string, exchange: PoolExchange): Promise<PoolView>
  /**
   * Where the store can tell: calls `onChange` after an exchange of another member that concerns `member`. A hint, which
   * may be lost: members exchange regularly anyway. Gives what ends it.
   */
  watch?(pool: string, member: string, onChange: () => void): () => void
}

/** Places in a pool: beyond a thousand sandboxes a machine has other limits, and a step looks at all of them. */
export const CAPACITY_MAX = 1_000
/** Claims that wait: each step orders them. */
export const QUEUE_MAX = 1_000
/** Commands of one exchange: what a script takes in one call, with room. */
export const COMMANDS_MAX = 500
/** As many as there can be, within the capacity and beyond. */
export const TENANT_MAX = 2 * CAPACITY_MAX
const PRIORITY_MAX = 9
const DAY_MS = 86_400_000
/** What a claim may bring along as waited: the longest wait that there is. */
export const CREDIT_MAX_MS = DAY_MS

/** Tenants and ids stand in rows whose fields are divided by control characters. */
const textSchema = z
  .string()
  .min(1)
  .max(200)
  .regex(/^\P{Cc}+$/u, 'must not contain control characters')
  .refine((text) => text.isWellFormed(), 'must be well-formed')
const count = z.int().min(0).max(CAPACITY_MAX)

const rulesSchema: z.ZodType<PoolRules> = z.strictObject({
  capacity: z.int().min(1).max(CAPACITY_MAX),
  coldMax: count,
  tenantMax: z.int().min(1).max(TENANT_MAX),
  queueMax: z.int().min(0).max(QUEUE_MAX),
  agingMs: z.int().min(1).max(DAY_MS),
  preemptionsPerMinute: z.int().min(0).max(CAPACITY_MAX),
  cooldownMs: z.int().min(0).max(DAY_MS)
})

const draft = {
  claim: textSchema,
  tenant: textSchema,
  priority: z.int().min(0).max(PRIORITY_MAX),
  creditMs: z.int().min(0).max(CREDIT_MAX_MS),
  preemptible: z.boolean(),
  shieldMs: z.int().min(0).max(DAY_MS)
}

const exchangeSchema: z.ZodType<PoolExchange> = z.strictObject({
  member: textSchema,
  sequence: z.int().min(1),
  leaseMs: z.int().min(100).max(DAY_MS),
  kind: z.enum(['join', 'stay', 'leave']),
  rules: rulesSchema,
  stock: z.strictObject({ ready: count, starting: count, closing: count }),
  wanted: count,
  commands: z
    .array(
      z.discriminatedUnion('type', [
        z.strictObject({ type: z.literal('enter'), ...draft }),
        z.strictObject({ type: z.literal('adopt'), ...draft, fence: z.int().min(1).max(9e15), cold: z.boolean() }),
        z.strictObject({ type: z.enum(['go-cold', 'end', 'keep', 'use']), claim: textSchema })
      ])
    )
    .max(COMMANDS_MAX)
})

/** Every store refuses the same exchanges, before it asks anybody. Throws `INVALID_OPTIONS`. */
export function checkExchange(subject: string, pool: string, exchange: PoolExchange): PoolExchange {
  parseOptions(textSchema, `${subject}(pool)`, pool)
  return parseOptions(exchangeSchema, subject, exchange)
}
