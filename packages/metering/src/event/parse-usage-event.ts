import type { Issue, JsonObject } from '@enablement/core'
import { IdentifierField, isIdentifier } from './identifier.ts'
import { copiedProperties } from './properties.ts'
import { QUANTITY_MAX, USED_AT_LIMIT, USED_AT_MIN, type UsageEvent } from './usage-event.ts'
import { usageEventIssues } from './usage-event-schema.ts'

/** A usage event that has been checked: a copy, which the caller's later changes do not reach. */
export interface CheckedUsage extends Omit<UsageEvent, 'properties'> {
  /** Its own copy; the empty object when there are none. */
  readonly properties: JsonObject
}

/** Whether something is a usage event. */
export type UsageParse =
  | { readonly outcome: 'accepted'; readonly usage: CheckedUsage }
  | { readonly outcome: 'rejected'; readonly issues: readonly Issue[] }

/**
 * Checks one event, whatever it is, and never throws. Written by hand because every event passes here: it costs a small
 * part of what the declared schema takes, which is asked only when the event is refused, for the issues. A property test
 * holds the two equal.
 */
export function parseUsageEvent(input: unknown): UsageParse {
  try {
    const usage = checked(input)
    if (usage !== undefined) return { outcome: 'accepted', usage }
    const issues = usageEventIssues(input)
    // A field that reads differently the second time, as a getter can, leaves nothing to object to and is still refused.
    return { outcome: 'rejected', issues: issues.length === 0 ? [UNREADABLE] : issues }
  } catch {
    // A getter or a proxy threw: there is no event to be had from it.
    return { outcome: 'rejected', issues: [UNREADABLE] }
  }
}

const UNREADABLE: Issue = { path: '', message: 'cannot be read: its fields throw or change' }

const tenants = new IdentifierField()
const subscriptions = new IdentifierField()
const metrics = new IdentifierField()
const sources = new IdentifierField()

/** Reads each field once, so that what was checked is what is kept. */
function checked(input: unknown): CheckedUsage | undefined {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return undefined
  const { tenant, subscription, transactionId, metric, quantity, at, source, properties } = input as Record<
    string,
    unknown
  >
  if (!tenants.accepts(tenant) || !subscriptions.accepts(subscription)) return undefined
  if (!isIdentifier(transactionId) || !metrics.accepts(metric)) return undefined
  if (!isIntegerWithin(quantity, 0, QUANTITY_MAX) || !isIntegerWithin(at, USED_AT_MIN, USED_AT_LIMIT - 1)) {
    return undefined
  }
  if (source !== undefined && !sources.accepts(source)) return undefined
  const copy = copiedProperties(properties)
  if (copy === undefined) return undefined
  const fields = REQUIRED_FIELDS + (source === undefined ? 0 : 1) + (properties === undefined ? 0 : 1)
  if (fieldsOf(input) !== fields && hasUnknownField(input)) return undefined
  // Adding 0 turns the integer -0 into 0.
  const usage = { tenant, subscription, transactionId, metric, quantity: quantity + 0, at, properties: copy }
  return source === undefined ? usage : { ...usage, source }
}

/** An event that has so many fields, and all of these, has no others: counting is cheaper than comparing names. */
const REQUIRED_FIELDS = 6

function fieldsOf(input: object): number {
  let count = 0
  for (const _ in input) count += 1
  return count
}

/** Also where a field is given as undefined, which counts as absent. */
function hasUnknownField(input: object): boolean {
  for (const field in input) if (!FIELDS.has(field)) return true
  return false
}

const FIELDS: ReadonlySet<string> = new Set([
  'tenant',
  'subscription',
  'transactionId',
  'metric',
  'quantity',
  'at',
  'source',
  'properties'
])

function isIntegerWithin(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}
