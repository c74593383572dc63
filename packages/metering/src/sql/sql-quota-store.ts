import {
  execute,
  firstRow,
  integerOf,
  optionalIntegerOf,
  type Sql,
  type SqlDatabase,
  type SqlRow
} from '@enablement/core/sql'
import type { QuotaAnswer, QuotaSpend, QuotaStore } from '../quota/quota-store.ts'
import { decideSpend, type QuotaCounter, type RememberedSpend } from '../quota/spend.ts'

/** Expired spends that each new one takes away: two go for each one that comes, so the table shrinks by itself. */
const EXPIRED_PER_SPEND = 2

/** Quotas in a database that has taken `meteringSchema`. Each spend is one unit; windows follow the database's clock. */
export function sqlQuotaStore(db: SqlDatabase): QuotaStore {
  return {
    supports: { durable: db.supports.durable, shared: true },
    consume: (spend, options) => db.run(() => consume(db, spend), options)
  }
}

function* consume(db: SqlDatabase, spend: QuotaSpend): Sql<QuotaAnswer> {
  const { tenant, limit, subject = '', idempotencyKey } = spend
  const counter = yield* lockedCounter(db, tenant, limit, subject)
  // Read after the lock was had, which may have taken long: this is the instant of the decision.
  const found = (yield* firstRow(
    `select ${db.dialect.now} as now, s.amount, s.remaining, s.resets_at, s.expires_at
     from (select 1 as one) as clock left join metering_quota_spends s
       on s.tenant = ? and s.limit_name = ? and s.subject = ? and s.idempotency_key = ?`,
    tenant,
    limit,
    subject,
    idempotencyKey
  )) as SqlRow
  const now = integerOf(found, 'now')
  const { answer, write } = decideSpend(spend, now, counter, rememberedOf(found))
  if (write === undefined) return answer
  const { startsAt, endsAt, used } = write.counter
  yield* execute(
    'update metering_quotas set starts_at = ?, ends_at = ?, used = ? where tenant = ? and limit_name = ? and subject = ?',
    startsAt,
    endsAt,
    used,
    tenant,
    limit,
    subject
  )
  const { amount, remaining, resetsAt, expiresAt } = write.remembered
  yield* execute(
    `insert into metering_quota_spends(
       tenant, limit_name, subject, idempotency_key, amount, remaining, resets_at, expires_at)
     values (?, ?, ?, ?, ?, ?, ?, ?)
     on conflict (tenant, limit_name, subject, idempotency_key) do update
     set amount = excluded.amount, remaining = excluded.remaining,
       resets_at = excluded.resets_at, expires_at = excluded.expires_at`,
    tenant,
    limit,
    subject,
    idempotencyKey,
    amount,
    remaining,
    resetsAt,
    expiresAt
  )
  yield* forgetExpired(db, now)
  return answer
}

/** The counter, locked until the unit ends. A first call makes it, empty: its window ended before any began. */
function* lockedCounter(db: SqlDatabase, tenant: string, limit: string, subject: string): Sql<QuotaCounter> {
  const text = `select starts_at, ends_at, used from metering_quotas
    where tenant = ? and limit_name = ? and subject = ?${db.dialect.forUpdate}`
  let row = yield* firstRow(text, tenant, limit, subject)
  if (row === undefined) {
    yield* execute(
      `insert into metering_quotas(tenant, limit_name, subject, starts_at, ends_at, used) values (?, ?, ?, 0, 0, 0)
       on conflict do nothing`,
      tenant,
      limit,
      subject
    )
    row = (yield* firstRow(text, tenant, limit, subject)) as SqlRow
  }
  return { startsAt: integerOf(row, 'starts_at'), endsAt: integerOf(row, 'ends_at'), used: integerOf(row, 'used') }
}

function rememberedOf(row: SqlRow): RememberedSpend | undefined {
  const amount = optionalIntegerOf(row, 'amount')
  if (amount === undefined) return undefined
  return {
    amount,
    remaining: integerOf(row, 'remaining'),
    resetsAt: optionalIntegerOf(row, 'resets_at') ?? null,
    expiresAt: integerOf(row, 'expires_at')
  }
}

/** Rows that another unit is deleting are left to it: two units never wait for each other here. */
function* forgetExpired(db: SqlDatabase, now: number): Sql<void> {
  yield* execute(
    `delete from metering_quota_spends where (tenant, limit_name, subject, idempotency_key) in (
       select tenant, limit_name, subject, idempotency_key from metering_quota_spends
       where expires_at <= ? order by expires_at limit ${EXPIRED_PER_SPEND}${db.dialect.skipLocked})`,
    now
  )
}
