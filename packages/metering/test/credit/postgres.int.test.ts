import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { createCredits } from '@enablement/metering'
import { meteringSchema, sqlCreditStore } from '@enablement/metering/sql'
import { creditStoreConformance } from '@enablement/metering/testing'
import { ownSchema } from '@enablement/services/own-schema'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { derived } from './reference-wallet.ts'

let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `org-${tenants}`
}

const own = ownSchema(inject('postgresUrl'), { max: 12 })
const database = postgresDatabase(own.pool)

beforeAll(async () => {
  await own.create()
  await migrate(database, [meteringSchema])
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

describe('the SQL credit store on Postgres', () => {
  const create = async () => {
    const clock = virtualClock()
    const store = sqlCreditStore(withStoreClock(database, clock))
    return { store, clock, tenant: freshTenant(), [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(creditStoreConformance, { create, supports: {} })) it(name, run)

  it('sells what there is and no more to twelve connections that charge, hold, commit and reverse at once', async () => {
    const wallet = createCredits({
      store: sqlCreditStore(database),
      units: [{ name: 'credits', scale: 0 }],
      onOverrun: 'waive',
      expiredReversal: 'breakage'
    }).wallet({ tenant: freshTenant(), account: 'acc', unit: 'credits' })
    for (let at = 0; at < 10; at++) await wallet.grant({ id: `g${at}`, amount: '20' })
    let sold = 0
    await Promise.all(
      Array.from({ length: 24 }, async (_, caller) => {
        for (let call = 0; call < 6; call++) {
          const idempotencyKey = `${call % 2 === 0 ? caller : Math.floor(caller / 2)}-${call}`
          const amount = 1 + ((caller + call) % 7)
          if (call % 3 === 2) {
            const held = await wallet.hold('5', { idempotencyKey: `h-${idempotencyKey}`, ttlMs: 60_000 })
            if (held.outcome !== 'held' || held.replayed) continue
            const committed = await wallet.commit(`h-${idempotencyKey}`, '3')
            if (committed.outcome === 'committed' && !committed.replayed) sold += 3
            continue
          }
          const charged = await wallet.charge(`${amount}`, { idempotencyKey })
          if (charged.outcome !== 'charged' || charged.replayed) continue
          sold += amount
          if (call % 3 !== 1) continue
          const reversed = await wallet.reverse(idempotencyKey, { idempotencyKey: `r-${idempotencyKey}`, amount: '1' })
          if (reversed.outcome === 'reversed' && !reversed.replayed) sold -= 1
        }
      })
    )
    const sums = await derived(wallet)
    expect(sums.owed).toBe(0n)
    expect(sums.held).toBe(0n)
    expect(sums.free).toBe(200n - BigInt(sold))
  })

  it('makes a wallet once for first grants that meet', async () => {
    const wallet = createCredits({
      store: sqlCreditStore(database),
      onOverrun: 'owe',
      expiredReversal: 'breakage'
    }).wallet({ tenant: freshTenant(), account: 'acc', unit: 'EUR' })
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, at) => wallet.grant({ id: `g${at % 6}`, amount: '1.50' }))
    )
    expect(answers.filter((answer) => answer.outcome === 'granted' && !answer.replayed)).toHaveLength(6)
    expect((await wallet.balance()).balance).toBe('9.00')
  })
})
