import { createHash } from 'node:crypto'
import { canonicalJson } from '@enablement/core'
import {
  type AuditDraft,
  auditSchema,
  createAuditLog,
  createCheckpointKey,
  ed25519Signer,
  originOf,
  signCheckpoint,
  sqlCheckpointSink
} from '@enablement/core/audit'
import { pgliteDatabase } from '@enablement/core/postgres'
import { execute, firstRow, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, testPlatform } from '@enablement/core/testing'
import { startPglite } from '@enablement/services/pglite'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'

const AT = 1_760_000_000_000

const draft = (subject: number | string, tenant = 'org_42'): AuditDraft => ({
  tenant,
  actor: 'approver:bo',
  action: 'request.approved',
  subject: `request:${subject}`,
  detail: { amount: 12, reasons: ['ü', null] }
})

const sha256 = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

const pglite = await startPglite()
// Starting takes seconds on a busy machine; no test should pay for it.
afterAll(() => pglite.close())

const stores: readonly { name: string; open: () => Promise<SqlDatabase> }[] = [
  { name: 'SQLite', open: async () => sqliteDatabase({ path: ':memory:' }) },
  {
    name: 'PGlite',
    open: async () => {
      await pglite.exec('drop schema public cascade; create schema public')
      return pgliteDatabase(pglite)
    }
  }
]

describe.for(stores)('an audit log on $name', ({ open }) => {
  let db: SqlDatabase
  const platform = testPlatform({ now: AT })
  const log = (ordering: 'deferred' | 'chained' = 'deferred') => createAuditLog({ db, ordering, platform })
  beforeEach(async () => {
    db = await open()
    await migrate(db, [auditSchema])
    return () => db.close()
  })

  it('hashes exactly what it stores, as anybody can recompute (pitfall 12)', async () => {
    const ref = await log().record(draft(1))
    const row = await db.run(() => firstRow('select * from audit_entries'))
    const { detail, ...names } = draft(1)
    expect(row?.['detail']).toBe(canonicalJson(detail))
    const detailHash = sha256('@enablement/audit/detail/1\0', row?.['salt'] as Uint8Array, row?.['detail'] as string)
    expect(row?.['entry']).toBe(canonicalJson({ ...names, id: ref.id, at: AT, format: 1, detailHash }))
    expect(ref).toEqual({ tenant: 'org_42', id: ref.id, leafHash: sha256(Uint8Array.of(0), row?.['entry'] as string) })
    expect(Buffer.from(row?.['leaf_hash'] as Uint8Array).toString('hex')).toBe(ref.leafHash)
  })

  it('salts every detail from the operating system, whatever the seed of its platform', async () => {
    for (let number = 1; number <= 4; number++) {
      await createAuditLog({ db, platform: testPlatform({ now: AT, seed: 7 }) }).record(draft(1))
    }
    const found = await db.run(() => rows('select id, salt from audit_entries'))
    expect(new Set(found.map(({ salt }) => Buffer.from(salt as Uint8Array).toString('hex'))).size).toBe(4)
    expect(new Set(found.map(({ id }) => id)).size).toBe(4)
    expect(found.every(({ salt }) => (salt as Uint8Array).length === 32)).toBe(true)
  })

  it('is committed with the unit that it is part of, or not at all', async () => {
    await db.run(() => execute('create table states (id integer primary key)'))
    const unit = (fail: boolean) =>
      db.run(function* () {
        yield* execute('insert into states(id) values (1)')
        const ref = yield* log().append(draft(1))
        if (fail) throw new Error('changed my mind')
        return ref
      })
    await expect(unit(true)).rejects.toThrow('changed my mind')
    expect(await log().read('org_42')).toEqual([])
    expect(await log().verify('org_42')).toMatchObject({ outcome: 'intact', entries: 0 })
    expect(await unit(false)).toMatchObject({ tenant: 'org_42' })
    expect(await log().read('org_42')).toHaveLength(1)
  })

  it('holds what was handed to it, whatever the caller does to that meanwhile', async () => {
    const detail = { amount: 12 }
    const recording = log().record({ ...draft(1), detail })
    detail.amount = Number.NaN
    await recording
    expect((await log().read('org_42'))[0]?.detail).toEqual({ amount: 12 })
  })

  it('takes no lock in a unit unless it is chained: an append is one statement (pitfall 12)', async () => {
    const statements = (ordering: 'deferred' | 'chained') =>
      db.run(function* () {
        const append = log(ordering).append(draft(1))
        const texts: string[] = []
        for (let turn = append.next(); turn.done !== true; turn = append.next(yield turn.value))
          texts.push(turn.value.text)
        return texts
      })
    expect(await statements('deferred')).toEqual([expect.stringMatching(/^insert into audit_entries/)])
    expect((await statements('chained'))[0]).toMatch(/^select .* from audit_heads/)
  })

  it('gives chained entries their places in the unit, without gaps, of one tenant and of several', async () => {
    const refs = await db.run(function* () {
      const made = []
      for (const tenant of ['a', 'b', 'a', 'a']) made.push(yield* log('chained').append(draft(1, tenant)))
      return made
    })
    expect(refs.map(({ leafIndex }) => leafIndex)).toEqual([0, 0, 1, 2])
    const failing = db.run(function* () {
      yield* log('chained').append(draft(1, 'a'))
      throw new Error('changed my mind')
    })
    await expect(failing).rejects.toThrow('changed my mind')
    expect(await log('chained').record(draft(1, 'a'))).toMatchObject({ leafIndex: 3 })
    expect(await log().verify('a')).toMatchObject({ outcome: 'intact', entries: 4, sealed: 4 })
  })

  it('gives back what was recorded, in order and in pages, sealed or not', async () => {
    for (let number = 1; number <= 3; number++) await log('chained').record(draft(number))
    for (let number = 4; number <= 6; number++) await log().record(draft(number))
    const subjects = async (after: number, limit?: number) =>
      (await log().read('org_42', limit === undefined ? { after } : { after, limit })).map(({ subject }) => subject)
    expect((await log().read('org_42')).map(({ leafIndex }) => leafIndex)).toEqual([
      0,
      1,
      2,
      undefined,
      undefined,
      undefined
    ])
    for (let after = 0; after <= 7; after++) {
      const all = [1, 2, 3, 4, 5, 6].slice(after).map((number) => `request:${number}`)
      expect(await subjects(after)).toEqual(all)
      expect(await subjects(after, 2)).toEqual(all.slice(0, 2))
    }
    expect((await log().read('org_42'))[0]).toEqual({
      ...draft(1),
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      at: AT,
      leafIndex: 0,
      leafHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      redacted: false
    })
    expect(await log().read('nobody')).toEqual([])
  })

  it('is forked by no number of writers, chained or not, the first ones included (§5 Audit)', async () => {
    const writers = Array.from({ length: 16 }, (_, at) => log(at % 2 === 0 ? 'chained' : 'deferred'))
    await Promise.all(
      writers.flatMap((writer, at) => Array.from({ length: 5 }, (_, turn) => writer.record(draft(`${at}/${turn}`))))
    )
    const entries = await log().read('org_42')
    const indexes = entries.flatMap(({ leafIndex }) => leafIndex ?? [])
    expect(indexes).toEqual(Array.from({ length: 40 }, (_, at) => at))
    expect(new Set(entries.map(({ subject }) => subject)).size).toBe(80)
    expect(await log().verify('org_42')).toMatchObject({ outcome: 'intact', entries: 80, sealed: 40 })
  })

  const refused: readonly { what: string; wrong: object; code: string; issues?: object }[] = [
    { what: 'an empty tenant', wrong: { tenant: '' }, code: 'INVALID_OPTIONS', issues: [{ path: 'tenant' }] },
    {
      what: 'an actor of 513 characters',
      wrong: { actor: 'a'.repeat(513) },
      code: 'INVALID_OPTIONS',
      issues: [{ path: 'actor' }]
    },
    {
      what: 'an action that is no verb of ours',
      wrong: { action: 'Approved' },
      code: 'INVALID_OPTIONS',
      issues: [{ path: 'action' }]
    },
    {
      what: 'a subject with a NUL',
      wrong: { subject: 'a\0b' },
      code: 'INVALID_OPTIONS',
      issues: [{ path: 'subject' }]
    },
    {
      what: 'a tenant with a lone surrogate',
      wrong: { tenant: '\ud800' },
      code: 'INVALID_OPTIONS',
      issues: [{ path: 'tenant' }]
    },
    {
      what: 'an action of the log itself',
      wrong: { action: 'audit.redacted' },
      code: 'INVALID_OPTIONS',
      issues: [{ path: 'action' }]
    },
    { what: 'a field that is not known', wrong: { at: 5 }, code: 'INVALID_OPTIONS', issues: [{ path: 'at' }] },
    {
      what: 'a detail that is no object',
      wrong: { detail: [1] },
      code: 'INVALID_OPTIONS',
      issues: [{ path: 'detail' }]
    },
    { what: 'a detail that is too long', wrong: { detail: { text: 'x'.repeat(16_384) } }, code: 'NOT_JSON' },
    { what: 'a detail that is no JSON', wrong: { detail: { at: Number.NaN } }, code: 'NOT_JSON' }
  ]
  it.for(refused)('refuses $what, and writes nothing', async ({ wrong, code, issues }) => {
    const given = { ...draft(1), ...wrong } as AuditDraft
    const error: unknown = await log()
      .record(given)
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code, detail: issues === undefined ? {} : { issues } })
    await expect(db.run(() => log().append(given))).rejects.toMatchObject({ code })
    expect(await db.run(() => rows('select * from audit_entries'))).toEqual([])
  })

  it('takes the longest names and details, and details with NUL inside', async () => {
    const long = 'n'.repeat(512)
    const detail = { text: 'x'.repeat(16_384 - '{"text":"",}'.length), nul: undefined }
    const given = { tenant: long, actor: long, action: `a.${'b'.repeat(510)}`, subject: long, detail }
    await log().record(given as never)
    await log().record({ ...draft(1, long), detail: { nul: 'a\0b' } })
    expect(await log().verify(long)).toMatchObject({ outcome: 'intact', entries: 2 })
    expect((await log().read(long))[1]?.detail).toEqual({ nul: 'a\0b' })
  })

  it('takes names of 512 bytes that no index can compress, and keeps their checkpoints', async () => {
    const chance = seededRandom(7)
    const name = (): string =>
      Array.from({ length: 170 }, () => String.fromCodePoint(0x4e00 + chance.below(20_000))).join('')
    const given = { tenant: name(), actor: name(), action: `a.${'b'.repeat(510)}`, subject: name() }
    await log().record(given)
    const signer = ed25519Signer(createCheckpointKey('n'.repeat(512)).signingKey)
    const sink = sqlCheckpointSink({ db })
    const checkpoint = { origin: originOf(signer.name, given.tenant), size: 1, root: new Uint8Array(32) }
    const note = await signCheckpoint(signer, checkpoint, { signal: new AbortController().signal })
    expect(await sink.keep({ note, fromSize: 0, proof: [] })).toEqual({ outcome: 'kept' })
    for (const field of ['tenant', 'actor', 'subject']) {
      await expect(log().record({ ...given, [field]: 'ü'.repeat(257) })).rejects.toMatchObject({
        code: 'INVALID_OPTIONS'
      })
    }
  })

  it('reads no detail that is not one', async () => {
    await log().record(draft(1))
    for (const detail of ['', '{', 'null', '[]', '5']) {
      await db.run(() => execute('update audit_entries set detail = ?', detail))
      await expect(log().read('org_42')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
    }
  })

  it('reads no entry that is not one', async () => {
    await log().record(draft(1))
    for (const entry of ['', 'null', '[]', '{', '{"tenant":"org_42","format":1}']) {
      await db.run(() => execute('update audit_entries set entry = ?', entry))
      await expect(log().read('org_42')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
      expect(await log().verify('org_42')).toMatchObject({ outcome: 'broken', reason: 'entry-changed' })
    }
  })

  it('refuses pages without a bound', async () => {
    for (const page of [{ limit: 0 }, { limit: 1_001 }, { limit: 1.5 }, { after: -1 }, { before: 3 }]) {
      await expect(log().read('org_42', page as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    }
  })

  it('points to migrate where its tables are missing', async () => {
    await db.run(() => execute('drop table audit_entries'))
    await expect(log().record(draft(1))).rejects.toThrow(/migrate/)
  })

  describe('a redaction', () => {
    const redact = (id: string, changed: object = {}) =>
      db.run(() =>
        log().redact({ tenant: 'org_42', id, actor: 'officer:di', reason: 'erasure request 118', ...changed })
      )

    it('erases detail and salt, is recorded, and leaves a log that verifies and says so', async () => {
      const refs = [await log('chained').record(draft(1)), await log().record(draft(2)), await log().record(draft(3))]
      for (const { id } of refs.slice(0, 2)) expect(await redact(id)).toMatchObject({ outcome: 'redacted' })
      const entries = await log().read('org_42')
      expect(entries.map(({ detail, redacted }) => [detail?.['amount'], redacted])).toEqual([
        [undefined, true],
        [undefined, true],
        [12, false],
        [undefined, false],
        [undefined, false]
      ])
      expect(entries[3]).toMatchObject({
        actor: 'officer:di',
        action: 'audit.redacted',
        subject: `audit:${refs[0]?.id}`,
        detail: { reason: 'erasure request 118' }
      })
      expect(entries[0]).toMatchObject({ leafHash: refs[0]?.leafHash, subject: 'request:1' })
      const left = await db.run(() => rows('select detail, salt from audit_entries order by position limit 2'))
      expect(left.map((row) => [row['detail'], row['salt']])).toEqual([
        [null, null],
        [null, null]
      ])
      expect(await log().verify('org_42')).toMatchObject({ outcome: 'intact', entries: 5 })
    })

    it('is done once, and not to what has no detail or is not there', async () => {
      const { id } = await log().record(draft(1))
      const { detail: _, ...bare } = draft(2)
      const { id: without } = await log().record(bare)
      await redact(id)
      expect(await redact(id)).toEqual({ outcome: 'already-redacted' })
      expect(await redact(without)).toEqual({ outcome: 'without-detail' })
      expect(await redact('0198')).toEqual({ outcome: 'unknown' })
      expect(await redact(without, { tenant: 'other' })).toEqual({ outcome: 'unknown' })
      expect(await log().read('org_42')).toHaveLength(3)
    })

    it('refuses a request that is not one', async () => {
      const { id } = await log().record(draft(1))
      for (const wrong of [{ reason: '' }, { actor: 'a\0' }, { id: '' }, { tenant: 5 }, { why: 'x' }]) {
        await expect(redact(id, wrong)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
      }
      expect((await log().read('org_42'))[0]).toMatchObject({ redacted: false })
    })
  })
})

describe('an audit log’s construction', () => {
  it('refuses options that are not known', () => {
    expect(() => createAuditLog({ database: 1 } as never)).toThrow(/createAuditLog/)
    const db = sqliteDatabase({ path: ':memory:' })
    expect(() => createAuditLog({ db, ordering: 'strict' } as never)).toThrow(/ordering/)
  })
})
