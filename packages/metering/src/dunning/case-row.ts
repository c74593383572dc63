import { execute, firstRow, integerOf, type Sql, type SqlRow, textOf } from '@enablement/core/sql'
import type { DunningCase } from './dunning-case.ts'

/** How a case is written: what is looked for has columns, the rest is one text. */
const COLUMNS = 'case_id, tenant, subscription, currency, status, state'

/** The case, locked until the unit ends where the database has row locks. */
export function* lockCase(forUpdate: string, id: string): Sql<DunningCase | undefined> {
  const row = yield* firstRow(`select ${COLUMNS} from metering_dunning where case_id = ?${forUpdate}`, id)
  return row === undefined ? undefined : caseOf(row)
}

/** The open case of a subscription in a currency, locked. */
export function* lockOpenCase(
  forUpdate: string,
  { tenant, subscription, currency }: Pick<DunningCase, 'tenant' | 'subscription' | 'currency'>
): Sql<DunningCase | undefined> {
  const row = yield* firstRow(
    `select ${COLUMNS} from metering_dunning
     where tenant = ? and subscription = ? and currency = ? and status = 'open'${forUpdate}`,
    tenant,
    subscription,
    currency
  )
  return row === undefined ? undefined : caseOf(row)
}

/** Inserts a case unless the subscription has an open one in its currency, and says whether it did. */
export function* insertCase(opened: DunningCase): Sql<boolean> {
  const row = yield* firstRow(
    `insert into metering_dunning(${COLUMNS}) values (?, ?, ?, ?, ?, ?) on conflict do nothing returning case_id`,
    opened.id,
    opened.tenant,
    opened.subscription,
    opened.currency,
    opened.status,
    stateText(opened)
  )
  return row !== undefined
}

export function* updateCase(of: DunningCase): Sql<void> {
  yield* execute('update metering_dunning set status = ?, state = ? where case_id = ?', of.status, stateText(of), of.id)
}

/** Remembers a failure under its key, and gives the case that it belongs to: another one where the key is known. */
export function* rememberFailure(tenant: string, idempotencyKey: string, caseId: string): Sql<string> {
  const row = yield* firstRow(
    `insert into metering_dunning_failures(tenant, idempotency_key, case_id) values (?, ?, ?)
     on conflict (tenant, idempotency_key) do update set case_id = metering_dunning_failures.case_id returning case_id`,
    tenant,
    idempotencyKey,
    caseId
  )
  return textOf(row as SqlRow, 'case_id')
}

/** The failure belongs to a case that was there before. */
export function* reassignFailure(tenant: string, idempotencyKey: string, caseId: string): Sql<void> {
  yield* execute(
    'update metering_dunning_failures set case_id = ? where tenant = ? and idempotency_key = ?',
    caseId,
    tenant,
    idempotencyKey
  )
}

/**
 * The number of the next order to a subscription's restriction: above every one before it, of whichever case, and the time
 * where that is more.
 */
export function* nextOrder({ tenant, subscription }: DunningCase, now: number): Sql<number> {
  const row = yield* firstRow(
    `insert into metering_dunning_orders(tenant, subscription, last_order) values (?, ?, ?)
     on conflict (tenant, subscription) do update set last_order = case
       when excluded.last_order > metering_dunning_orders.last_order then excluded.last_order
       else metering_dunning_orders.last_order + 1 end
     returning last_order`,
    tenant,
    subscription,
    now
  )
  return integerOf(row as SqlRow, 'last_order')
}

export function caseOf(row: SqlRow): DunningCase {
  const state = JSON.parse(textOf(row, 'state')) as Omit<DunningCase, 'unpaid' | 'underway'> & {
    unpaid: [string, string][]
    underway?: [string, string][]
  }
  const { underway, ...rest } = state
  return {
    ...rest,
    unpaid: unpaidOf(state.unpaid),
    ...(underway === undefined ? {} : { underway: unpaidOf(underway) }),
    id: textOf(row, 'case_id'),
    tenant: textOf(row, 'tenant'),
    subscription: textOf(row, 'subscription'),
    currency: textOf(row, 'currency'),
    status: textOf(row, 'status') as DunningCase['status']
  }
}

const unpaidOf = (pairs: [string, string][]): DunningCase['unpaid'] =>
  pairs.map(([invoice, minorUnits]) => ({ invoice, minorUnits: BigInt(minorUnits) }))

function stateText({
  id: _id,
  tenant: _t,
  subscription: _s,
  currency: _c,
  status: _st,
  ...state
}: DunningCase): string {
  const pairs = (unpaid: DunningCase['unpaid']): [string, string][] =>
    unpaid.map(({ invoice, minorUnits }) => [invoice, String(minorUnits)])
  const { underway, ...rest } = state
  return JSON.stringify({
    ...rest,
    unpaid: pairs(state.unpaid),
    ...(underway === undefined ? {} : { underway: pairs(underway) })
  })
}
