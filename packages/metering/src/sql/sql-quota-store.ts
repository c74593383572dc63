import { rows, type Sql, type SqlDatabase, textOf } from '@enablement/core/sql'
import { decideExtend, decideHold } from '../quota/hold.ts'
import { EXPIRED_PER_CALL } from '../quota/hold-expiry.ts'
import { holdKey } from '../quota/hold-record.ts'
import { decideSettle } from '../quota/hold-settlement.ts'
import { counterKeys } from '../quota/keyed-charges.ts'
import type { ExpiredHold, QuotaStore } from '../quota/quota-store.ts'
import { readCounters } from '../quota/reading.ts'
import {
  checkConsume,
  checkEndExpired,
  checkExtend,
  checkHold,
  checkRead,
  checkSettle
} from '../quota/request-checks.ts'
import { decideSpends, spendKeys } from '../quota/spend.ts'
import { type QuotaWork, quotaUnits } from './quota-work.ts'

/**
 * Quotas in a database that has taken `meteringSchema`. Each call is one unit, and those of a tenant wait for each other;
 * windows follow the database's clock, read once the tenant is locked.
 */
export function sqlQuotaStore(db: SqlDatabase): QuotaStore {
  const units = quotaUnits(db.dialect)

  /** One call: `load` reads what `decide` needs. */
  function* step<Answer>(
    tenant: string,
    keys: readonly string[],
    load: (work: QuotaWork) => Sql<void>,
    decide: (set: QuotaWork['set']) => Answer
  ): Sql<Answer> {
    const work = yield* units.begin(tenant, keys)
    yield* work.endExpired(EXPIRED_PER_CALL)
    yield* load(work)
    const answer = decide(work.set)
    yield* work.write()
    return answer
  }

  const run = <Answer>(
    tenant: string,
    counters: readonly string[],
    load: (work: QuotaWork) => Sql<void>,
    decide: (set: QuotaWork['set']) => Answer,
    options: { readonly signal?: AbortSignal } | undefined
  ): Promise<Answer> => db.run(() => step(tenant, counters, load, decide), options)

  return {
    supports: { durable: db.supports.durable, shared: true, pipelined: false },
    async consume(tenant, groups, options) {
      checkConsume(tenant, groups)
      const counters = [...new Set(groups.flatMap(({ charges }) => counterKeys(charges)))]
      const spends = [...new Set(groups.flatMap(spendKeys))]
      return run(
        tenant,
        counters,
        (work) => work.spends(spends),
        (set) => decideSpends(set, groups),
        options
      )
    },
    async hold(tenant, request, options) {
      checkHold(tenant, request)
      return run(tenant, counterKeys(request.charges), holdOf(request), (set) => decideHold(set, request), options)
    },
    async settle(tenant, request, options) {
      checkSettle(tenant, request)
      return run(tenant, counterKeys(request.charges), holdOf(request), (set) => decideSettle(set, request), options)
    },
    async extend(tenant, request, options) {
      checkExtend(tenant, request)
      return run(tenant, counterKeys(request.charges), holdOf(request), (set) => decideExtend(set, request), options)
    },
    async read(tenant, charges, options) {
      checkRead(tenant, charges)
      return run(tenant, counterKeys(charges), nothing, (set) => readCounters(set, charges), options)
    },
    async endExpired(limit, options) {
      checkEndExpired(limit)
      const ended: ExpiredHold[] = []
      while (ended.length < limit) {
        const tenants = await db.run(() => overdueTenants(db, limit - ended.length), options)
        if (tenants.length === 0) break
        // A unit each: no unit has two tenants locked.
        for (const tenant of tenants) {
          const most = limit - ended.length
          if (most > 0) ended.push(...(await db.run(() => endExpiredOf(tenant, most), options)))
        }
      }
      return ended
    }
  }

  function* endExpiredOf(tenant: string, limit: number): Sql<readonly ExpiredHold[]> {
    const work = yield* units.begin(tenant, [])
    const over = yield* work.endExpired(limit)
    yield* work.write()
    return over.map(({ scope, key }) => ({ tenant, scope, key }))
  }
}

/** Reads the hold that a call is about. */
function holdOf(request: { readonly scope: string; readonly key: string }): (work: QuotaWork) => Sql<void> {
  return (work) => work.hold(holdKey(request))
}

function* nothing(): Sql<void> {}

/** The tenants of the holds whose time has been over for longest. */
function* overdueTenants(db: SqlDatabase, holds: number): Sql<readonly string[]> {
  const over = yield* rows(
    `select tenant from metering_quota_holds where forget_at is null and expires_at <= ${db.dialect.now}
     order by expires_at limit ?`,
    holds
  )
  return [...new Set(over.map((row) => textOf(row, 'tenant')))]
}
