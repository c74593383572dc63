import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { execute, migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createMeter, type UsageEvent } from '@enablement/metering'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { describe, expect, it } from 'vitest'

const AT = Date.UTC(2026, 0, 15, 10, 30)
const event = (transactionId: string, tenant = 'org'): UsageEvent => ({
  tenant,
  subscription: 'sub',
  transactionId,
  metric: 'tokens',
  quantity: 1,
  at: AT
})

async function setUp() {
  const memory = sqliteDatabase({ path: ':memory:' })
  await migrate(memory, [auditSchema, meteringSchema])
  let units = 0
  const db: SqlDatabase = {
    ...memory,
    run(work, options) {
      units += 1
      return memory.run(work, options)
    }
  }
  const audit = createAuditLog({ db: memory })
  const meter = createMeter({ store: sqlUsageStore(db, { audit }) })
  const total = async (): Promise<number> => {
    const [found] = await meter.totals({ tenant: 'org', subscription: 'sub', from: AT, to: AT + 1 })
    return found?.events ?? 0
  }
  return { db: memory, meter, audit, total, units: () => units, [Symbol.asyncDispose]: () => memory.close() }
}

describe('callers who come at the same time', () => {
  it('share a unit, of 256 events at most', async () => {
    await using stage = await setUp()
    await Promise.all(Array.from({ length: 300 }, (_, at) => stage.meter.record(event(`t${at}`))))
    expect(stage.units()).toBe(2)
    const batches = Array.from({ length: 3 }, (_, batch) =>
      stage.meter.recordBatch(Array.from({ length: 200 }, (_, at) => event(`b${batch}-${at}`)))
    )
    await Promise.all(batches)
    expect(stage.units()).toBe(2 + 3)
    expect(await stage.total()).toBe(900)
  })

  it('do not fail with one whose event makes the unit fail', async () => {
    await using stage = await setUp()
    await stage.db.run(() =>
      execute(`create trigger poison before insert on metering_usage when new.transaction_id = 'bad'
        begin select raise(abort, 'refused'); end`)
    )
    const settled = await Promise.allSettled(['1', 'bad', '2'].map((id) => stage.meter.record(event(id))))
    expect(settled).toMatchObject([
      { status: 'fulfilled', value: { outcome: 'recorded' } },
      { status: 'rejected', reason: { code: 'STORE_FAILED', detail: { reason: 'CONSTRAINT_VIOLATED' } } },
      { status: 'fulfilled', value: { outcome: 'recorded' } }
    ])
    expect(await stage.total()).toBe(2)
    expect(await stage.audit.read('org')).toHaveLength(2)
  })

  it('leave evidence of the widest names there are', async () => {
    await using stage = await setUp()
    const widest = '億'.repeat(160)
    const ahead = { ...event(widest, widest), at: Date.now() + 3_600_000 }
    expect(await stage.meter.record(ahead)).toMatchObject({ outcome: 'quarantined' })
    const identity = { tenant: widest, subscription: 'sub', transactionId: widest }
    expect(await stage.meter.quarantine.discard({ ...identity, by: widest })).toMatchObject({ outcome: 'settled' })
    expect(await stage.audit.read(widest)).toMatchObject([
      { subject: `usage:${widest}` },
      { actor: widest, action: 'usage.discarded' }
    ])
  })

  it('may call it off until their unit begins', async () => {
    await using stage = await setUp()
    const off = new AbortController()
    const first = stage.meter.record(event('1'))
    await Promise.resolve()
    await Promise.resolve()
    const waiting = stage.meter.record(event('2'), { signal: off.signal })
    const other = stage.meter.record(event('3'))
    off.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    expect(await first).toMatchObject({ outcome: 'recorded' })
    expect(await other).toMatchObject({ outcome: 'recorded' })
    expect(await stage.total()).toBe(2)
  })

  it('are told when too many wait', async () => {
    await using memory = sqliteDatabase({ path: ':memory:' })
    const stuck = sqlUsageStore({ ...memory, run: () => new Promise(() => undefined) })
    const meter = createMeter({ store: stuck })
    const batch = Array.from({ length: 256 }, (_, at) => event(`t${at}`))
    const calls = Array.from({ length: 258 }, () => meter.recordBatch(batch))
    const refused = await (calls.at(-1) as (typeof calls)[number])
    expect(refused).toHaveLength(256)
    expect(refused[0]).toMatchObject({ outcome: 'unknown', error: { detail: { reason: 'OVERLOADED' } } })
  })
})
