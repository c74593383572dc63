import { firstRow, integerOf, migrate, type SqlRow } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaLedger } from '@enablement/metering/sql'
import { describe, expect, it } from 'vitest'
import { examineQuotaLedger } from './quota-ledger-exam.ts'

async function stage(options: { readonly keepMs?: number } = {}) {
  const clock = virtualClock()
  clock.jumpWallTo(Date.UTC(2040, 0, 1))
  const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
  await migrate(db, [meteringSchema])
  return { db, clock, ledger: sqlQuotaLedger(db, options), tenant: 'org' }
}

describe('the ledger of quotas on SQLite', () => {
  examineQuotaLedger(stage)

  it('shrinks by itself, and keeps steps for as long as it was told', async () => {
    const { db, clock, ledger } = await stage({ keepMs: 1_000 })
    const count = async (table: string): Promise<number> =>
      integerOf((await db.run(() => firstRow(`select count(*) as rows from ${table}`))) as SqlRow, 'rows')
    await ledger.advance('org', 0)
    let now = clock.now()
    for (let revision = 1; revision <= 40; revision++) {
      const forgetAt = now + 500
      await ledger.append('org', 1, {
        revision,
        counters: [{ name: `c${revision}`, units: 1, forgetAt, state: 's' }],
        spends: [{ memoryMs: 500, token: `t${revision}`, expiresAt: forgetAt, value: 'v' }],
        holds: [{ name: `h${revision}`, forgetAt, expiresAt: forgetAt, text: 'h' }]
      })
      now += 100
      clock.jumpWallTo(now)
    }
    expect(await count('metering_quota_ledger')).toBeLessThanOrEqual(11)
    for (const kind of ['counters', 'spends', 'holds']) {
      expect(await count(`metering_quota_ledger_${kind}`)).toBeLessThanOrEqual(6)
    }
  })

  it('refuses options that are none', async () => {
    const { db } = await stage()
    expect(() => sqlQuotaLedger(db, { keepMs: 0 })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(() => sqlQuotaLedger(db, { keep: 1 } as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
