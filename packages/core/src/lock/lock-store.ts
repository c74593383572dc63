import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { plainText } from '../failure/plain-text.ts'

/** What names a lease: the lock, who wants it, and for how long. */
export interface LeaseClaim {
  /** The lock: 1 to 256 characters, well-formed and without NUL. */
  readonly name: string
  /** One per acquisition, never used again: it is what extending and releasing compare, and the idempotency key of all three. */
  readonly owner: string
  /** How long the lease lasts unless it is extended: an integer from 50 ms to a day. */
  readonly ttlMs: number
}

/** The answer to a claim. */
export type LeaseGrant =
  | { readonly outcome: 'granted'; readonly fence: number }
  /** Another owner's lease lasts until `until`, epoch milliseconds by the store's clock, unless extended or released. */
  | { readonly outcome: 'busy'; readonly until: number; readonly remainingMs: number }

/** What a lock store can promise. */
export interface LockStoreSupports {
  /** What a granted lease and its fence survive. */
  readonly durable: 'power-loss' | 'process' | 'none'
  /** Whether several processes may use the same locks. */
  readonly shared: boolean
}

/**
 * Leases by name. Each call is one atomic step; where owners race, the store's own clock decides, never the caller's. A
 * call that throws `STORE_UNAVAILABLE` had no effect; after `COMMIT_UNKNOWN` it may be repeated as it was.
 *
 * Fences grow for ever per name, across releases and expiries. They are not consecutive: a fence is the previous one
 * plus one, or the store's clock in microseconds where that is more. So they go on growing when the store has lost its
 * record of the name (a failover, a restored backup, a sweep), as long as its clock is not behind the loss as well.
 */
export interface LockStore {
  readonly supports: LockStoreSupports
  /**
   * Leases `name` to `owner` when no lease of another owner lasts. Repeated by the owner of the lease it gives the same
   * fence and renews the lease, so that time may be counted from either call. Throws the signal's reason when it aborts
   * before the store was asked.
   */
  acquire(claim: LeaseClaim, options?: { readonly signal?: AbortSignal | undefined }): Promise<LeaseGrant>
  /**
   * Lets the lease end `ttlMs` from now, if it is `owner`'s and has not expired; it is never shortened, or a call that
   * arrives late would take back what a later one gave. An expired lease is `lost` even when nobody has taken it since.
   */
  extend(claim: LeaseClaim): Promise<'extended' | 'lost'>
  /**
   * Ends the lease if `name` was last leased to `owner`, expired or not: `released` says that nobody else has had it
   * since. Repeated it answers the same until another owner comes. Of a lease that is another's it changes nothing.
   */
  release(claim: Pick<LeaseClaim, 'name' | 'owner'>): Promise<'released' | 'lost'>
}

/** Shorter than this a lease is gone before a busy server has answered twice. */
const LEASE_MIN_MS = 50
/** One day. Who holds longer extends, so that the lock of a dead holder is free within a day. */
const LEASE_MAX_MS = 86_400_000

/** Names become Redis keys and primary keys; honest ones are a kind and an id. In UTF-16 code units. */
const NAME_MAX = 256
const OWNER_MAX = 128

/**
 * How long a store remembers a name that nobody uses, 30 days: while it does, fences grow whatever its clock does, and
 * afterwards because 30 days have passed. So names that are made up by the million do not stay for ever.
 */
export const NAME_KEPT_MS = 2_592_000_000

export const nameSchema: z.ZodType<string> = plainText(NAME_MAX)
export const leaseMsSchema: z.ZodType<number> = z.int().min(LEASE_MIN_MS).max(LEASE_MAX_MS)

const ownedSchema = z.strictObject({ name: nameSchema, owner: plainText(OWNER_MAX) })
const claimSchema: z.ZodType<LeaseClaim> = ownedSchema.extend({ ttlMs: leaseMsSchema })

/** Every store refuses the same claims, before it asks anybody. Throws `INVALID_OPTIONS`. */
export function checkClaim(subject: string, claim: LeaseClaim): LeaseClaim {
  return parseOptions(claimSchema, subject, claim)
}

/** As `checkClaim`, for a claim without a duration. Throws `INVALID_OPTIONS`. */
export function checkOwned(
  subject: string,
  owned: Pick<LeaseClaim, 'name' | 'owner'>
): Pick<LeaseClaim, 'name' | 'owner'> {
  // A whole claim may be passed on, as the type allows; its duration is of no interest here.
  const { name, owner } = owned
  return parseOptions(ownedSchema, subject, { name, owner })
}

/** The fence after `previous`, which is 0 where none is known, at `now` of the store's clock (epoch milliseconds). */
export function fenceAfter(previous: number, now: number): number {
  return Math.max(previous + 1, now * 1_000)
}
