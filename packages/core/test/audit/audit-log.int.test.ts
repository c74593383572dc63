import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { postgresDatabase } from '@enablement/core/postgres'
import { execute, firstRow, integerOf, migrate } from '@enablement/core/sql'
import { afterAll, describe, expect, it } from 'vitest'
import { testSchemas } from '../postgres/test-schemas.ts'

const schemas = testSchemas()
afterAll(() => schemas.drop())

describe('an audit log on Postgres', () => {
  it('is forked by no number of writers on connections of their own, the first ones included', async () => {
    const pool = await schemas.pool({ max: 16 })
    const db = postgresDatabase(pool)
    await migrate(db, [auditSchema])
    const logs = Array.from({ length: 16 }, () => createAuditLog({ db: postgresDatabase(pool) }))
    for (const tenant of ['a', 'b', 'c']) {
      const refs = await Promise.all(
        logs.flatMap((log, writer) =>
          Array.from({ length: 4 }, (_, turn) =>
            log.record({ tenant, actor: `agent:${writer}`, action: 'test.ran', subject: `turn:${turn}` })
          )
        )
      )
      expect(new Set(refs.map((ref) => ref.sequence)).size).toBe(64)
      expect(await logs[0]?.verify(tenant)).toMatchObject({ outcome: 'intact', entries: 64 })
    }
    const row = await db.run(() => firstRow('select count(distinct hash) as hashes from audit_entries'))
    expect(integerOf(row ?? {}, 'hashes')).toBe(192)
  })

  it('verifies while it is being extended', async () => {
    const db = postgresDatabase(await schemas.pool({ max: 8 }))
    await migrate(db, [auditSchema])
    const log = createAuditLog({ db })
    const record = (turn: number) =>
      log.record({ tenant: 'a', actor: 'agent:1', action: 'test.ran', subject: `turn:${turn}` })
    const records = Promise.all(Array.from({ length: 100 }, (_, turn) => record(turn)))
    let extended = 0
    for (let done = false; !done; ) {
      const found = await log.verify('a')
      expect(found).toMatchObject({ outcome: 'intact' })
      if (found.outcome === 'intact') {
        extended += 1
        done = found.entries === 100
      }
    }
    await records
    expect(extended).toBeGreaterThan(1)
  })

  it('survives units that append for the same tenants in opposite orders', async () => {
    const db = postgresDatabase(await schemas.pool())
    await migrate(db, [auditSchema])
    const log = createAuditLog({ db })
    const entry = (tenant: string) => log.append({ tenant, actor: 'agent:1', action: 'test.ran', subject: 'turn:1' })
    const both = (first: string, second: string) =>
      db.run(function* () {
        yield* execute("set local deadlock_timeout = '20ms'")
        yield* entry(first)
        yield* entry(second)
      })
    await Promise.all(Array.from({ length: 8 }, (_, at) => (at % 2 === 0 ? both('a', 'b') : both('b', 'a'))))
    expect(await log.verify('a')).toMatchObject({ outcome: 'intact', entries: 8 })
    expect(await log.verify('b')).toMatchObject({ outcome: 'intact', entries: 8 })
  })
})
