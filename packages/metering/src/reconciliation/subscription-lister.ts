import type { Calendar } from '../calendar/calendar.ts'

/** A subscription whose periods are compared. */
export interface ListedSubscription {
  readonly tenant: string
  readonly subscription: string
  /** That by which it is invoiced. */
  readonly calendar: Calendar
  /** Since when it is billed: periods that began before are not looked at. Epoch milliseconds. */
  readonly billedFrom?: number
}

/** Lists all subscriptions, a page at a time. Answered by the user, or by `sqlSubscriptionLister`. */
export interface SubscriptionLister {
  /**
   * Those after `after`, at most `limit`, in an order that stays the same from page to page; `next` is what to pass as
   * `after`, at most 1,024 characters, and undefined at the end. One that is added meanwhile may be listed or not; one that
   * was there before and stays is listed once.
   */
  list(
    page: { readonly after: string | undefined; readonly limit: number },
    options: { readonly signal: AbortSignal }
  ): Promise<{ readonly subscriptions: readonly ListedSubscription[]; readonly next: string | undefined }>
}
