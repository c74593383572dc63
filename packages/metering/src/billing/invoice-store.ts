import type { AuditDraft } from '@enablement/core/audit'
import type { Calendar, CalendarPeriod } from '../calendar/calendar.ts'
import type { Invoice, InvoiceLine } from './invoice.ts'

/** What has been billed for one metric of one period, on its own invoice and by adjustments on later ones. */
export interface BilledUsage {
  readonly metric: string
  readonly quantity: bigint
  readonly events: number
  /** Signed, in the currency's minor unit. */
  readonly minorUnits: bigint
}

/** An amount that waits for the subscription's next invoice. */
export interface PendingAdjustment {
  /** The same twice is one: such as `reconciliation:<subscription>:<period>:<metric>:<run>`. */
  readonly idempotencyKey: string
  readonly tenant: string
  readonly subscription: string
  readonly currency: string
  readonly line: InvoiceLine
}

/** A subscription whose periods are invoiced when they are over. */
export interface BillingAccount {
  readonly tenant: string
  readonly subscription: string
  readonly calendar: Calendar
  /** The first period without a final invoice. */
  readonly next: CalendarPeriod
}

/** Accounts whose next period has been over for a while, given to one caller, and the store's own time. */
export interface ClaimedAccounts {
  readonly accounts: readonly BillingAccount[]
  /** Epoch milliseconds, by the clock that decided. */
  readonly now: number
  /** How long until the next one falls due; undefined when there is none. */
  readonly nextDueInMs: number | undefined
}

/** What goes with an invoice into the store. */
export interface InvoicePut {
  /** The keys of the pending adjustments that a final invoice takes with it. */
  readonly takes: readonly string[]
  readonly evidence: readonly AuditDraft[]
  /** What `revision` said before the invoice was made: where it says otherwise by now, the invoice is `stale`. */
  readonly revision?: number
  /** Of a final invoice: the period after it, and when that one falls due, for an account whose next period it is of. */
  readonly next?: { readonly period: CalendarPeriod; readonly dueAt: number }
}

/** What became of an invoice. Only `stored` changed anything. */
export type InvoicePutOutcome =
  | { readonly outcome: 'stored' }
  /** The period has a final invoice already, whatever its content. */
  | { readonly outcome: 'exists'; readonly invoice: Invoice }
  /** What it bills was billed meanwhile: it is of an older revision, or an adjustment that it takes was taken. */
  | { readonly outcome: 'stale' }

/** Invoices and what waits for the next one. Each call is one transaction, its evidence included. */
export interface InvoiceStore {
  /**
   * Stores an invoice: a draft replaces an earlier draft of its period; a final one is stored once, in place of the draft,
   * and takes the pending adjustments with `takes` with it.
   */
  put(invoice: Invoice, options: InvoicePut): Promise<InvoicePutOutcome>
  /** The invoice of a period, the final one if there is one. */
  find(tenant: string, subscription: string, period: CalendarPeriod): Promise<Invoice | undefined>
  /** Per metric, what final invoices and pending adjustments bill for a period, by name in code unit order. */
  billed(tenant: string, subscription: string, period: CalendarPeriod): Promise<readonly BilledUsage[]>
  /** Puts adjustments; one whose key is known is not put again. Says which were new. */
  adjust(
    adjustments: readonly PendingAdjustment[],
    options: { readonly evidence: readonly AuditDraft[] }
  ): Promise<readonly { readonly outcome: 'put' | 'known' }[]>
  /** What waits for the next invoice, oldest first, at most 1,000. */
  pending(tenant: string, subscription: string): Promise<readonly PendingAdjustment[]>
  /** Counts what changes `billed`, `pending` and `endedAt` of a subscription: 0 before anything did. */
  revision(tenant: string, subscription: string): Promise<number>
  /** When the subscription ended, as it was committed to the store: epoch milliseconds; undefined while it goes on. */
  endedAt(tenant: string, subscription: string): Promise<number | undefined>
  /** Lets the periods of an account fall due; one that is known stays as it is. `dueAt` is when its `next` does. */
  enroll(account: BillingAccount, options: { readonly dueAt: number }): Promise<{ outcome: 'enrolled' | 'known' }>
  /**
   * Claims accounts that are due by the store's clock, those that have waited longest first. Each is due again `leaseMs`
   * from now, unless it goes on before: two workers do not make the same invoice, and one that dies loses none.
   */
  claimAccounts(options: { readonly limit: number; readonly leaseMs: number }): Promise<ClaimedAccounts>
  /**
   * Lets an account whose next period is `period` go on without an invoice: to `next`, or to none, so that it is never due
   * again. `stale` where `revision` says otherwise by now; nothing changes then.
   */
  pass(
    billed: { readonly tenant: string; readonly subscription: string; readonly period: CalendarPeriod },
    options: { readonly revision: number; readonly next?: NonNullable<InvoicePut['next']> }
  ): Promise<{ readonly outcome: 'passed' | 'stale' }>
}

/** Pending adjustments that one invoice takes; what is beyond waits for the one after. */
export const PENDING_MAX = 1_000
