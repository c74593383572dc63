import { days, parseOptions } from '@enablement/core'
import {
  execute,
  firstRow,
  integerOf,
  jsonRows,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { z } from 'zod'
import { NEVER } from '../quota/counter.ts'
import type { QuotaLedger, QuotaStep, SteppedSpend } from '../quota/quota-ledger.ts'

/** How long steps are kept as evidence. */
export interface SqlQuotaLedgerOptions {
  /** In milliseconds, 400 days unless given. What counters are made again from is kept as long as it counts. */
  readonly keepMs?: number
}

const optionsSchema: z.ZodType<SqlQuotaLedgerOptions> = z.strictObject({
  keepMs: z.number().int().min(1).max(days(36_525)).exactOptional()
})

/** Rows that are over, taken away for each one that comes: two, so that the tables shrink by themselves. */
const OVER_PER_ROW = 2

/**
 * A ledger for `redisQuotaStore(client, { durability: 'ledger', ledger })`, in a database that has taken `meteringSchema`. A
 * step is one unit, which holds its tenant's row: units of one tenant follow each other. Throws `INVALID_OPTIONS`.
 */
export function sqlQuotaLedger(db: SqlDatabase, options: SqlQuotaLedgerOptions = {}): QuotaLedger {
  const { keepMs = days(400) } = parseOptions(optionsSchema, 'sqlQuotaLedger', options)
  const { dialect } = db
  const given = {
    counters: jsonRows(dialect, { counter: 'text', units: 'integer', state: 'text', forget_at: 'integer' }),
    holds: jsonRows(dialect, { hold: 'text', body: 'text', expires_at: 'integer', forget_at: 'integer' }),
    spends: jsonRows(dialect, { token: 'text', memory_ms: 'integer', body: 'text', expires_at: 'integer' })
  }

  function* append(tenant: string, epoch: number, step: QuotaStep): Sql<'appended' | 'fenced'> {
    const locked = yield* firstRow(
      `select epoch from metering_quota_epochs where tenant = ?${dialect.forUpdate}`,
      tenant
    )
    if (locked === undefined || integerOf(locked, 'epoch') !== epoch) return 'fenced'
    const { revision, counters, holds, spends } = step
    if (counters.length > 0) {
      const counted = given.counters.parameter(
        counters.map(({ name, units, state, forgetAt }) => ({
          counter: name,
          units,
          state,
          forget_at: forgetAt ?? NEVER
        }))
      )
      yield* execute(
        `insert into metering_quota_ledger (tenant, epoch, revision, counter, units, appended_at)
         select ?, ?, ?, given.counter, given.units, ${dialect.now} from ${given.counters.select} as given where true
         on conflict do nothing`,
        tenant,
        epoch,
        revision,
        counted
      )
      yield* execute(
        `insert into metering_quota_ledger_counters (tenant, counter, epoch, revision, state, forget_at)
         select ?, given.counter, ?, ?, given.state, given.forget_at from ${given.counters.select} as given where true
         on conflict (tenant, counter) do update set epoch = excluded.epoch, revision = excluded.revision,
           state = excluded.state, forget_at = excluded.forget_at
         where ${isLater('metering_quota_ledger_counters')}`,
        tenant,
        epoch,
        revision,
        counted
      )
    }
    if (holds.length > 0) {
      yield* execute(
        `insert into metering_quota_ledger_holds (tenant, hold, epoch, revision, body, expires_at, forget_at)
         select ?, given.hold, ?, ?, given.body, given.expires_at, given.forget_at
         from ${given.holds.select} as given where true
         on conflict (tenant, hold) do update set epoch = excluded.epoch, revision = excluded.revision,
           body = excluded.body, expires_at = excluded.expires_at, forget_at = excluded.forget_at
         where ${isLater('metering_quota_ledger_holds')}`,
        tenant,
        epoch,
        revision,
        given.holds.parameter(
          holds.map(({ name, text, expiresAt, forgetAt }) => ({
            hold: name,
            body: text,
            expires_at: expiresAt,
            forget_at: forgetAt ?? NEVER
          }))
        )
      )
    }
    if (spends.length > 0) {
      // A key that comes once more after it was forgotten has a later end; one that was told before has the same.
      yield* execute(
        `insert into metering_quota_ledger_spends (tenant, token, memory_ms, body, expires_at)
         select ?, given.token, given.memory_ms, given.body, given.expires_at
         from ${given.spends.select} as given where true
         on conflict (tenant, token) do update set memory_ms = excluded.memory_ms, body = excluded.body,
           expires_at = excluded.expires_at
         where excluded.expires_at > metering_quota_ledger_spends.expires_at`,
        tenant,
        given.spends.parameter(
          latestOf(spends).map(({ token, memoryMs, value, expiresAt }) => ({
            token,
            memory_ms: memoryMs,
            body: value,
            expires_at: expiresAt
          }))
        )
      )
    }
    yield* dropOver(tenant, counters.length + holds.length + spends.length)
    return 'appended'
  }

  /** What is over, of this tenant, whose row is locked: no two units wait for each other here. */
  function* dropOver(tenant: string, came: number): Sql<void> {
    for (const [table, names, end, keptMs] of [
      ['metering_quota_ledger', 'epoch, revision, counter', 'appended_at', keepMs],
      ['metering_quota_ledger_counters', 'counter', 'forget_at', 0],
      ['metering_quota_ledger_holds', 'hold', 'forget_at', 0],
      ['metering_quota_ledger_spends', 'token', 'expires_at', 0]
    ] as const) {
      yield* execute(
        `delete from ${table} where tenant = ? and (${names}) in (
           select ${names} from ${table} where tenant = ? and ${end} <= ${dialect.now} - ? order by ${end} limit ?)`,
        tenant,
        tenant,
        keptMs,
        came * OVER_PER_ROW
      )
    }
  }

  /** Rows of the tenant that are not over, by name. */
  const page = <Row>(
    table: string,
    name: string,
    end: string,
    tenant: string,
    after: string,
    limit: number,
    rowOf: (row: SqlRow) => Row
  ): Promise<Row[]> =>
    db.run(function* () {
      const found = yield* rows(
        `select * from ${table} where tenant = ? and ${name} > ? and ${end} > ${dialect.now} order by ${name} limit ?`,
        tenant,
        after,
        limit
      )
      return found.map(rowOf)
    })

  return {
    supports: { durable: db.supports.durable },
    epoch: (tenant) =>
      db.run(function* () {
        const row = yield* firstRow('select epoch from metering_quota_epochs where tenant = ?', tenant)
        return row === undefined ? 0 : integerOf(row, 'epoch')
      }),
    append: (tenant, epoch, step) => db.run(() => append(tenant, epoch, step)),
    advance: (tenant, from) =>
      db.run(function* () {
        yield* execute('insert into metering_quota_epochs (tenant, epoch) values (?, 0) on conflict do nothing', tenant)
        const row = (yield* firstRow(
          `select epoch from metering_quota_epochs where tenant = ?${dialect.forUpdate}`,
          tenant
        )) as SqlRow
        const epoch = integerOf(row, 'epoch')
        if (epoch !== from) return { epoch, began: false }
        yield* execute('update metering_quota_epochs set epoch = ? where tenant = ?', from + 1, tenant)
        return { epoch: from + 1, began: true }
      }),
    counters: (tenant, after, limit) =>
      page('metering_quota_ledger_counters', 'counter', 'forget_at', tenant, after, limit, (row) => ({
        name: textOf(row, 'counter'),
        units: 0,
        forgetAt: endOf(row),
        state: textOf(row, 'state')
      })),
    holds: (tenant, after, limit) =>
      page('metering_quota_ledger_holds', 'hold', 'forget_at', tenant, after, limit, (row) => ({
        name: textOf(row, 'hold'),
        forgetAt: endOf(row),
        expiresAt: integerOf(row, 'expires_at'),
        text: textOf(row, 'body')
      })),
    spends: (tenant, after, limit) =>
      page('metering_quota_ledger_spends', 'token', 'expires_at', tenant, after, limit, (row) => ({
        token: textOf(row, 'token'),
        memoryMs: integerOf(row, 'memory_ms'),
        expiresAt: integerOf(row, 'expires_at'),
        value: textOf(row, 'body')
      }))
  }
}

/** A key may come several times in a step, and no statement inserts a row twice. */
function latestOf(spends: readonly SteppedSpend[]): SteppedSpend[] {
  const latest = new Map<string, SteppedSpend>()
  for (const spend of spends) {
    const known = latest.get(spend.token)
    if (known === undefined || known.expiresAt < spend.expiresAt) latest.set(spend.token, spend)
  }
  return [...latest.values()]
}

/** Steps reach the ledger in any order, and the latest is what counts. */
function isLater(table: string): string {
  return `(excluded.epoch > ${table}.epoch or (excluded.epoch = ${table}.epoch and excluded.revision > ${table}.revision))`
}

function endOf(row: SqlRow): number | null {
  const at = integerOf(row, 'forget_at')
  return at === NEVER ? null : at
}
