import { connect, createServer, type Server, type Socket } from 'node:net'
import { systemPlatform } from '@enablement/core'
import { postgresDatabase } from '@enablement/core/postgres'
import { changes, execute, firstRow, integerOf, migrate, rows, type Schema, textOf } from '@enablement/core/sql'
import pg from 'pg'
import { afterAll, afterEach, describe, expect, inject, it } from 'vitest'
import { testSchemas } from './test-schemas.ts'

const schema: Schema = {
  component: 'test',
  migrations: [
    {
      version: 1,
      name: 'notes',
      sqlite: ['select 1'],
      postgres: ['create table notes (id bigint primary key, body text)']
    }
  ]
}

const schemas = testSchemas()
afterAll(() => schemas.drop())

const add = (id: number) => execute('insert into notes(id, body) values (?, ?)', id, 'kept')

async function ids(pool: pg.Pool): Promise<number[]> {
  const found = await pool.query<{ id: string }>('select id from notes order by id')
  return found.rows.map((row) => Number(row.id))
}

async function prepared(config: pg.PoolConfig = {}, options = {}) {
  const pool = await schemas.pool(config)
  const db = postgresDatabase(pool, options)
  await migrate(db, [schema])
  return { pool, db }
}

/** Pauses of no length, and a list of those that were asked for. */
function hurriedPlatform() {
  const pauses: number[] = []
  const { clock, random } = systemPlatform
  const startTimer: typeof clock.startTimer = (delayMs, onElapsed, options) => {
    pauses.push(delayMs)
    return clock.startTimer(0, onElapsed, options)
  }
  return { pauses, platform: { random, clock: { ...clock, startTimer } } }
}

const conflict = "do $$ begin raise exception 'met another unit' using errcode = '40001'; end $$"

describe('contention on Postgres', () => {
  it('runs a unit again that the server rolled back for the sake of another', async () => {
    const { platform, pauses } = hurriedPlatform()
    const { pool, db } = await prepared({}, { platform })
    let attempts = 0
    await db.run(function* () {
      attempts += 1
      yield* add(attempts)
      if (attempts < 4) yield* execute(conflict)
    })
    expect(attempts).toBe(4)
    expect(await ids(pool)).toEqual([4])
    expect(pauses).toHaveLength(3)
    for (const [at, pause] of pauses.entries()) expect(pause).toBeLessThan(5 * 2 ** at)
  })

  it('runs it again even if the unit put an error of its own in the place of the conflict', async () => {
    const { platform } = hurriedPlatform()
    const { pool, db } = await prepared({}, { platform })
    let attempts = 0
    await db.run(function* () {
      attempts += 1
      try {
        if (attempts === 1) yield* execute(conflict)
      } catch {
        throw new Error('the unit gave up')
      }
      yield* add(1)
    })
    expect(await ids(pool)).toEqual([1])
  })

  it('gives up after ten attempts, without an effect', async () => {
    const { platform, pauses } = hurriedPlatform()
    const { pool, db } = await prepared({}, { platform })
    const unit = db.run(function* () {
      yield* add(1)
      yield* execute(conflict)
    })
    await expect(unit).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', detail: { store: 'postgres' } })
    expect(pauses).toHaveLength(9)
    expect(Math.max(...pauses)).toBeLessThan(500)
    expect(await ids(pool)).toEqual([])
  })

  it('heeds the signal between two attempts', async () => {
    const { pool, db } = await prepared()
    const controller = new AbortController()
    const reason = new Error('no longer wanted')
    const unit = db.run(
      function* () {
        yield* add(1)
        controller.abort(reason)
        yield* execute(conflict)
      },
      { signal: controller.signal }
    )
    await expect(unit).rejects.toBe(reason)
    expect(await ids(pool)).toEqual([])
  })

  it('survives a real deadlock', async () => {
    const { pool, db } = await prepared()
    await db.run(function* () {
      yield* add(1)
      yield* add(2)
    })
    const touch = (first: number, second: number) => () =>
      (function* () {
        yield* execute("set local deadlock_timeout = '20ms'")
        yield* execute('update notes set body = body || ? where id = ?', '+', first)
        yield* execute('select pg_sleep(0.1)')
        yield* execute('update notes set body = body || ? where id = ?', '+', second)
      })()
    await Promise.all([db.run(touch(1, 2)), db.run(touch(2, 1))])
    const found = await pool.query('select body from notes')
    expect(found.rows.map((row) => row.body)).toEqual(['kept++', 'kept++'])
  })
})

describe('a Postgres connection that fails', () => {
  const servers: Server[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })

  /** A way to the server on which `onRequest` sees, and can stop, every packet that a client sends. */
  async function through(onRequest: (packet: Buffer, client: Socket, forward: () => void) => void): Promise<string> {
    const url = new URL(inject('postgresUrl'))
    const host = url.searchParams.get('host')
    const port = Number(url.port === '' ? 5432 : url.port)
    const server = createServer((client) => {
      const upstream =
        host?.startsWith('/') === true ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, url.hostname)
      client.on('data', (packet: Buffer) => onRequest(packet, client, () => upstream.write(packet)))
      upstream.on('data', (packet) => client.write(packet))
      for (const [one, other] of [
        [client, upstream],
        [upstream, client]
      ] as const) {
        one.on('error', () => {})
        one.on('close', () => other.destroy())
      }
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    url.searchParams.delete('host')
    url.hostname = '127.0.0.1'
    url.port = String(typeof address === 'object' ? address?.port : 0)
    return url.href
  }

  const isCommit = (packet: Buffer): boolean => packet.includes('commit\0')

  it.each([
    { reached: true, kept: [7] },
    { reached: false, kept: [] }
  ])('is COMMIT_UNKNOWN when it is lost during COMMIT (reached the server: $reached)', async ({ reached, kept }) => {
    const { pool, db: direct } = await prepared()
    const schemaName = (await pool.query('select current_schema() as name')).rows[0].name
    let armed = true
    const connectionString = await through((packet, client, forward) => {
      if (!armed || !isCommit(packet)) return forward()
      armed = false
      if (reached) forward()
      // The server's reply has no way back any more.
      client.removeAllListeners('data')
      setImmediate(() => client.destroy())
    })
    const fragile = new pg.Pool({ connectionString, options: `-c search_path=${schemaName}` })
    const db = postgresDatabase(fragile)
    await expect(db.run(() => add(7))).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN', detail: { store: 'postgres' } })
    // A unit that takes the same row waits until the server has made up its mind about the lost one.
    await direct.run(() => execute('insert into notes(id, body) values (?, ?) on conflict do nothing', 7, 'probe'))
    const found = await pool.query('select body from notes')
    expect(found.rows.map((row) => row.body)).toEqual(kept.length === 1 ? ['kept'] : ['probe'])
    await db.run(() => add(8))
    expect(await ids(pool)).toEqual([7, 8])
    await db.close()
    await fragile.end()
  })

  it('is STORE_UNAVAILABLE when it is lost inside a unit, which has no effect, and the next unit gets another', async () => {
    const { pool, db } = await prepared()
    const unit = db.run(function* () {
      yield* add(1)
      yield* execute('select pg_terminate_backend(pg_backend_pid())')
      yield* add(2)
    })
    await expect(unit).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', detail: { operation: 'run a statement' } })
    await db.run(() => add(3))
    expect(await ids(pool)).toEqual([3])
  })

  it('ends no process when it is lost while idle', async () => {
    const { pool, db } = await prepared({ max: 1 })
    const row = await db.run(() => firstRow('select pg_backend_pid() as pid'))
    const lost = new Promise((resolve) => pool.once('remove', resolve))
    const other = new pg.Client({ connectionString: inject('postgresUrl') })
    await other.connect()
    await other.query('select pg_terminate_backend($1)', [integerOf(row ?? {}, 'pid')])
    await other.end()
    await lost
    await db.run(() => add(1))
    expect(await ids(pool)).toEqual([1])
  })

  it('is STORE_UNAVAILABLE where nobody listens, and says nothing of host or password', async () => {
    const url = await through(() => {})
    for (const server of servers.splice(0)) server.close()
    const password = 'hunter2-correct-horse'
    const pool = new pg.Pool({ connectionString: url, password, user: 'nobody' })
    const error = await postgresDatabase(pool)
      .run(() => rows('select 1'))
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', detail: { store: 'postgres', operation: 'connect' } })
    expect((error as Error).message).toBe('postgres cannot connect: ECONNREFUSED')
    expect(JSON.stringify(error)).not.toContain('127.0.0.1')
  })

  it('is STORE_UNAVAILABLE when the server turns it away, and names neither user nor database', async () => {
    for (const wrong of [{ database: 'no_such_database' }, { user: 'no_such_user' }]) {
      const url = new URL(inject('postgresUrl'))
      if (wrong.database !== undefined) url.pathname = wrong.database
      else url.username = wrong.user
      const pool = new pg.Pool({ connectionString: url.href })
      const error = await postgresDatabase(pool)
        .run(() => rows('select 1'))
        .catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', detail: { store: 'postgres', operation: 'connect' } })
      expect((error as Error).message).toMatch(/^postgres cannot connect: SQLSTATE \w{5}$/)
      await pool.end()
    }
  })

  it('is STORE_UNAVAILABLE when a statement or a lock takes longer than the pool allows, or the server is read-only', async () => {
    const { pool, db } = await prepared({ max: 1 })
    // Within the unit, so that a busy machine's own statements are not what runs out of time.
    const limited = (setting: string, text: string) =>
      db.run(function* () {
        yield* execute(`set local ${setting}`)
        yield* execute(text)
      })
    await expect(limited('statement_timeout = 50', 'select pg_sleep(10)')).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE'
    })
    const blocker = new pg.Client({ connectionString: inject('postgresUrl') })
    await blocker.connect()
    await blocker.query('begin; select pg_advisory_xact_lock(99)')
    await expect(limited('lock_timeout = 20', 'select pg_advisory_xact_lock(99)')).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE'
    })
    await blocker.end()
    const locked = db.run(function* () {
      yield* execute('set transaction read only')
      yield* add(1)
    })
    await expect(locked).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    // The connection itself was never in doubt.
    expect(pool.totalCount).toBe(1)
    await pool.query('drop table notes, enablement_migrations')
  })
})

describe('a Postgres pool', () => {
  it('stays the caller’s: closing the database ends nothing and leaves no more than one listener', async () => {
    const pool = await schemas.pool()
    for (let other = 0; other < 20; other++) await postgresDatabase(pool).close()
    const db = postgresDatabase(pool)
    const client = await pool.connect()
    const clientListeners = client.listenerCount('error')
    client.release()
    for (let round = 0; round < 20; round++) await db.run(() => rows('select 1'))
    await db.close()
    expect(pool.listenerCount('error')).toBe(1)
    const again = await pool.connect()
    expect(again).toBe(client)
    expect(again.listenerCount('error')).toBe(clientListeners)
    again.release()
  })

  it('gets every client back, also from a unit whose signal aborted while it waited for one', async () => {
    const { pool, db } = await prepared({ max: 1 })
    const held = await pool.connect()
    const controller = new AbortController()
    const reason = new Error('no longer wanted')
    const unit = db.run(() => add(1), { signal: controller.signal })
    controller.abort(reason)
    await expect(unit).rejects.toBe(reason)
    held.release()
    await db.run(() => add(2))
    expect(await ids(pool)).toEqual([2])
    expect([pool.idleCount, pool.waitingCount]).toEqual([1, 0])
  })

  it('takes a bounded number of units', async () => {
    const { pool, db } = await prepared({ max: 1 }, { queueMax: 2 })
    const units = [1, 2, 3].map((id) => db.run(() => add(id)))
    await expect(units[2]).rejects.toMatchObject({ code: 'OVERLOADED', detail: { waiting: 2, limit: 2 } })
    await Promise.all(units.slice(0, 2))
    expect(await ids(pool)).toEqual([1, 2])
  })

  it('is refused where it is not one, and so are options that are not known', async () => {
    const pool = await schemas.pool()
    expect(() => postgresDatabase(pool, { retries: 3 } as never)).toThrow(/retries/)
    expect(() => postgresDatabase(pool, { queueMax: 0 })).toThrow(/queueMax/)
  })

  it('keeps the parsers that the application has set', async () => {
    const pool = await schemas.pool()
    const parser = pg.types.getTypeParser(20)
    pg.types.setTypeParser(20, () => 'mine')
    try {
      const row = await postgresDatabase(pool).run(() => firstRow('select 5::bigint as n'))
      expect(row).toEqual({ n: 5 })
      expect((await pool.query('select 5::bigint as n')).rows).toEqual([{ n: 'mine' }])
    } finally {
      pg.types.setTypeParser(20, parser)
    }
  })
})

describe('statements on Postgres', () => {
  const preparedTexts = () => rows("select statement from pg_prepared_statements where name like 'enablement%'")

  it('are prepared once per connection, up to a bound', async () => {
    const { db } = await prepared({ max: 1 })
    await db.run(function* () {
      for (let text = 0; text < 600; text++) yield* rows(`select ${text} + ?::bigint as n`, 1)
    })
    const found = await db.run(preparedTexts)
    expect(found.length).toBeGreaterThan(400)
    expect(found.length).toBeLessThanOrEqual(512)
  })

  it('are not prepared when told so', async () => {
    const { db } = await prepared({ max: 1 }, { prepare: false })
    await db.run(() => add(1))
    expect(await db.run(preparedTexts)).toEqual([])
  })

  it('can be shared by two databases on one pool', async () => {
    const { pool, db } = await prepared({ max: 1 })
    const other = postgresDatabase(pool)
    expect(await db.run(() => changes('insert into notes(id) values (?)', 1))).toBe(1)
    expect(await other.run(() => changes('delete from notes where id = ?', 1))).toBe(1)
    expect(await other.run(() => changes('insert into notes(id) values (?)', 1))).toBe(1)
  })

  it('go on when a migration changes the table under them', async () => {
    const { pool, db } = await prepared({ max: 12 })
    const all = () => rows('select * from notes')
    await db.run(() => add(1))
    await Promise.all(Array.from({ length: 12 }, () => db.run(all)))
    await pool.query("alter table notes add column colour text default 'red'")
    for (let round = 0; round < 14; round++) expect(await db.run(all)).toEqual([{ id: 1, body: 'kept', colour: 'red' }])
  })

  it('run at READ COMMITTED, whatever the server’s default', async () => {
    const { db } = await prepared()
    const row = await db.run(() => firstRow('show transaction_isolation'))
    expect(textOf(row ?? {}, 'transaction_isolation')).toBe('read committed')
  })

  it('see the clock go on while a unit waits', async () => {
    const { db } = await prepared()
    const passedMs = await db.run(function* () {
      const before = yield* firstRow(`select ${db.dialect.now} as now`)
      yield* execute('select pg_sleep(0.02)')
      const after = yield* firstRow(`select ${db.dialect.now} as now`)
      return integerOf(after ?? {}, 'now') - integerOf(before ?? {}, 'now')
    })
    expect(passedMs).toBeGreaterThanOrEqual(20)
  })

  it('give sums as integers, and fractions as Postgres prints them', async () => {
    const { db } = await prepared()
    const row = await db.run(() =>
      firstRow('select sum(n) as total, avg(n) as mean, 1.5::float8 as half from (values (1::bigint), (2)) as t(n)')
    )
    expect(row).toEqual({ total: 3, mean: '1.5000000000000000', half: 1.5 })
  })
})
