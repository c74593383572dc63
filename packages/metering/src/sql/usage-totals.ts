import { firstRow, integerOf, rows, type Sql, type SqlRow, type SqlValue, textOf } from '@enablement/core/sql'
import type { Rollup } from '../usage/rollup.ts'
import {
  type AdjustmentQuery,
  type LateUsage,
  METRICS_MAX,
  rangeParts,
  type TotalsQuery,
  type UsageTotal
} from '../usage/totals.ts'
import { compareText } from './hour-rollups.ts'

/** One statement, so that one snapshot answers: whole hours from the rollups, the ragged ends from the ledger. */
export function* readTotals(query: TotalsQuery): Sql<readonly UsageTotal[]> {
  const { tenant, subscription, from, to, metric, late } = query
  const { head, hours, tail } = rangeParts(from, to)
  const of =
    'tenant = ? and subscription = ?' +
    (metric === undefined ? '' : ' and metric = ?') +
    (late === 'excluded' ? ' and late = 0' : '')
  const whose = metric === undefined ? [tenant, subscription] : [tenant, subscription, metric]
  const end = `select metric, rollup, quantity / 1000000, quantity % 1000000, 1, quantity,
      case rollup when 'latest' then used_at else 0 end, case rollup when 'latest' then received_at else 0 end
    from metering_usage where ${of} and used_at >= ? and used_at < ? and state = 'counted' and rollup <> 'unique'`
  const found = yield* rows(
    `select metric, rollup, cast(sum(millions) as bigint) as millions, cast(sum(rest) as bigint) as rest,
       cast(sum(events) as bigint) as events, max(case when place = 1 then peak end) as peak
     from (
       select metric, rollup, millions, rest, events, peak, row_number() over (
         partition by metric, rollup order by peak_at desc, peak_received_at desc, peak desc) as place
       from (
         select metric, rollup, quantity_millions as millions, quantity_rest as rest, events, peak, peak_at,
           peak_received_at
         from metering_usage_hours where ${of} and hour_at >= ? and hour_at < ?
         union all ${end}
         union all ${end}
       ) as parts
     ) as placed group by metric, rollup
     union all
     select metric, 'unique', 0, 0, count(*), count(distinct unique_value)
     from metering_usage where ${of} and used_at >= ? and used_at < ? and state = 'counted'
       and unique_value is not null
     group by metric
     limit ${METRICS_MAX + 1}`,
    ...whose,
    ...hours,
    ...whose,
    ...head,
    ...whose,
    ...tail,
    ...whose,
    from,
    to
  )
  // Sorted here: databases sort text by their own collations.
  return found.map(totalOf).sort((a, b) => compareText(a.metric, b.metric) || compareText(a.rollup, b.rollup))
}

function totalOf(row: SqlRow): UsageTotal {
  const rollup = textOf(row, 'rollup') as Rollup
  const quantity = rollup === 'sum' ? sumOf(row) : BigInt(integerOf(row, 'peak'))
  return { metric: textOf(row, 'metric'), rollup, quantity, events: integerOf(row, 'events') }
}

/** Millions beyond 2^53 come as bigint. */
function sumOf(row: SqlRow): bigint {
  return BigInt(row['millions'] as number | bigint) * 1_000_000n + BigInt(row['rest'] as number | bigint)
}

/** What late events add: sums at once, and for the other rollups the period's total before and after them. */
export function* readAdjustments(query: AdjustmentQuery): Sql<readonly LateUsage[]> {
  const { tenant, subscription, receivedFrom, receivedTo } = query
  const found = yield* rows(
    `select period_at, period_ends_at, metric, rollup, cast(sum(quantity / 1000000) as bigint) as millions,
       cast(sum(quantity % 1000000) as bigint) as rest, cast(count(*) as bigint) as events
     from metering_usage
     where tenant = ? and subscription = ? and counted_at >= ? and counted_at < ? and late = 1 and state = 'counted'
       and (rollup <> 'unique' or unique_value is not null)
     group by period_at, period_ends_at, metric, rollup limit ${METRICS_MAX + 1}`,
    tenant,
    subscription,
    receivedFrom,
    receivedTo
  )
  const adjustments: LateUsage[] = []
  for (const row of found) {
    const rollup = textOf(row, 'rollup') as Rollup
    adjustments.push({
      periodAt: integerOf(row, 'period_at'),
      metric: textOf(row, 'metric'),
      rollup,
      quantity: rollup === 'sum' ? sumOf(row) : yield* raisedBy(row, rollup, query),
      events: integerOf(row, 'events')
    })
  }
  return adjustments.sort(
    (a, b) => a.periodAt - b.periodAt || compareText(a.metric, b.metric) || compareText(a.rollup, b.rollup)
  )
}

function* raisedBy(group: SqlRow, rollup: Exclude<Rollup, 'sum'>, query: AdjustmentQuery): Sql<bigint> {
  const { tenant, subscription, receivedFrom, receivedTo } = query
  const of = `from metering_usage where tenant = ? and subscription = ? and metric = ? and rollup = '${rollup}'
    and used_at >= ? and used_at < ? and state = 'counted' and (late = 0 or counted_at < ?)`
  const quantity = {
    max: `max(quantity) ${of}`,
    unique: `count(distinct unique_value) ${of}`,
    latest: `quantity ${of} order by used_at desc, received_at desc, quantity desc limit 1`
  }[rollup]
  const whose: SqlValue[] = [
    tenant,
    subscription,
    textOf(group, 'metric'),
    integerOf(group, 'period_at'),
    integerOf(group, 'period_ends_at')
  ]
  const row = yield* firstRow(
    `select coalesce((select ${quantity}), 0) as before, coalesce((select ${quantity}), 0) as after`,
    ...whose,
    receivedFrom,
    ...whose,
    receivedTo
  )
  const { before, after } = row as SqlRow
  return BigInt(after as number) - BigInt(before as number)
}
