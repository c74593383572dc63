import { rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import type { Calendar } from '../calendar/calendar.ts'
import type { SubscriptionLister } from '../reconciliation/subscription-lister.ts'

/** Lists the subscriptions that are enrolled for invoicing in a database that has taken `meteringSchema`. */
export function sqlSubscriptionLister(db: SqlDatabase): SubscriptionLister {
  return {
    async list({ after, limit }, { signal }) {
      const found = await db.run(
        () =>
          rows(
            `select account_key, tenant, subscription, calendar from metering_billing_accounts
             where account_key > ? and calendar is not null order by account_key limit ?`,
            after ?? '',
            limit
          ),
        { signal }
      )
      const last = found.length < limit ? undefined : found.at(-1)
      return {
        subscriptions: found.map((row) => ({
          tenant: textOf(row, 'tenant'),
          subscription: textOf(row, 'subscription'),
          calendar: JSON.parse(textOf(row, 'calendar')) as Calendar
        })),
        next: last === undefined ? undefined : textOf(last, 'account_key')
      }
    }
  }
}
