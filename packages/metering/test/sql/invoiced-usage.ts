import { type Calendar, periodFinder } from '@enablement/metering'
import type { LedgerEvent } from '../billing/usage-ledger.ts'

const HOUR = 3_600_000

/** Daily periods, long over. */
export const CALENDAR: Calendar = { every: { days: 1 }, timeZone: 'UTC', anchor: '2026-01-01' }

const finder = periodFinder(CALENDAR)
const first = finder.periodAt(Date.UTC(2026, 0, 1))

/** Where the periods begin. */
export const starts = (periods: number): readonly number[] =>
  Array.from({ length: periods }, (_, at) => finder.shift(first, at).from)

/** Two events a period: one in time, and one too late for its invoice. None in the last, so that each late one is billed. */
export const events = (periods: number): LedgerEvent[] =>
  starts(periods - 1).flatMap((from, at) => [
    { metric: 'tokens', quantity: at + 1, at: from, receivedAt: from },
    { metric: 'tokens', quantity: 1_000, at: from, receivedAt: from + 60 * HOUR }
  ])
