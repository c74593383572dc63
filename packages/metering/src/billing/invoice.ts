import type { CalendarPeriod } from '../calendar/calendar.ts'

/** One line. Amounts are signed: a credit is negative. */
export interface InvoiceLine {
  readonly kind: 'plan' | 'usage' | 'proration' | 'adjustment' | 'credit' | 'tax'
  readonly description: string
  /** The period it is for; an adjustment's is an earlier one than the invoice's. */
  readonly period: CalendarPeriod
  /** Of usage and its adjustments. */
  readonly metric?: string
  /** Billed units, and how many events they are made of; of usage and its adjustments. */
  readonly quantity?: bigint
  readonly events?: number
  /** In the currency's minor unit. */
  readonly minorUnits: bigint
  /** Before rounding, in major units: a decimal, or a fraction such as `7/180`. */
  readonly exact: string
}

/** An invoice. A final one is never changed: what comes later is an adjustment on the next. */
export interface Invoice {
  readonly id: string
  readonly tenant: string
  readonly subscription: string
  /** ISO 4217. */
  readonly currency: string
  readonly period: CalendarPeriod
  readonly status: 'draft' | 'final'
  /** Epoch milliseconds. */
  readonly issuedAt: number
  readonly lines: readonly InvoiceLine[]
  /** The sum of the lines. */
  readonly minorUnits: bigint
}
