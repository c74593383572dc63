import {
  auditSchema,
  type CheckpointSink,
  type CompletenessEvent,
  createAuditLog,
  createAuditSealer,
  createCheckpointKey,
  createCompletenessCheck,
  ed25519Signer,
  sqlCheckpointSink,
  verifyAuditLog
} from '@enablement/core/audit'
import { admitFence, lockSchema } from '@enablement/core/lock'
import {
  enlist,
  type PgPool,
  type PgPooledClient,
  type PgQuery,
  type PgResult,
  postgresDatabase
} from '@enablement/core/postgres'
import { execute, firstRow, integerOf, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { checkpointSinkConformance, conformanceTests } from '@enablement/core/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { testSchemas } from '../postgres/test-schemas.ts'

const schemas = testSchemas()
afterAll(() => schemas.drop())

const { signal } = new AbortController()
const key = createCheckpointKey('audit.example.com')
const signer = ed25519Signer(key.signingKey)

const draft = (subject: number | string, tenant = 'a') => ({
  tenant,
  actor: 'agent:1',
  action: 'test.ran',
  subject: `turn:${subject}`
})

async function database(
  max = 16
): Promise<{ readonly db: SqlDatabase; readonly pool: Awaited<ReturnType<typeof schemas.pool>> }> {
  const pool = await schemas.pool({ max })
  const db = postgresDatabase(pool)
  await migrate(db, [auditSchema, lockSchema])
  return { db, pool }
}

const sealAll = async (
  db: SqlDatabase,
  sink: CheckpointSink = sqlCheckpointSink({ db }),
  batchRows = 64
): Promise<void> => {
  const sealer = createAuditSealer({ db, signer, sink, batchRows })
  while ((await sealer.duty.run({ signal })).handled > 0);
}

describe('an audit log on Postgres', () => {
  it.for(['deferred', 'chained'] as const)(
    'is forked by no number of %s writers on connections of their own, the first ones and a sealer included (§5 Audit)',
    async (ordering) => {
      const { db, pool } = await database()
      const logs = Array.from({ length: 16 }, () => createAuditLog({ db: postgresDatabase(pool), ordering }))
      for (const tenant of ['a', 'b', 'c']) {
        const writing = Promise.all(
          logs.flatMap((log, writer) =>
            Array.from({ length: 10 }, (_, turn) => log.record(draft(`${writer}/${turn}`, tenant)))
          )
        )
        const refs = await Promise.all([writing, sealAll(db)]).then(([made]) => made)
        expect(new Set(refs.map(({ id }) => id)).size).toBe(160)
        await sealAll(db)
        expect(await verifyAuditLog(db, tenant, { verifierKey: key.verifierKey })).toMatchObject({
          outcome: 'intact',
          sealed: 160,
          signed: 160
        })
      }
      const row = await db.run(() => firstRow('select count(distinct leaf_hash) as hashes from audit_entries'))
      expect(integerOf(row ?? {}, 'hashes')).toBe(480)
    }
  )

  it('is forked by no number of writers that append to several logs at once, in any order, and lets them all through', async () => {
    const { db, pool } = await database()
    const logs = Array.from({ length: 16 }, () => createAuditLog({ db: postgresDatabase(pool), ordering: 'chained' }))
    const tenants = ['a', 'b', 'c', 'd', 'e']
    const refs = await Promise.all(
      logs.flatMap((log, writer) =>
        Array.from({ length: 5 }, (_, turn) => {
          const of = tenants.filter((_tenant, at) => (writer + turn + at) % 4 !== 0)
          if (writer % 2 === 0) of.reverse()
          const drafts = of.flatMap((tenant) => [
            draft(`${writer}/${turn}/0`, tenant),
            draft(`${writer}/${turn}/1`, tenant)
          ])
          return log.record(draft('alone', tenants[writer % 5])).then(() => db.run(() => log.appendAll(drafts)))
        })
      )
    )
    await sealAll(db)
    const all = refs.flat()
    for (const [at, tenant] of tenants.entries()) {
      const alone = logs.filter((_, writer) => writer % 5 === at).length * 5
      const entries = alone + all.filter((ref) => ref.tenant === tenant).length
      expect(await verifyAuditLog(db, tenant, { verifierKey: key.verifierKey })).toMatchObject({
        outcome: 'intact',
        entries,
        sealed: entries,
        signed: entries
      })
    }
  })

  it('makes later leaves of entries that are committed late, whatever has been sealed meanwhile (pitfall 12)', async () => {
    const { db, pool } = await database()
    const log = createAuditLog({ db })
    const client = await pool.connect()
    await client.query('begin')
    const early = await enlist(client).run(() => log.append(draft('early')))
    for (let number = 0; number < 5; number++) await log.record(draft(number))
    await sealAll(db)
    expect((await log.read('a')).map(({ subject }) => subject)).toEqual(
      [0, 1, 2, 3, 4].map((number) => `turn:${number}`)
    )
    const before = await verifyAuditLog(db, 'a', { verifierKey: key.verifierKey })
    expect(before).toMatchObject({ outcome: 'intact', sealed: 5, signed: 5 })
    await client.query('commit')
    client.release()
    await log.record(draft('last'))
    await sealAll(db)
    const entries = await log.read('a')
    expect(entries.map(({ subject }) => subject)).toEqual([
      ...[0, 1, 2, 3, 4].map((number) => `turn:${number}`),
      'turn:early',
      'turn:last'
    ])
    // Its row is the first of the table, and its leaf the sixth of the tree.
    const first = await db.run(() => firstRow('select id, leaf_index from audit_entries order by position limit 1'))
    expect(first).toEqual({ id: early.id, leaf_index: 5 })
    expect(await verifyAuditLog(db, 'a', { verifierKey: key.verifierKey })).toMatchObject({ sealed: 7, signed: 7 })
  })

  it('never makes leaves of what is rolled back, a unit in a transaction of the caller included (pitfall 13)', async () => {
    const { db, pool } = await database()
    const log = createAuditLog({ db })
    const client = await pool.connect()
    await client.query('begin')
    await enlist(client).run(() => log.append(draft('never')))
    await log.record(draft(1))
    await sealAll(db)
    await client.query('rollback')
    client.release()
    await log.record(draft(2))
    await sealAll(db)
    expect((await log.read('a')).map(({ subject, leafIndex }) => [subject, leafIndex])).toEqual([
      ['turn:1', 0],
      ['turn:2', 1]
    ])
    expect(await log.verify('a')).toMatchObject({ outcome: 'intact', sealed: 2 })
  })

  it('numbers without a gap when an entry is deleted while it is sealed', async () => {
    const { db, pool } = await database()
    const log = createAuditLog({ db })
    for (let turn = 0; turn < 5; turn++) await log.record(draft(turn))
    const client = await pool.connect()
    await client.query('begin')
    await client.query(`delete from audit_entries where subject = 'turn:2'`)
    const sealing = sealAll(db)
    const waiting = 'select count(*) as n from pg_stat_activity where wait_event_type = $1 and query like $2'
    for (let n = 0; n === 0; ) {
      const { rows } = await pool.query<{ readonly n: string }>(waiting, ['Lock', '%update audit_entries%'])
      n = Number(rows[0]?.n)
    }
    await client.query('commit')
    client.release()
    await expect(sealing).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
    await sealAll(db)
    expect((await log.read('a')).map(({ leafIndex }) => leafIndex)).toEqual([0, 1, 2, 3])
    expect(await log.verify('a')).toMatchObject({ outcome: 'intact', sealed: 4 })
  })

  it('lets nobody wait for a tenant’s other units unless it is chained (pitfall 12)', async () => {
    const { db, pool } = await database()
    const blocked = async (ordering: 'deferred' | 'chained'): Promise<boolean> => {
      const log = createAuditLog({ db, ordering })
      await log.record(draft('head'))
      const client = await pool.connect()
      await client.query('begin')
      await enlist(client).run(() => log.append(draft('held')))
      const unit = db.run(function* () {
        yield* execute(`set local lock_timeout = '200ms'`)
        return yield* log.append(draft('other'))
      })
      const outcome = await unit.then(
        () => false,
        () => true
      )
      await client.query('commit')
      client.release()
      return outcome
    }
    expect(await blocked('deferred')).toBe(false)
    expect(await blocked('chained')).toBe(true)
  })

  it('verifies and is read without gaps while it is extended and sealed', async () => {
    const { db } = await database(8)
    const log = createAuditLog({ db })
    let writing = true
    const records = Promise.all(Array.from({ length: 300 }, (_, turn) => log.record(draft(turn)))).then(() => {
      writing = false
    })
    const sealing = (async () => {
      while (writing) await sealAll(db, undefined, 16)
    })()
    let seen = 0
    while (writing) {
      const found = await log.verify('a')
      expect(found).toMatchObject({ outcome: 'intact' })
      const entries = await log.read('a', { limit: 1_000 })
      expect(new Set(entries.map(({ id }) => id)).size).toBe(entries.length)
      expect(entries.length).toBeGreaterThanOrEqual(seen)
      seen = entries.length
    }
    await Promise.all([records, sealing])
    await sealAll(db)
    expect(await log.verify('a')).toMatchObject({ outcome: 'intact', entries: 300, sealed: 300 })
  })

  it('reads an entry that is sealed while it reads once, and not never', async () => {
    const { db, pool } = await database()
    const log = createAuditLog({ db })
    for (let turn = 0; turn < 5; turn++) await log.record(draft(turn))
    // Between the two statements of a page everything is sealed.
    let sealed = false
    const meddled: PgPool = {
      connect: async () => {
        const client: PgPooledClient = await pool.connect()
        return {
          query: async (query: PgQuery | string): Promise<PgResult> => {
            const result = await client.query(query as string)
            if (!sealed && typeof query !== 'string' && query.text.includes('from audit_entries')) {
              sealed = true
              await sealAll(db)
            }
            return result
          },
          release: (destroy) => client.release(destroy)
        }
      }
    }
    const entries = await createAuditLog({ db: postgresDatabase(meddled) }).read('a')
    expect(sealed).toBe(true)
    expect(entries.map(({ leafIndex }) => leafIndex)).toEqual([0, 1, 2, 3, 4])
  })

  it('has each entry once of chained units that met in opposite orders and were run again (pitfall 13)', async () => {
    const { db } = await database()
    const log = createAuditLog({ db, ordering: 'chained' })
    const both = (first: string, second: string) =>
      db.run(function* () {
        yield* execute("set local deadlock_timeout = '20ms'")
        yield* log.append(draft(1, first))
        yield* log.append(draft(1, second))
      })
    await Promise.all(Array.from({ length: 8 }, (_, at) => (at % 2 === 0 ? both('a', 'b') : both('b', 'a'))))
    expect(await log.verify('a')).toMatchObject({ outcome: 'intact', entries: 8, sealed: 8 })
    expect(await log.verify('b')).toMatchObject({ outcome: 'intact', entries: 8, sealed: 8 })
  })

  it('goes on beyond 2^32 leaves', async () => {
    const { db } = await database(2)
    const size = 2 ** 33
    await db.run(() =>
      execute(
        'insert into audit_heads(tenant, size, edge, signed_size) values (?, ?, ?, 0)',
        'a',
        size,
        new Uint8Array(32)
      )
    )
    await createAuditLog({ db }).record(draft('sealed'))
    await sealAll(db)
    const chained = createAuditLog({ db, ordering: 'chained' })
    expect(await chained.record(draft('chained'))).toMatchObject({ leafIndex: size + 1 })
    const entries = await chained.read('a', { after: size })
    expect(entries.map(({ leafIndex }) => leafIndex)).toEqual([size, size + 1])
  })

  it('is sealed by one of many sealers at a time, and by none with a stale fence (pitfall 10)', async () => {
    const { db, pool } = await database()
    const log = createAuditLog({ db })
    for (let turn = 0; turn < 120; turn++) await log.record(draft(turn, `tenant-${turn % 4}`))
    const sink = sqlCheckpointSink({ db })
    const sealers = Array.from({ length: 6 }, () =>
      createAuditSealer({ db: postgresDatabase(pool), signer, sink, batchRows: 8 })
    )
    for (let turn = 0; turn < 40; turn++) await Promise.all(sealers.map(({ duty }) => duty.run({ signal })))
    for (let tenant = 0; tenant < 4; tenant++) {
      expect(await verifyAuditLog(db, `tenant-${tenant}`, { verifierKey: key.verifierKey })).toMatchObject({
        outcome: 'intact',
        sealed: 30,
        signed: 30
      })
    }
    await log.record(draft('late', 'tenant-0'))
    await db.run(() => admitFence('audit.sealer', Number.MAX_SAFE_INTEGER))
    await expect(sealers[0]?.duty.run({ signal })).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    expect(await log.verify('tenant-0')).toMatchObject({ outcome: 'intact', entries: 31, sealed: 30 })
  })
})

describe('a completeness check on Postgres', () => {
  it('finds planted gaps, each once, however many workers sweep', async () => {
    const { db, pool } = await database()
    await db.run(() => execute('create table decisions (id bigint primary key)'))
    const log = createAuditLog({ db })
    const factOf = (id: number) => ({ tenant: 'a', subject: `decision:${id}`, action: 'decision.made' })
    for (let id = 0; id < 30; id++) {
      await db.run(function* () {
        yield* execute('insert into decisions(id) values (?)', id)
        if (id % 10 !== 3) yield* log.append({ ...factOf(id), actor: 'approver:bo' })
      })
    }
    const events: CompletenessEvent[] = []
    const checks = Array.from({ length: 4 }, () =>
      createCompletenessCheck({
        db: postgresDatabase(pool),
        pageRows: 7,
        observe: (event) => events.push(event),
        sources: [
          {
            name: 'test.decisions',
            *page(after, limit) {
              const found = yield* rows(
                'select id from decisions where id > ? order by id limit ?',
                Number(after ?? -1),
                limit
              )
              const ids = found.map((row) => integerOf(row, 'id'))
              return { facts: ids.map(factOf), next: ids.length === limit ? String(ids.at(-1)) : undefined }
            }
          }
        ]
      })
    )
    await Promise.all(
      checks.map(async ({ duty }) => {
        while ((await duty.run({ signal })).handled > 0);
      })
    )
    const gaps = events.flatMap((event) => (event.type === 'audit.gap-found' ? event.subject : []))
    expect(gaps.sort()).toEqual(['decision:13', 'decision:23', 'decision:3'])
    expect(events.filter(({ type }) => type === 'audit.completeness-swept')).toMatchObject([
      { checked: 30, gapCount: 3 }
    ])
  })
})

describe('sqlCheckpointSink on Postgres', () => {
  let subjects = 0
  const create = async () => {
    const { db, pool } = await database(8)
    return {
      sink: sqlCheckpointSink({ db }),
      reopen: async () => sqlCheckpointSink({ db: postgresDatabase(pool) }),
      name: `audit-${subjects++}.example.com`,
      [Symbol.asyncDispose]: () => pool.end()
    }
  }
  for (const { name, run } of conformanceTests(checkpointSinkConformance, { create, supports: { reopening: true } })) {
    it(name, run)
  }
})
