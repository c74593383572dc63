import { createHash } from 'node:crypto'
import { canonicalJson } from '@enablement/core'
import { type AuditDraft, auditSchema, createAuditLog } from '@enablement/core/audit'
import { pgliteDatabase } from '@enablement/core/postgres'
import { execute, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform } from '@enablement/core/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { beforeEach, describe, expect, it } from 'vitest'

const AT = 1_760_000_000_000

const draft = (subject: number | string, tenant = 'org_42'): AuditDraft => ({
  tenant,
  actor: 'approver:bo',
  action: 'request.approved',
  subject: `request:${subject}`,
  detail: { amount: 12, reasons: ['ü', null] }
})

/** `entries`: so many that they fill more than a page of 256. */
const stores: readonly { name: string; entries: number; open: () => Promise<SqlDatabase> }[] = [
  { name: 'SQLite', entries: 600, open: async () => sqliteDatabase({ path: ':memory:' }) },
  {
    name: 'PGlite',
    entries: 260,
    open: async () => pgliteDatabase(await emptyPglite())
  }
]

describe.for(stores)('an audit log on $name', ({ entries, open }) => {
  let db: SqlDatabase
  const platform = testPlatform({ now: AT })
  const log = () => createAuditLog({ db, platform })
  beforeEach(async () => {
    db = await open()
    await migrate(db, [auditSchema])
    return () => db.close()
  })

  it('numbers a tenant’s entries without gaps and chains their hashes, as anybody can recompute', async () => {
    const refs = [await log().record(draft(1)), await log().record(draft(2)), await log().record(draft('x', 'other'))]
    let previous = '0'.repeat(64)
    for (const [at, ref] of refs.slice(0, 2).entries()) {
      const entry = canonicalJson({ ...draft(at + 1), sequence: at + 1, at: AT })
      previous = createHash('sha256').update(`@enablement/audit/1\0${previous}${entry}`).digest('hex')
      expect(ref).toEqual({ tenant: 'org_42', sequence: at + 1, hash: previous })
    }
    expect(refs[2]).toMatchObject({ tenant: 'other', sequence: 1 })
    expect(await log().verify('org_42')).toEqual({ outcome: 'intact', entries: 2, head: previous })
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
    expect(await log().verify('org_42')).toEqual({ outcome: 'intact', entries: 0, head: '0'.repeat(64) })
    expect(await unit(false)).toMatchObject({ sequence: 1 })
    expect(await log().read('org_42')).toHaveLength(1)
  })

  it('holds what was handed to it, whatever the caller does to that meanwhile', async () => {
    const detail = { amount: 12 }
    const recording = log().record({ ...draft(1), detail })
    detail.amount = Number.NaN
    await recording
    expect((await log().read('org_42'))[0]?.detail).toEqual({ amount: 12 })
  })

  it('chains several entries of one unit, of one tenant and of several', async () => {
    const sequences = await db.run(function* () {
      const refs = []
      for (const tenant of ['a', 'b', 'a', 'a']) refs.push(yield* log().append(draft(1, tenant)))
      return refs.map((ref) => ref.sequence)
    })
    expect(sequences).toEqual([1, 1, 2, 3])
    expect(await log().verify('a')).toMatchObject({ outcome: 'intact', entries: 3 })
  })

  it('gives back what was recorded, in order and in pages', async () => {
    for (let number = 1; number <= 5; number++) await log().record(draft(number))
    const entries = await log().read('org_42')
    expect(entries.map((entry) => entry.sequence)).toEqual([1, 2, 3, 4, 5])
    expect(entries[0]).toEqual({ ...draft(1), sequence: 1, at: AT, hash: expect.stringMatching(/^[0-9a-f]{64}$/) })
    const page = await log().read('org_42', { after: 2, limit: 2 })
    expect(page.map((entry) => entry.sequence)).toEqual([3, 4])
    expect(await log().read('org_42', { after: 5 })).toEqual([])
    expect(await log().read('nobody')).toEqual([])
  })

  it('is forked by no number of writers, the first ones included', async () => {
    const writers = Array.from({ length: 16 }, () => createAuditLog({ db, platform }))
    const refs = await Promise.all(
      writers.flatMap((writer, at) => Array.from({ length: 5 }, (_, turn) => writer.record(draft(`${at}/${turn}`))))
    )
    expect(refs.map((ref) => ref.sequence).sort((one, other) => one - other)).toEqual(
      Array.from({ length: 80 }, (_, at) => at + 1)
    )
    expect(await log().verify('org_42')).toMatchObject({ outcome: 'intact', entries: 80 })
  })

  it('verifies logs that are longer than a page, to the entry', async () => {
    await db.run(function* () {
      for (let number = 1; number <= entries; number++) yield* log().append(draft(number))
    })
    expect(await log().verify('org_42')).toMatchObject({ outcome: 'intact', entries })
    for (const sequence of [256, 257, 512, 513, entries].filter((one) => one <= entries)) {
      const [row] = await db.run(() => rows('select entry from audit_entries where sequence = ?', sequence))
      const entry = row?.['entry'] ?? null
      await db.run(() => execute('update audit_entries set entry = ? where sequence = ?', '{}', sequence))
      expect(await log().verify('org_42')).toMatchObject({ outcome: 'broken', sequence })
      await db.run(() => execute('update audit_entries set entry = ? where sequence = ?', entry, sequence))
    }
    expect(await log().verify('org_42')).toMatchObject({ outcome: 'intact', entries })
  })

  const tampering: readonly { what: string; texts: readonly string[]; broken: number; reason: RegExp }[] = [
    {
      what: 'an entry that was edited',
      texts: [`update audit_entries set entry = replace(entry, 'bo', 'al') where sequence = 3`],
      broken: 3,
      reason: /changed/
    },
    {
      what: 'a space that was put into an entry',
      texts: [`update audit_entries set entry = replace(entry, ',"at"', ', "at"') where sequence = 3`],
      broken: 3,
      reason: /changed/
    },
    {
      what: 'a hash that was edited',
      texts: [`update audit_entries set hash = '${'a'.repeat(64)}' where sequence = 2`],
      broken: 2,
      reason: /changed/
    },
    {
      what: 'an entry that was deleted',
      texts: ['delete from audit_entries where sequence = 2'],
      broken: 2,
      reason: /missing/
    },
    {
      what: 'a first entry that was deleted',
      texts: ['delete from audit_entries where sequence = 1'],
      broken: 1,
      reason: /missing/
    },
    {
      what: 'a log that was cut short',
      texts: ['delete from audit_entries where sequence >= 4'],
      broken: 4,
      reason: /missing/
    },
    { what: 'a log that was emptied', texts: ['delete from audit_entries'], broken: 1, reason: /missing/ },
    {
      what: 'two entries that changed places',
      texts: [
        'update audit_entries set sequence = 99 where sequence = 2',
        'update audit_entries set sequence = 2 where sequence = 3',
        'update audit_entries set sequence = 3 where sequence = 99'
      ],
      broken: 2,
      reason: /changed/
    },
    {
      what: 'an entry that was inserted in between',
      texts: [
        'update audit_entries set sequence = sequence + 100 where sequence >= 3',
        'update audit_entries set sequence = sequence - 99 where sequence >= 103',
        `insert into audit_entries(tenant, sequence, entry, hash) select tenant, 3, entry, hash from audit_entries where sequence = 2`
      ],
      broken: 3,
      reason: /changed/
    },
    {
      what: 'an entry that was put after the head',
      texts: [
        `insert into audit_entries(tenant, sequence, entry, hash) select tenant, 6, entry, hash from audit_entries where sequence = 5`
      ],
      broken: 6,
      reason: /after the head/
    },
    {
      what: 'an entry that was put before the first',
      texts: [
        `insert into audit_entries(tenant, sequence, entry, hash) select tenant, 0, entry, hash from audit_entries where sequence = 5`
      ],
      broken: 0,
      reason: /before the first/
    },
    {
      what: 'an entry that was moved to another tenant',
      texts: [`update audit_entries set tenant = 'other' where sequence = 5`],
      broken: 5,
      reason: /missing/
    },
    {
      what: 'a head that was rewritten',
      texts: [`update audit_heads set hash = '${'b'.repeat(64)}'`],
      broken: 5,
      reason: /head/
    },
    { what: 'a head that was set back', texts: ['update audit_heads set sequence = 4'], broken: 4, reason: /head/ },
    {
      what: 'a head that was put forward',
      texts: ['update audit_heads set sequence = 6'],
      broken: 6,
      reason: /missing/
    },
    { what: 'a head that was deleted', texts: ['delete from audit_heads'], broken: 1, reason: /after the head/ }
  ]
  it.for(tampering)('detects $what', async ({ texts, broken, reason }) => {
    for (let number = 1; number <= 5; number++) await log().record(draft(number))
    await db.run(function* () {
      for (const text of texts) yield* execute(text)
    })
    expect(await log().verify('org_42')).toEqual({
      outcome: 'broken',
      sequence: broken,
      reason: expect.stringMatching(reason)
    })
  })

  it('detects a whole log that was put in another tenant’s place', async () => {
    for (let number = 1; number <= 3; number++) await log().record(draft(number))
    await db.run(function* () {
      yield* execute(`update audit_entries set tenant = 'other'`)
      yield* execute(`update audit_heads set tenant = 'other'`)
    })
    expect(await log().verify('other')).toMatchObject({ outcome: 'broken', sequence: 1, reason: /another place/ })
  })

  it('reads no entry that is not one', async () => {
    await log().record(draft(1))
    for (const entry of ['', 'null', '[]', '{', '{"tenant":"org_42","sequence":2}']) {
      await db.run(() => execute('update audit_entries set entry = ?', entry))
      await expect(log().read('org_42')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
      expect(await log().verify('org_42')).toMatchObject({ outcome: 'broken', sequence: 1 })
    }
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
    expect(await db.run(() => rows('select * from audit_heads'))).toEqual([])
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

  it('refuses pages without a bound', async () => {
    for (const page of [{ limit: 0 }, { limit: 1_001 }, { limit: 1.5 }, { after: -1 }, { before: 3 }]) {
      await expect(log().read('org_42', page as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    }
  })

  it('points to migrate where its tables are missing', async () => {
    await db.run(() => execute('drop table audit_heads'))
    await expect(log().record(draft(1))).rejects.toThrow(/migrate/)
  })
})

describe('an audit log’s construction', () => {
  it('refuses options that are not known', () => {
    expect(() => createAuditLog({ database: 1 } as never)).toThrow(/createAuditLog/)
  })
})
