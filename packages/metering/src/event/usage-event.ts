import type { JsonObject, Usage } from '@enablement/core'

/**
 * The largest quantity, amount and limit: below 2^53 - 1, so that every step is exact in JavaScript, Lua and SQL, with
 * room for a sum to be compared before it is made.
 */
export const QUANTITY_MAX = 9_000_000_000_000_000

/** 2000-01-01T00:00:00Z. Any earlier instant is a time in seconds by mistake: as milliseconds those fall in 1970. */
export const USED_AT_MIN = 946_684_800_000

/** 10000-01-01T00:00:00Z, exclusive. Any later instant is a time in microseconds by mistake. */
export const USED_AT_LIMIT = 253_402_300_800_000

/** What an event is known by. Sent twice under one identity, it is counted once. */
export interface UsageIdentity {
  readonly tenant: string
  readonly subscription: string
  readonly transactionId: string
}

/**
 * Core's `Usage` within metering's bounds. Tenant, subscription and transaction id are its identity: sent twice, it is
 * counted once. They, the metric and the source are identifiers of 1 to 255 characters and at most 480 bytes of
 * UTF-8; `at` lies in the years 2000 to 9999.
 */
export interface UsageEvent extends Usage {
  /** Who reported it: a host, a gateway. The drift of clocks is watched for each. No part of the identity or the payload. */
  readonly source?: string
  /** Facts that go with it, at most 8,192 characters as JSON; none and an empty object are the same. */
  readonly properties?: JsonObject
}
