import { parseOptions } from '@enablement/core'
import type { AuditDraft, AuditLog } from '@enablement/core/audit'
import {
  execute,
  integerOf,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  type SqlValue,
  textOf
} from '@enablement/core/sql'
import { z } from 'zod'
import { type DedupVerdict, type FirstReceipt, identityKey, judgeRepeat } from '../dedup/dedup.ts'
import { METRICS_MAX, rangeParts, type TotalsQuery, type UsageTotal } from '../usage/totals.ts'
import type { UsageEntry, UsageStore } from '../usage/usage-store.ts'
import { compareEntries, hourSums } from './hour-sums.ts'
import { inRuns, tuples } from './row-runs.ts'

/** What goes with the ledger. */
export interface SqlUsageStoreOptions {
  /**
   * A log in the same database: each counted event (`usage.recorded`) and each conflict (`usage.conflicted`) is appended
   * in the unit that decides it. Metric, quantity and hashes go in, properties do not.
   */
  readonly audit?: AuditLog
}

const optionsSchema: z.ZodType<SqlUsageStoreOptions> = z.strictObject({
  audit: z
    .custom<AuditLog>(
      (value) => typeof value === 'object' && value !== null && 'append' in value,
      'must be an audit log'
    )
    .exactOptional()
})

/** The ledger of usage in a database that has taken `meteringSchema`. Throws `INVALID_OPTIONS`. */
export function sqlUsageStore(db: SqlDatabase, options: SqlUsageStoreOptions = {}): UsageStore {
  const { audit } = parseOptions(optionsSchema, 'sqlUsageStore', options)
  return {
    supports: { durable: db.supports.durable },
    record: (entries, runOptions) => db.run(() => record(entries, audit), runOptions),
    async totals(query, runOptions) {
      const found = await db.run(() => totals(query), runOptions)
      // Sorted here: databases sort text by their own collations.
      return found.map(totalOf).sort((a, b) => (a.metric < b.metric ? -1 : 1))
    }
  }
}

/**
 * The unique index of the ledger decides what is new; hours and audit follow its decision. Units that meet take their
 * locks in the same order, that of identities and then of hours, so that they queue and do not deadlock.
 */
function* record(entries: readonly UsageEntry[], audit: AuditLog | undefined): Sql<readonly DedupVerdict[]> {
  const firsts = new Map<string, UsageEntry>()
  for (const entry of entries) {
    const key = identityKey(entry)
    if (!firsts.has(key)) firsts.set(key, entry)
  }
  const ordered = [...firsts.values()].sort(compareEntries)
  const fresh = yield* insertNew(ordered)
  const receipts = yield* firstReceipts(ordered.filter((entry) => !fresh.has(identityKey(entry))))
  yield* addToHours(ordered.filter((entry) => fresh.has(identityKey(entry))))

  const verdicts = entries.map((entry): DedupVerdict => {
    const key = identityKey(entry)
    const first = firsts.get(key) as UsageEntry
    if (entry === first && fresh.has(key)) return { outcome: 'new' }
    return judgeRepeat(entry.payloadHash, fresh.has(key) ? first : (receipts.get(key) as FirstReceipt))
  })
  if (audit !== undefined) {
    const drafts = entries.flatMap((entry, at) => evidence(entry, verdicts[at] as DedupVerdict))
    // Appends queue on their tenant's head: those too are taken in one order.
    drafts.sort((a, b) => (a.tenant < b.tenant ? -1 : a.tenant > b.tenant ? 1 : 0))
    for (const draft of drafts) yield* audit.append(draft)
  }
  return verdicts
}

/** Inserts what the ledger does not have, and gives the identities of that. */
function* insertNew(entries: readonly UsageEntry[]): Sql<ReadonlySet<string>> {
  const fresh = new Set<string>()
  for (const run of inRuns(entries)) {
    const inserted = yield* rows(
      `insert into metering_usage(tenant, subscription, transaction_id, metric, quantity, used_at, properties,
         payload_hash, received_at)
       values ${tuples(9, run.length)}
       on conflict do nothing returning tenant, subscription, transaction_id`,
      ...run.flatMap((entry): SqlValue[] => [
        entry.tenant,
        entry.subscription,
        entry.transactionId,
        entry.metric,
        entry.quantity,
        entry.at,
        entry.propertiesJson,
        entry.payloadHash,
        entry.receivedAt
      ])
    )
    for (const row of inserted) fresh.add(rowKey(row))
  }
  return fresh
}

/** What the ledger has of identities that it was not new to. */
function* firstReceipts(entries: readonly UsageEntry[]): Sql<ReadonlyMap<string, FirstReceipt>> {
  const receipts = new Map<string, FirstReceipt>()
  for (const run of inRuns(entries)) {
    const found = yield* rows(
      `select tenant, subscription, transaction_id, payload_hash, received_at from metering_usage
       where (tenant, subscription, transaction_id) in (values ${tuples(3, run.length)})`,
      ...run.flatMap(({ tenant, subscription, transactionId }) => [tenant, subscription, transactionId])
    )
    for (const row of found) {
      receipts.set(rowKey(row), {
        payloadHash: textOf(row, 'payload_hash'),
        receivedAt: integerOf(row, 'received_at')
      })
    }
  }
  return receipts
}

function* addToHours(entries: readonly UsageEntry[]): Sql<void> {
  for (const run of inRuns(hourSums(entries))) {
    yield* execute(
      `insert into metering_usage_hours(tenant, subscription, metric, hour_at, quantity_millions, quantity_rest, events)
       values ${tuples(7, run.length)}
       on conflict (tenant, subscription, metric, hour_at) do update set
         quantity_millions = metering_usage_hours.quantity_millions + excluded.quantity_millions,
         quantity_rest = metering_usage_hours.quantity_rest + excluded.quantity_rest,
         events = metering_usage_hours.events + excluded.events`,
      ...run.flatMap((sum): SqlValue[] => [
        sum.tenant,
        sum.subscription,
        sum.metric,
        sum.hourAt,
        sum.millions,
        sum.rest,
        sum.events
      ])
    )
  }
}

/** One statement, so that one snapshot answers: whole hours from the rollup, the ragged ends from the ledger. */
function* totals({ tenant, subscription, from, to, metric }: TotalsQuery): Sql<readonly SqlRow[]> {
  const { head, hours, tail } = rangeParts(from, to)
  const of = `tenant = ? and subscription = ?${metric === undefined ? '' : ' and metric = ?'}`
  const whose = metric === undefined ? [tenant, subscription] : [tenant, subscription, metric]
  return yield* rows(
    `select metric, cast(sum(millions) as bigint) as millions, cast(sum(rest) as bigint) as rest,
       cast(sum(events) as bigint) as events
     from (
       select metric, quantity_millions as millions, quantity_rest as rest, events
       from metering_usage_hours where ${of} and hour_at >= ? and hour_at < ?
       union all
       select metric, quantity / 1000000, quantity % 1000000, 1
       from metering_usage where ${of} and used_at >= ? and used_at < ?
       union all
       select metric, quantity / 1000000, quantity % 1000000, 1
       from metering_usage where ${of} and used_at >= ? and used_at < ?
     ) as parts
     group by metric limit ${METRICS_MAX + 1}`,
    ...whose,
    ...hours,
    ...whose,
    ...head,
    ...whose,
    ...tail
  )
}

function totalOf(row: SqlRow): UsageTotal {
  // Millions beyond 2^53 come as bigint.
  const quantity = BigInt(row['millions'] as number | bigint) * 1_000_000n + BigInt(row['rest'] as number | bigint)
  return { metric: textOf(row, 'metric'), quantity, events: integerOf(row, 'events') }
}

/** The subscription is a detail and not in the subject: both ids at their longest would exceed an entry's name. */
function evidence(entry: UsageEntry, verdict: DedupVerdict): AuditDraft[] {
  const { tenant, subscription, transactionId, metric, quantity, at, payloadHash } = entry
  if (verdict.outcome === 'duplicate') return []
  return [
    {
      tenant,
      actor: 'system:metering',
      action: verdict.outcome === 'new' ? 'usage.recorded' : 'usage.conflicted',
      subject: `usage:${transactionId}`,
      detail: { subscription, metric, quantity, at, payloadHash }
    }
  ]
}

function rowKey(row: SqlRow): string {
  return identityKey({
    tenant: textOf(row, 'tenant'),
    subscription: textOf(row, 'subscription'),
    transactionId: textOf(row, 'transaction_id')
  })
}
