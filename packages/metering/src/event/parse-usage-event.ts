import type { Issue } from '@enablement/core'
import { isIdentifier } from './identifier.ts'
import { propertiesText } from './properties.ts'
import { QUANTITY_MAX, USED_AT_LIMIT, USED_AT_MIN, type UsageEvent } from './usage-event.ts'
import { usageEventIssues } from './usage-event-schema.ts'

/** A usage event that has been checked: a copy, which the caller's later changes do not reach. */
export interface CheckedUsage extends Omit<UsageEvent, 'properties'> {
  /** The properties as canonical JSON, `{}` when there are none. */
  readonly propertiesJson: string
}

/** Whether something is a usage event. */
export type UsageParse =
  | { readonly outcome: 'accepted'; readonly usage: CheckedUsage }
  | { readonly outcome: 'rejected'; readonly issues: readonly Issue[] }

/**
 * Checks one event, whatever it is, and never throws. Written by hand because every event passes here: the fields cost
 * a seventh of what the declared schema takes for them, and it is asked only when the event is refused, for the issues.
 * A property test holds the two equal.
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

/** Reads each field once, so that what was checked is what is kept. */
function checked(input: unknown): CheckedUsage | undefined {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return undefined
  for (const field in input) if (!FIELDS.has(field)) return undefined
  const { tenant, subscription, transactionId, metric, quantity, at, properties } = input as Record<string, unknown>
  if (!isIdentifier(tenant) || !isIdentifier(subscription)) return undefined
  if (!isIdentifier(transactionId) || !isIdentifier(metric)) return undefined
  if (!isIntegerWithin(quantity, 0, QUANTITY_MAX) || !isIntegerWithin(at, USED_AT_MIN, USED_AT_LIMIT - 1)) {
    return undefined
  }
  const propertiesJson = propertiesText(properties)
  if (propertiesJson === undefined) return undefined
  // Adding 0 turns the integer -0 into 0.
  return { tenant, subscription, transactionId, metric, quantity: quantity + 0, at, propertiesJson }
}

const FIELDS: ReadonlySet<string> = new Set([
  'tenant',
  'subscription',
  'transactionId',
  'metric',
  'quantity',
  'at',
  'properties'
])

function isIntegerWithin(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}
