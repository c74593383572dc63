import type { JsonObject } from '@enablement/core'
import {
  changes,
  execute,
  firstRow,
  integerOf,
  jsonRows,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { type FirstReceipt, identityKey } from '../dedup/repeat.ts'
import type { UsageIdentity } from '../event/usage-event.ts'
import type { SetAside, SetAsideDecision, SetAsideQuery, SetAsideState, SetAsideUsage } from '../usage/set-aside.ts'
import { uniqueValueOf } from '../usage/unique-value.ts'
import type { UsageEntry } from '../usage/usage-store.ts'
import { type CountedUse, hourRollups } from './hour-rollups.ts'

/** The statements on the ledger and its hours. Rows travel as one value, so that the texts are a few. */
export interface UsageRows {
  /** Inserts what the ledger does not have, in the order given, and gives the identities of that. */
  insertNew(entries: readonly UsageEntry[]): Sql<ReadonlySet<string>>
  /** What the ledger has of identities that it was not new to. */
  firstReceipts(entries: readonly UsageEntry[]): Sql<ReadonlyMap<string, FirstReceipt>>
  addToHours(uses: readonly CountedUse[]): Sql<void>
  list(query: SetAsideQuery): Sql<readonly SetAsideUsage[]>
  find(identity: UsageIdentity): Sql<SetAsideState>
  /** Changes the row if it is still set aside for that reason; `counted` is then what goes into its hour. */
  decide(
    decision: SetAsideDecision
  ): Sql<
    { readonly outcome: 'decided'; readonly counted?: CountedUse } | { readonly outcome: 'decided-before' | 'unknown' }
  >
}

const COLUMNS = `tenant, subscription, transaction_id, source, metric, quantity, used_at, reported_at, properties,
  payload_hash, received_at, counted_at, state, rollup, unique_value, late, period_at, period_ends_at, unconfirmed`

const SET_ASIDE_COLUMNS = `tenant, subscription, transaction_id, source, metric, quantity, used_at, properties, received_at,
  state, rollup, period_at, period_ends_at`

const IDENTITY = 'tenant = ? and subscription = ? and transaction_id = ?'

export function usageRows(dialect: SqlDialect): UsageRows {
  const given = jsonRows(dialect, {
    tenant: 'text',
    subscription: 'text',
    transaction_id: 'text',
    source: 'text',
    metric: 'text',
    quantity: 'integer',
    used_at: 'integer',
    reported_at: 'integer',
    properties: 'text',
    payload_hash: 'text',
    received_at: 'integer',
    counted_at: 'integer',
    state: 'text',
    rollup: 'text',
    unique_value: 'text',
    late: 'integer',
    period_at: 'integer',
    period_ends_at: 'integer',
    unconfirmed: 'integer'
  })
  const identities = jsonRows(dialect, { tenant: 'text', subscription: 'text', transaction_id: 'text' })
  const hours = jsonRows(dialect, {
    tenant: 'text',
    subscription: 'text',
    metric: 'text',
    rollup: 'text',
    late: 'integer',
    hour_at: 'integer',
    quantity_millions: 'integer',
    quantity_rest: 'integer',
    events: 'integer',
    peak: 'integer',
    peak_at: 'integer',
    peak_received_at: 'integer'
  })
  const insertText = `insert into metering_usage(${COLUMNS}) select ${COLUMNS} from ${given.select} as given
    where true order by place on conflict do nothing returning tenant, subscription, transaction_id`
  const insertOneText = `insert into metering_usage(${COLUMNS}) values (${COLUMNS.replace(/[a-z_]+/g, '?')})
    on conflict do nothing`
  const receiptsText = `select u.tenant, u.subscription, u.transaction_id, u.payload_hash, u.received_at
    from ${identities.select} as given join metering_usage u on u.tenant = given.tenant
      and u.subscription = given.subscription and u.transaction_id = given.transaction_id`
  const isLater = `(excluded.peak_at, excluded.peak_received_at, excluded.peak) > (metering_usage_hours.peak_at,
    metering_usage_hours.peak_received_at, metering_usage_hours.peak)`
  const later = (column: string): string =>
    `${column} = case when ${isLater} then excluded.${column} else metering_usage_hours.${column} end`
  const summed = (column: string): string => `${column} = metering_usage_hours.${column} + excluded.${column}`
  const hourColumns = `tenant, subscription, metric, rollup, late, hour_at, quantity_millions, quantity_rest, events,
    peak, peak_at, peak_received_at`
  const hoursText = `insert into metering_usage_hours(${hourColumns}) select ${hourColumns} from ${hours.select} as given
    where true order by place
    on conflict (tenant, subscription, metric, rollup, late, hour_at) do update set
      ${summed('quantity_millions')}, ${summed('quantity_rest')}, ${summed('events')},
      ${later('peak')}, ${later('peak_at')}, ${later('peak_received_at')}`
  const listText = `select ${SET_ASIDE_COLUMNS} from metering_usage
    where tenant = ? and state = ? and state in ('quarantine', 'review')
      and (received_at, subscription, transaction_id) > (?, ?, ?)
    order by received_at, subscription, transaction_id limit ?`
  const findText = `select ${SET_ASIDE_COLUMNS} from metering_usage where ${IDENTITY}`
  /** What is counted from now on comes after what was counted before, for whoever reads in the order of recording. */
  const renumbered = `recorded_seq = ${dialect.name === 'postgres' ? 'default' : '(select max(recorded_seq) + 1 from metering_usage)'},`

  return {
    *insertNew(entries) {
      if (dialect.name === 'sqlite') {
        // No round trips: a row of its own statement takes half of what it takes SQLite to read it out of JSON.
        const fresh = new Set<string>()
        for (const entry of entries) {
          const isNew = (yield* changes(insertOneText, ...Object.values(rowOf(entry)))) === 1
          if (isNew) fresh.add(identityKey(entry))
        }
        return fresh
      }
      const inserted = yield* rows(insertText, given.parameter(entries.map(rowOf)))
      return new Set(inserted.map(rowKey))
    },
    *firstReceipts(entries) {
      const receipts = new Map<string, FirstReceipt>()
      if (entries.length === 0) return receipts
      const asked = entries.map(({ tenant, subscription, transactionId }) => ({
        tenant,
        subscription,
        transaction_id: transactionId
      }))
      for (const row of yield* rows(receiptsText, identities.parameter(asked))) {
        const receipt = { payloadHash: textOf(row, 'payload_hash'), receivedAt: integerOf(row, 'received_at') }
        receipts.set(rowKey(row), receipt)
      }
      return receipts
    },
    *addToHours(uses) {
      const added = hourRollups(uses)
      if (added.length > 0) yield* execute(hoursText, hours.parameter(added))
    },
    *list({ tenant, reason, after, limit }) {
      const { receivedAt = -1, subscription = '', transactionId = '' } = after ?? {}
      const found = yield* rows(listText, tenant, reason, receivedAt, subscription, transactionId, limit)
      return found.map((row) => setAsideOf(row, reason))
    },
    *find({ tenant, subscription, transactionId }) {
      const row = yield* firstRow(findText, tenant, subscription, transactionId)
      return row === undefined ? { state: 'unknown' } : stateOf(row)
    },
    *decide(decision) {
      const { tenant, subscription, transactionId, reason, by, decidedAt } = decision
      const row = yield* firstRow(`${findText} ${dialect.forUpdate}`, tenant, subscription, transactionId)
      if (row === undefined) return { outcome: 'unknown' }
      if (textOf(row, 'state') !== reason) return { outcome: 'decided-before' }
      const period = decision.as === 'discarded' ? undefined : decision.period
      const late = decision.as === 'counted' && decision.lateness === 'adjustment' ? 1 : 0
      const usedAt = integerOf(row, 'used_at')
      const at = decision.as === 'counted' ? decision.at : usedAt
      yield* execute(
        `update metering_usage set ${decision.as === 'counted' ? renumbered : ''} state = ?, used_at = ?, counted_at = ?, late = ?, period_at = ?, period_ends_at = ?,
           decided_by = ?, reported_at = case when used_at = ? then reported_at else coalesce(reported_at, used_at) end
         where ${IDENTITY}`,
        decision.as,
        at,
        decidedAt,
        late,
        period?.from ?? optionalIntegerOf(row, 'period_at') ?? null,
        period?.to ?? optionalIntegerOf(row, 'period_ends_at') ?? null,
        by,
        at,
        tenant,
        subscription,
        transactionId
      )
      if (decision.as !== 'counted') return { outcome: 'decided' }
      const counted: CountedUse = {
        tenant,
        subscription,
        metric: textOf(row, 'metric'),
        rollup: textOf(row, 'rollup') as CountedUse['rollup'],
        late,
        quantity: integerOf(row, 'quantity'),
        at,
        receivedAt: integerOf(row, 'received_at')
      }
      return { outcome: 'decided', counted }
    }
  }
}

/** What of an entry goes into its hour; nothing while it is set aside. */
export function countedUse(entry: UsageEntry): CountedUse[] {
  if (entry.setAside !== undefined) return []
  const { tenant, subscription, metric, quantity, at, receivedAt, rollup, lateness } = entry
  const late = lateness === 'adjustment' ? 1 : 0
  return [{ tenant, subscription, metric, rollup: rollup.rollup, late, quantity, at, receivedAt }]
}

/** In the order of `COLUMNS`. */
function rowOf(entry: UsageEntry) {
  return {
    tenant: entry.tenant,
    subscription: entry.subscription,
    transaction_id: entry.transactionId,
    source: entry.source ?? null,
    metric: entry.metric,
    quantity: entry.quantity,
    used_at: entry.at,
    reported_at: entry.reportedAt ?? null,
    properties: entry.propertiesJson,
    payload_hash: entry.payloadHash,
    received_at: entry.receivedAt,
    counted_at: entry.countedAt ?? entry.receivedAt,
    state: entry.setAside ?? 'counted',
    rollup: entry.rollup.rollup,
    unique_value: uniqueValueOf(entry) ?? null,
    late: entry.lateness === 'adjustment' ? 1 : 0,
    period_at: entry.latePeriodAt ?? null,
    period_ends_at: entry.latePeriodEndsAt ?? null,
    unconfirmed: entry.unconfirmed === true ? 1 : 0
  }
}

function rowKey(row: SqlRow): string {
  return identityKey({
    tenant: textOf(row, 'tenant'),
    subscription: textOf(row, 'subscription'),
    transactionId: textOf(row, 'transaction_id')
  })
}

function stateOf(row: SqlRow): SetAsideState {
  const state = textOf(row, 'state') as SetAside | 'counted' | 'discarded'
  return state === 'counted' || state === 'discarded'
    ? { state }
    : { state: 'set-aside', usage: setAsideOf(row, state) }
}

function setAsideOf(row: SqlRow, reason: SetAside): SetAsideUsage {
  const source = optionalTextOf(row, 'source')
  const from = optionalIntegerOf(row, 'period_at')
  const to = optionalIntegerOf(row, 'period_ends_at')
  return {
    tenant: textOf(row, 'tenant'),
    subscription: textOf(row, 'subscription'),
    transactionId: textOf(row, 'transaction_id'),
    reason,
    ...(source === undefined ? {} : { source }),
    metric: textOf(row, 'metric'),
    quantity: integerOf(row, 'quantity'),
    at: integerOf(row, 'used_at'),
    properties: JSON.parse(textOf(row, 'properties')) as JsonObject,
    receivedAt: integerOf(row, 'received_at'),
    ...(from === undefined || to === undefined ? {} : { period: { from, to } })
  }
}
