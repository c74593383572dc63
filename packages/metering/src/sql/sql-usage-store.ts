import { parseOptions } from '@enablement/core'
import type { AuditLog } from '@enablement/core/audit'
import type { Sql, SqlDatabase } from '@enablement/core/sql'
import { z } from 'zod'
import { type DedupVerdict, type FirstReceipt, identityKey, judgeRepeat } from '../dedup/repeat.ts'
import type { UsageEntry, UsageStore } from '../usage/usage-store.ts'
import { auditOption } from './audit-option.ts'
import { compareIdentities } from './hour-rollups.ts'
import { usageBatches } from './usage-batches.ts'
import { decisionEvidence, entryEvidence } from './usage-evidence.ts'
import { countedUse, type UsageRows, usageRows } from './usage-rows.ts'
import { readAdjustments, readTotals } from './usage-totals.ts'

/** What goes with the ledger. */
export interface SqlUsageStoreOptions {
  /**
   * A log in the same database: each event that is taken (`usage.recorded`, `usage.quarantined`, `usage.sent-to-review`),
   * each conflict (`usage.conflicted`) and each decision (`usage.released`, `usage.discarded`) is appended in the unit that
   * makes it so. Metric, quantity and hashes go in, properties do not.
   */
  readonly audit?: AuditLog
}

const optionsSchema: z.ZodType<SqlUsageStoreOptions> = z.strictObject({
  audit: auditOption.exactOptional()
})

/** Units under way where several can be: enough to keep two cores of a server busy, few enough for a small pool. */
const UNITS_MAX = 4

/**
 * The ledger of usage in a database that has taken `meteringSchema`. Calls that come at the same time share units. Throws
 * `INVALID_OPTIONS`.
 */
export function sqlUsageStore(db: SqlDatabase, options: SqlUsageStoreOptions = {}): UsageStore {
  const { audit } = parseOptions(optionsSchema, 'sqlUsageStore', options)
  const ledger = usageRows(db.dialect)
  const record = usageBatches<DedupVerdict>({
    run: (entries) => db.run(() => take(entries, ledger, audit)),
    unitsMax: db.supports.concurrentWriters ? UNITS_MAX : 1
  })
  return {
    supports: { durable: db.supports.durable },
    record: (entries, { signal } = {}) => record(entries, signal),
    totals: (query, runOptions) => db.run(() => readTotals(query), runOptions),
    adjustments: (query, runOptions) => db.run(() => readAdjustments(query), runOptions),
    setAside: (query, runOptions) => db.run(() => ledger.list(query), runOptions),
    find: (identity, runOptions) => db.run(() => ledger.find(identity), runOptions),
    decide: (decision, runOptions) =>
      db.run(function* () {
        const decided = yield* ledger.decide(decision)
        if (decided.outcome !== 'decided') return decided.outcome
        if (decided.counted !== undefined) yield* ledger.addToHours([decided.counted])
        if (audit !== undefined) yield* audit.appendAll([decisionEvidence(decision)])
        return 'decided'
      }, runOptions)
  }
}

/**
 * The unique index of the ledger decides what is new; hours and audit follow its decision. Units that meet take their
 * locks in the same order, that of identities and then of hours, so that they queue and do not deadlock.
 */
function* take(
  entries: readonly UsageEntry[],
  ledger: UsageRows,
  audit: AuditLog | undefined
): Sql<readonly DedupVerdict[]> {
  if (entries.length === 0) return []
  const keys = entries.map(identityKey)
  /** Where each identity comes first: the same entry may come twice. */
  const firsts = new Map<string, number>()
  keys.forEach((key, at) => {
    if (!firsts.has(key)) firsts.set(key, at)
  })
  const ordered = [...firsts.values()].map((at) => entries[at] as UsageEntry).sort(compareIdentities)
  const fresh = yield* ledger.insertNew(ordered)
  const isFresh = (entry: UsageEntry): boolean => fresh.has(identityKey(entry))
  const all = fresh.size === ordered.length
  const receipts = yield* ledger.firstReceipts(all ? [] : ordered.filter((entry) => !isFresh(entry)))
  yield* ledger.addToHours((all ? ordered : ordered.filter(isFresh)).flatMap(countedUse))

  const verdicts = entries.map((entry, at): DedupVerdict => {
    const key = keys[at] as string
    const first = firsts.get(key) as number
    if (!fresh.has(key)) return judgeRepeat(entry.payloadHash, receipts.get(key) as FirstReceipt)
    return at === first ? { outcome: 'new' } : judgeRepeat(entry.payloadHash, entries[first] as UsageEntry)
  })
  if (audit !== undefined) {
    const drafts = entries.flatMap((entry, at) => entryEvidence(entry, verdicts[at] as DedupVerdict))
    if (drafts.length > 0) yield* audit.appendAll(drafts)
  }
  return verdicts
}
