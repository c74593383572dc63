import { CoreError } from '@enablement/core'
import {
  execute,
  firstRow,
  integerOf,
  jsonRows,
  rows,
  type Sql,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { type CounterState, NEVER } from '../quota/counter.ts'
import { joined, parted } from '../quota/counter-key.ts'
import { expire } from '../quota/hold-expiry.ts'
import type { HoldRecord } from '../quota/hold-record.ts'
import { HOLDS_MAX } from '../quota/quota-store.ts'
import type { RememberedSpend } from '../quota/spend.ts'
import { WorkingSet } from '../quota/working-set.ts'
import { keyedWrites } from './keyed-writes.ts'
import {
  counterColumns,
  counterOf,
  counterRow,
  holdColumns,
  holdOf,
  holdRow,
  spendColumns,
  spendOf,
  spendRow
} from './quota-rows.ts'

/** Rows that are over and that are deleted for each one that is written: two, so that a table shrinks by itself. */
const FORGOTTEN_PER_ROW = 2

/** What a unit has read of a tenant, and how it writes. */
export interface QuotaWork {
  readonly set: WorkingSet
  /** Reads remembered spends, by their keys. */
  spends(keys: readonly string[]): Sql<void>
  /** Reads a hold and the counters that it took from. */
  hold(key: string): Sql<void>
  /** Ends up to `limit` holds whose time is over, those that expired first; gives what they were. */
  endExpired(limit: number): Sql<readonly HoldRecord[]>
  /** Writes what the set has changed. Throws `OVERLOADED` for one open hold too many. */
  write(): Sql<void>
}

/** Begins units on behalf of tenants. */
export interface QuotaUnits {
  /** Locks the tenant until the unit ends, and reads the clock and the counters of the keys after that. */
  begin(tenant: string, counterKeys: readonly string[]): Sql<QuotaWork>
}

/** The statements, made once for a database. */
export function quotaUnits(dialect: SqlDialect): QuotaUnits {
  const names = jsonRows(dialect, { a: 'text', b: 'text' })
  const counterWrites = keyedWrites(dialect, 'metering_quota_counters', counterColumns, 'forget_at')
  const spendWrites = keyedWrites(dialect, 'metering_quota_spends', spendColumns, 'expires_at')
  const holdWrites = keyedWrites(dialect, 'metering_quota_holds', holdColumns, 'forget_at')
  const lock = `select open_holds, next_expiry_at from metering_quota_tenants where tenant = ?${dialect.forUpdate}`
  const readCounters = `select ${dialect.now} as now, g.a, g.b, c.kind, c.starts_at, c.ends_at, c.used, c.held, c.detail
    from ${names.select} as g left join metering_quota_counters as c
      on c.tenant = ? and c.limit_name = g.a and c.path = g.b`
  // A left join, so that SQLite looks up what is given rather than go through all that the tenant has.
  const readSpends = `select g.a, g.b, s.amount, s.remaining, s.resets_at, s.expires_at
    from ${names.select} as g left join metering_quota_spends as s
      on s.tenant = ? and s.scope = g.a and s.idempotency_key = g.b`

  function* lockedTenant(tenant: string): Sql<SqlRow> {
    const known = yield* firstRow(lock, tenant)
    if (known !== undefined) return known
    yield* execute(
      'insert into metering_quota_tenants(tenant, open_holds, next_expiry_at) values (?, 0, ?) on conflict do nothing',
      tenant,
      NEVER
    )
    return (yield* firstRow(lock, tenant)) as SqlRow
  }

  return {
    *begin(tenant, counterKeys) {
      const head = yield* lockedTenant(tenant)
      const counters = new Map<string, CounterState>()
      const spends = new Map<string, RememberedSpend>()
      const holds = new Map<string, HoldRecord>()

      function* loadCounters(keys: readonly string[]): Sql<SqlRow> {
        const found = yield* rows(readCounters, names.parameter(pairs(keys)), tenant)
        for (const row of found) if (row['kind'] !== null) counters.set(keyOf(row), counterOf(row))
        return found[0] as SqlRow
      }

      // After the lock was had, which may have taken long: this is the instant of the decision.
      const first =
        counterKeys.length > 0 ? yield* loadCounters(counterKeys) : yield* firstRow(`select ${dialect.now} as now`)
      const now = integerOf(first as SqlRow, 'now')
      const set = new WorkingSet(now, {
        counter: (key) => counters.get(key),
        spend: (key) => spends.get(key),
        hold: (key) => holds.get(key)
      })

      function* loadPartsOf(records: readonly HoldRecord[]): Sql<void> {
        const wanted = records.flatMap(({ parts }) => parts.map(({ counter }) => counter))
        const missing = [...new Set(wanted)].filter((key) => set.counter(key) === undefined)
        if (missing.length > 0) yield* loadCounters(missing)
      }

      return {
        set,
        *spends(keys) {
          if (keys.length === 0) return
          const found = yield* rows(readSpends, names.parameter(pairs(keys)), tenant)
          for (const row of found) if (row['amount'] !== null) spends.set(keyOf(row), spendOf(row))
        },
        *hold(key) {
          if (set.hold(key) !== undefined) return
          const [scopeKey, holdKey] = parted(key)
          const row = yield* firstRow(
            'select * from metering_quota_holds where tenant = ? and scope_key = ? and hold_key = ?',
            tenant,
            scopeKey,
            holdKey
          )
          if (row === undefined) return
          holds.set(key, holdOf(row))
          yield* loadPartsOf([holdOf(row)])
        },
        *endExpired(limit) {
          if (now < integerOf(head, 'next_expiry_at')) return []
          const found = yield* rows(
            `select * from metering_quota_holds where tenant = ? and forget_at is null and expires_at <= ?
             order by expires_at, scope_key, hold_key limit ?`,
            tenant,
            now,
            limit
          )
          const keyed = found.map(
            (row) => [joined(textOf(row, 'scope_key'), textOf(row, 'hold_key')), holdOf(row)] as const
          )
          for (const [key, record] of keyed) holds.set(key, record)
          yield* loadPartsOf(keyed.map(([, record]) => record))
          return keyed.map(([key, record]) => expire(set, key, record))
        },
        *write() {
          yield* holdWrites.put(
            tenant,
            [...set.holds].map(([key, record]) => holdRow(key, record))
          )
          if (set.holds.size > 0) yield* countHolds(tenant, integerOf(head, 'open_holds'), holds, set.holds)
          yield* counterWrites.put(
            tenant,
            [...set.counters].map(([key, state]) => counterRow(key, state))
          )
          yield* spendWrites.put(
            tenant,
            [...set.spends].map(([key, spend]) => spendRow(key, spend))
          )
          // Last, and only rows that nobody else has: a unit that has others' rows waits for nothing any more.
          const fresh = [...set.counters.keys()].filter((key) => !counters.has(key))
          yield* counterWrites.forget(now, FORGOTTEN_PER_ROW * fresh.length)
          yield* spendWrites.forget(now, FORGOTTEN_PER_ROW * set.spends.size)
          yield* holdWrites.forget(now, FORGOTTEN_PER_ROW * set.holds.size)
        }
      }
    }
  }
}

/** Keeps the tenant's row true to its holds. */
function* countHolds(
  tenant: string,
  openBefore: number,
  before: ReadonlyMap<string, HoldRecord>,
  after: ReadonlyMap<string, HoldRecord>
): Sql<void> {
  let change = 0
  for (const [key, { end }] of after) {
    const last = before.get(key)
    const wasOpen = last !== undefined && last.end === undefined
    change += Number(end === undefined) - Number(wasOpen)
  }
  const open = openBefore + change
  if (change > 0 && open > HOLDS_MAX) {
    const what = 'the holds of a tenant'
    const message = `a tenant has ${openBefore} open holds, the most it may have`
    throw new CoreError('OVERLOADED', message, { what, waiting: openBefore, limit: HOLDS_MAX })
  }
  yield* execute(
    `update metering_quota_tenants set open_holds = ?, next_expiry_at = coalesce(
       (select min(expires_at) from metering_quota_holds where tenant = ? and forget_at is null), ?) where tenant = ?`,
    open,
    tenant,
    NEVER,
    tenant
  )
}

function pairs(keys: readonly string[]): { a: string; b: string }[] {
  return keys.map((key) => {
    const [a, b] = parted(key)
    return { a, b }
  })
}

function keyOf(row: SqlRow): string {
  return joined(textOf(row, 'a'), textOf(row, 'b'))
}
