import type { AuditDraft } from '@enablement/core/audit'
import { changes, firstRow, type Sql, type SqlDatabase, type SqlRow, textOf } from '@enablement/core/sql'
import { keyOf } from '../billing/billing-key.ts'
import type { PendingAdjustment } from '../billing/invoice-store.ts'
import {
  PAYMENT_RETRY_MS,
  type PlanChangeRecord,
  type SubscriptionRecord,
  type SubscriptionStore,
  type SubscriptionWrite
} from '../billing/subscription-store.ts'
import { claimRows } from './claim-rows.ts'

/** What the units of the store share: the database's texts, and the log. */
export interface BillingUnits {
  readonly db: SqlDatabase
  /** Puts adjustments: each that is new, once. */
  putPending(adjustments: readonly PendingAdjustment[]): Sql<readonly { readonly outcome: 'put' | 'known' }[]>
  /** From then on the account owes no more than what is left to bill. */
  end(tenant: string, subscription: string, endedAt: number): Sql<void>
  append(evidence: readonly AuditDraft[]): Sql<void>
}

/** Subscriptions next to the invoices that their changes end up on. */
export function sqlSubscriptions(units: BillingUnits): SubscriptionStore {
  const { db } = units
  return {
    async findSubscription(tenant, subscription) {
      const row = await db.run(() =>
        firstRow('select record from metering_subscriptions where account_key = ?', keyOf(tenant, subscription))
      )
      return row === undefined ? undefined : recordOf(row)
    },
    async findChange(tenant, subscription, idempotencyKey) {
      const row = await db.run(() =>
        firstRow(
          'select fingerprint, status, decision from metering_plan_changes where account_key = ? and key_hash = ?',
          keyOf(tenant, subscription),
          keyOf(idempotencyKey)
        )
      )
      if (row === undefined) return undefined
      return {
        tenant,
        subscription,
        idempotencyKey,
        fingerprint: textOf(row, 'fingerprint'),
        status: textOf(row, 'status') as PlanChangeRecord['status'],
        decisionJson: textOf(row, 'decision')
      }
    },
    commitSubscription: (write) => db.run(() => commit(units, write)),
    async claimSubscriptions(options) {
      const { claimed, ...rest } = await db.run(() => claimRows(db, 'metering_subscriptions', 'record', options))
      return { subscriptions: claimed.map(recordOf), ...rest }
    }
  }
}

/** The statement that writes the record compares its revision, so that of two steps from one record the second is stale. */
function* commit(
  units: BillingUnits,
  { subscription: record, change, adjustments, evidence }: SubscriptionWrite
): Sql<{ readonly outcome: 'committed' | 'stale' }> {
  const { db } = units
  const account = keyOf(record.tenant, record.subscription)
  const text = JSON.stringify(record)
  const dueAt = dueOf(record, db.dialect.now)
  const written =
    record.revision === 1
      ? yield* changes(
          `insert into metering_subscriptions(account_key, revision, record, next_due_at) values (?, 1, ?, ${dueAt})
           on conflict do nothing`,
          account,
          text
        )
      : yield* changes(
          `update metering_subscriptions set revision = ?, record = ?, next_due_at = ${dueAt}
           where account_key = ? and revision = ?`,
          record.revision,
          text,
          account,
          record.revision - 1
        )
  if (written === 0) return { outcome: 'stale' }
  if (change !== undefined) {
    yield* changes(
      `insert into metering_plan_changes(account_key, key_hash, fingerprint, status, decision) values (?, ?, ?, ?, ?)
       on conflict (account_key, key_hash) do update
       set fingerprint = excluded.fingerprint, status = excluded.status, decision = excluded.decision`,
      account,
      keyOf(change.idempotencyKey),
      change.fingerprint,
      change.status,
      change.decisionJson
    )
  }
  if (adjustments.length > 0) yield* units.putPending(adjustments)
  if (record.endedAt !== undefined) yield* units.end(record.tenant, record.subscription, record.endedAt)
  yield* units.append(evidence)
  return { outcome: 'committed' }
}

/** When a record falls due, as an expression. */
function dueOf({ endedAt, paying, period }: SubscriptionRecord, now: string): string {
  if (endedAt !== undefined) return 'null'
  return paying === undefined ? `cast(${period.to} as bigint)` : `${now} + ${PAYMENT_RETRY_MS}`
}

const recordOf = (row: SqlRow): SubscriptionRecord => JSON.parse(textOf(row, 'record')) as SubscriptionRecord
