import { parseOptions } from '@enablement/core'
import type { AuditLog } from '@enablement/core/audit'
import {
  execute,
  firstRow,
  integerOf,
  jsonRows,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { z } from 'zod'
import { billedUsage } from '../billing/billed-usage.ts'
import { keyOf } from '../billing/billing-key.ts'
import type { Invoice } from '../billing/invoice.ts'
import {
  type BillingAccount,
  type InvoicePut,
  type InvoicePutOutcome,
  type InvoiceStore,
  PENDING_MAX,
  type PendingAdjustment
} from '../billing/invoice-store.ts'
import type { SubscriptionStore } from '../billing/subscription-store.ts'
import type { CalendarPeriod } from '../calendar/calendar.ts'
import { auditOption } from './audit-option.ts'
import { claimRows } from './claim-rows.ts'
import { LINE_COLUMNS, lineOf, lineRow, lineRows } from './invoice-rows.ts'
import { type BillingUnits, sqlSubscriptions } from './sql-subscriptions.ts'

/** What goes with invoices. */
export interface SqlInvoiceStoreOptions {
  /** A log in the same database: the evidence of each call is appended in its unit. Without one it is dropped. */
  readonly audit?: AuditLog
}

const optionsSchema: z.ZodType<SqlInvoiceStoreOptions> = z.strictObject({
  audit: auditOption.exactOptional()
})

/**
 * Invoices, what waits for the next one, and subscriptions, in a database that has taken `meteringSchema`. Units of one
 * subscription queue on its account. Throws `INVALID_OPTIONS`.
 */
export function sqlInvoiceStore(
  db: SqlDatabase,
  options: SqlInvoiceStoreOptions = {}
): InvoiceStore & SubscriptionStore {
  const { audit } = parseOptions(optionsSchema, 'sqlInvoiceStore', options)
  const lines = lineRows(db.dialect)
  const keys = jsonRows(db.dialect, { key_hash: 'text' })

  const units: BillingUnits = {
    db,
    *putPending(adjustments) {
      const byAccount = new Map<string, number[]>()
      adjustments.forEach(({ tenant, subscription }, at) => {
        const key = keyOf(tenant, subscription)
        byAccount.set(key, [...(byAccount.get(key) ?? []), at])
      })
      const outcomes = adjustments.map((): { readonly outcome: 'put' | 'known' } => ({ outcome: 'known' }))
      // Units that meet take their locks in one order, so that they queue and do not deadlock.
      for (const account of [...byAccount.keys()].sort()) {
        const places = byAccount.get(account) as number[]
        const own = places.map((at) => adjustments[at] as PendingAdjustment)
        const fresh = yield* putForAccount(db, lines, account, own)
        for (const at of places) {
          if (fresh.delete((adjustments[at] as PendingAdjustment).idempotencyKey)) outcomes[at] = { outcome: 'put' }
        }
      }
      return outcomes
    },
    *end(tenant, subscription, endedAt) {
      const account = keyOf(tenant, subscription)
      const revision = yield* lockedRevision(db, account, tenant, subscription)
      yield* execute(
        'update metering_billing_accounts set ended_at = ?, revision = ? where account_key = ?',
        endedAt,
        revision + 1,
        account
      )
    },
    *append(evidence) {
      if (audit !== undefined && evidence.length > 0) yield* audit.appendAll(evidence)
    }
  }

  function* put(invoice: Invoice, { takes, evidence, revision, next }: InvoicePut): Sql<InvoicePutOutcome> {
    const { tenant, subscription, period, status } = invoice
    const account = keyOf(tenant, subscription)
    const current = yield* lockedRevision(db, account, tenant, subscription)
    const found = yield* findInvoice(tenant, subscription, period)
    if (found?.status === 'final') {
      if (next !== undefined) yield* advance(account, period, next)
      return { outcome: 'exists', invoice: found }
    }
    if (revision !== undefined && revision !== current) return { outcome: 'stale' }
    if (status === 'final' && takes.length > 0) {
      const waiting = yield* rows(
        `select key_hash from metering_pending_lines where account_key = ? and taken_by is null
           and key_hash in (select key_hash from ${keys.select} as given)`,
        account,
        keys.parameter(takes.map((take) => ({ key_hash: keyOf(take) })))
      )
      if (waiting.length !== new Set(takes).size) return { outcome: 'stale' }
      yield* execute(
        `update metering_pending_lines set taken_by = ? where account_key = ?
           and key_hash in (select key_hash from ${keys.select} as given)`,
        invoice.id,
        account,
        keys.parameter(takes.map((take) => ({ key_hash: keyOf(take) })))
      )
    }
    if (found !== undefined) yield* deleteDraft(found)
    yield* insertInvoice(lines, invoice)
    if (status === 'final') {
      yield* execute('update metering_billing_accounts set revision = revision + 1 where account_key = ?', account)
      if (next !== undefined) yield* advance(account, period, next)
    }
    yield* units.append(evidence)
    return { outcome: 'stored' }
  }

  return {
    put: (invoice, putOptions) => db.run(() => put(invoice, putOptions)),
    find: (tenant, subscription, period) => db.run(() => findInvoice(tenant, subscription, period)),
    async billed(tenant, subscription, period) {
      const found = await db.run(() => billedLines(tenant, subscription, period))
      return billedUsage(found.map(lineOf), period)
    },
    adjust: (adjustments, { evidence }) =>
      db.run(function* () {
        const outcomes = yield* units.putPending(adjustments)
        yield* units.append(evidence)
        return outcomes
      }),
    async pending(tenant, subscription) {
      const found = await db.run(() =>
        rows(
          `select idempotency_key, currency, ${LINE_COLUMNS} from metering_pending_lines
           where account_key = ? and taken_by is null order by revision, place limit ${PENDING_MAX}`,
          keyOf(tenant, subscription)
        )
      )
      return found.map((row) => ({
        idempotencyKey: textOf(row, 'idempotency_key'),
        tenant,
        subscription,
        currency: textOf(row, 'currency'),
        line: lineOf(row)
      }))
    },
    async revision(tenant, subscription) {
      const row = await db.run(() =>
        firstRow('select revision from metering_billing_accounts where account_key = ?', keyOf(tenant, subscription))
      )
      return row === undefined ? 0 : integerOf(row, 'revision')
    },
    async endedAt(tenant, subscription) {
      const row = await db.run(() =>
        firstRow('select ended_at from metering_billing_accounts where account_key = ?', keyOf(tenant, subscription))
      )
      return row === undefined ? undefined : optionalIntegerOf(row, 'ended_at')
    },
    enroll: (account, { dueAt }) => db.run(() => enroll(db, account, dueAt)),
    async claimAccounts(claim) {
      const columns = 'tenant, subscription, calendar, next_from, next_to'
      const { claimed, ...rest } = await db.run(() => claimRows(db, 'metering_billing_accounts', columns, claim))
      return { accounts: claimed.map(accountOf), ...rest }
    },
    pass: ({ tenant, subscription, period }, { revision, next }) =>
      db.run(function* () {
        const account = keyOf(tenant, subscription)
        if ((yield* lockedRevision(db, account, tenant, subscription)) !== revision) return { outcome: 'stale' }
        if (next === undefined) yield* retire(account, period)
        else yield* advance(account, period, next)
        return { outcome: 'passed' }
      }),
    ...sqlSubscriptions(units)
  }
}

/** The account goes on from a period that is done with. */
function* advance(account: string, period: CalendarPeriod, next: NonNullable<InvoicePut['next']>): Sql<void> {
  yield* execute(
    `update metering_billing_accounts set next_from = ?, next_to = ?, next_due_at = ?
     where account_key = ? and calendar is not null and next_from = ?`,
    next.period.from,
    next.period.to,
    next.dueAt,
    account,
    period.from
  )
}

/** The account is never due again. */
function* retire(account: string, period: CalendarPeriod): Sql<void> {
  yield* execute(
    'update metering_billing_accounts set next_due_at = null where account_key = ? and next_from = ?',
    account,
    period.from
  )
}

/** The account's revision, locked until the unit ends. A first call makes it. */
function* lockedRevision(db: SqlDatabase, account: string, tenant: string, subscription: string): Sql<number> {
  const text = `select revision from metering_billing_accounts where account_key = ?${db.dialect.forUpdate}`
  const row = yield* firstRow(text, account)
  if (row !== undefined) return integerOf(row, 'revision')
  yield* execute(
    `insert into metering_billing_accounts(account_key, tenant, subscription, revision) values (?, ?, ?, 0)
     on conflict do nothing`,
    account,
    tenant,
    subscription
  )
  return integerOf((yield* firstRow(text, account)) as SqlRow, 'revision')
}

/** Puts one account's adjustments, and gives the keys of those that were new. */
function* putForAccount(
  db: SqlDatabase,
  lines: ReturnType<typeof lineRows>,
  account: string,
  adjustments: readonly PendingAdjustment[]
): Sql<Set<string>> {
  const { tenant, subscription } = adjustments[0] as PendingAdjustment
  const revision = (yield* lockedRevision(db, account, tenant, subscription)) + 1
  const firsts = new Map(adjustments.toReversed().map((adjustment) => [adjustment.idempotencyKey, adjustment]))
  // One statement for each currency, of which a subscription has one.
  const fresh = new Set<string>()
  for (const currency of new Set(adjustments.map((adjustment) => adjustment.currency))) {
    const own = adjustments.filter(
      (adjustment) => adjustment.currency === currency && firsts.get(adjustment.idempotencyKey) === adjustment
    )
    const given = own.map(({ idempotencyKey, line }) =>
      lineRow(line, { hash: keyOf(idempotencyKey), text: idempotencyKey })
    )
    const inserted = yield* rows(
      `insert into metering_pending_lines(account_key, tenant, subscription, currency, revision, key_hash, idempotency_key,
         place, ${LINE_COLUMNS})
       select ?, ?, ?, ?, cast(? as bigint), key_hash, idempotency_key, place, ${LINE_COLUMNS}
       from ${lines.select} as given where true
       on conflict do nothing returning idempotency_key`,
      account,
      tenant,
      subscription,
      currency,
      revision,
      lines.parameter(given)
    )
    for (const row of inserted) fresh.add(textOf(row, 'idempotency_key'))
  }
  if (fresh.size > 0) {
    yield* execute('update metering_billing_accounts set revision = ? where account_key = ?', revision, account)
  }
  return fresh
}

function* enroll(
  db: SqlDatabase,
  { tenant, subscription, calendar, next }: BillingAccount,
  dueAt: number
): Sql<{ outcome: 'enrolled' | 'known' }> {
  const account = keyOf(tenant, subscription)
  yield* lockedRevision(db, account, tenant, subscription)
  const { changes } = yield* execute(
    `update metering_billing_accounts set calendar = ?, next_from = ?, next_to = ?, next_due_at = ?
     where account_key = ? and calendar is null`,
    JSON.stringify(calendar),
    next.from,
    next.to,
    dueAt,
    account
  )
  return { outcome: changes === 1 ? 'enrolled' : 'known' }
}

/** In one statement, or a draft that is replaced meanwhile would be half of either. */
function* findInvoice(tenant: string, subscription: string, period: CalendarPeriod): Sql<Invoice | undefined> {
  const found = yield* rows(
    `select i.invoice_id, i.status, i.currency, i.issued_at, i.minor_units as total, ${LINE_COLUMNS_OF_L}
     from metering_invoices i left join metering_invoice_lines l on l.tenant = i.tenant
       and l.subscription = i.subscription and l.invoice_from = i.period_from and l.invoice_to = i.period_to
     where i.tenant = ? and i.subscription = ? and i.period_from = ? and i.period_to = ? order by l.place`,
    tenant,
    subscription,
    period.from,
    period.to
  )
  const [row] = found
  if (row === undefined) return undefined
  return {
    id: textOf(row, 'invoice_id'),
    tenant,
    subscription,
    currency: textOf(row, 'currency'),
    period: { from: period.from, to: period.to },
    status: textOf(row, 'status') as Invoice['status'],
    issuedAt: integerOf(row, 'issued_at'),
    // An invoice without lines is a row without a line.
    lines: optionalTextOf(row, 'kind') === undefined ? [] : found.map(lineOf),
    minorUnits: BigInt(textOf(row, 'total'))
  }
}

/** A draft is replaced whole. */
function* deleteDraft({ tenant, subscription, period }: Invoice): Sql<void> {
  for (const [table, prefix] of [
    ['metering_invoice_lines', 'invoice'],
    ['metering_invoices', 'period']
  ] as const) {
    yield* execute(
      `delete from ${table} where tenant = ? and subscription = ? and ${prefix}_from = ? and ${prefix}_to = ?`,
      tenant,
      subscription,
      period.from,
      period.to
    )
  }
}

function* insertInvoice(given: ReturnType<typeof lineRows>, invoice: Invoice): Sql<void> {
  const { id, tenant, subscription, currency, period, status, issuedAt, lines, minorUnits } = invoice
  yield* execute(
    `insert into metering_invoices(tenant, subscription, period_from, period_to, status, invoice_id, currency, issued_at,
       minor_units) values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    tenant,
    subscription,
    period.from,
    period.to,
    status,
    id,
    currency,
    issuedAt,
    minorUnits.toString()
  )
  yield* execute(
    `insert into metering_invoice_lines(tenant, subscription, invoice_from, invoice_to, place, ${LINE_COLUMNS})
     select ?, ?, cast(? as bigint), cast(? as bigint), place, ${LINE_COLUMNS} from ${given.select} as given`,
    tenant,
    subscription,
    period.from,
    period.to,
    given.parameter(lines.map((line) => lineRow(line)))
  )
}

const LINE_COLUMNS_OF_L = LINE_COLUMNS.split(', ')
  .map((column) => `l.${column}`)
  .join(', ')

/** The lines that bill a period: those of final invoices, and those that wait. */
function* billedLines(tenant: string, subscription: string, period: CalendarPeriod): Sql<readonly SqlRow[]> {
  return yield* rows(
    `select ${LINE_COLUMNS_OF_L} from metering_invoice_lines l join metering_invoices i
       on i.tenant = l.tenant and i.subscription = l.subscription
         and i.period_from = l.invoice_from and i.period_to = l.invoice_to
     where l.tenant = ? and l.subscription = ? and l.period_from = ? and l.period_to = ?
       and l.metric is not null and i.status = 'final'
     union all
     select ${LINE_COLUMNS} from metering_pending_lines
     where account_key = ? and taken_by is null and period_from = ? and period_to = ? and metric is not null`,
    tenant,
    subscription,
    period.from,
    period.to,
    keyOf(tenant, subscription),
    period.from,
    period.to
  )
}

function accountOf(row: SqlRow): BillingAccount {
  return {
    tenant: textOf(row, 'tenant'),
    subscription: textOf(row, 'subscription'),
    calendar: JSON.parse(textOf(row, 'calendar')) as BillingAccount['calendar'],
    next: { from: integerOf(row, 'next_from'), to: integerOf(row, 'next_to') }
  }
}
