import {
  type AuditDraft,
  type AuditRef,
  auditSchema,
  createAuditLog,
  createAuditSealer,
  proveEntry,
  sqlCheckpointSink,
  verifyAuditLog,
  verifyEntryProof
} from '@enablement/core/audit'
import { lockSchema } from '@enablement/core/lock'
import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, rows, type Sql, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform } from '@enablement/core/testing'
import { startPglite } from '@enablement/services/pglite'
import { fc, test } from '@fast-check/vitest'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { AT, draft, key, signer } from './sealed-log.ts'

const pglite = await startPglite()
afterAll(() => pglite.close())

const stores: readonly { name: string; db: SqlDatabase }[] = [
  { name: 'SQLite', db: sqliteDatabase({ path: ':memory:' }) },
  { name: 'PGlite', db: pgliteDatabase(pglite) }
]
const orderings = ['deferred', 'chained'] as const

const drafts = fc.array(
  fc.record(
    {
      tenant: fc.constantFrom('a', 'b', 'ü'),
      subject: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => !text.includes('\0')),
      detail: fc.dictionary(
        fc.string(),
        fc.oneof(fc.string(), fc.integer(), fc.constantFrom('\0', '\\u0000', '"', null))
      )
    },
    { requiredKeys: ['tenant', 'subject'] }
  ),
  { minLength: 1, maxLength: 40 }
)

/** The statements of a unit, which gives them besides its answer. */
function* counted<T>(unit: Sql<T>): Sql<{ readonly value: T; readonly texts: readonly string[] }> {
  const texts: string[] = []
  let turn = unit.next()
  for (; turn.done !== true; turn = unit.next(yield turn.value)) texts.push(turn.value.text)
  return { value: turn.value, texts }
}

describe.for(stores)('many entries appended at once on $name', ({ db }) => {
  const platform = testPlatform({ now: AT })
  const log = (ordering: 'deferred' | 'chained' = 'deferred') => createAuditLog({ db, ordering, platform })
  const sealer = createAuditSealer({ db, signer, sink: sqlCheckpointSink({ db }), platform })
  const { signal } = new AbortController()
  beforeAll(() => migrate(db, [auditSchema, lockSchema]))
  afterAll(() => db.close())
  beforeEach(async () => {
    for (const table of ['entries', 'heads', 'nodes', 'checkpoints'])
      await db.run(() => rows(`delete from audit_${table}`))
  })

  let made = 0
  const numRuns = Math.max(2, Math.round(5 * inject('scale')))

  test.prop([drafts, fc.constantFrom(...orderings), fc.integer({ min: 1, max: 40 })], { numRuns })(
    'are the log that they would be one after the other, with its proofs',
    async (given, ordering, atOnce) => {
      made += 1
      const how = { one: [] as AuditRef[], all: [] as AuditRef[] }
      for (let at = 0; at < given.length; at += atOnce) {
        const call = (name: string): AuditDraft[] =>
          given.slice(at, at + atOnce).map((part) => ({
            actor: 'approver:bo',
            action: 'test.ran',
            ...part,
            tenant: `${made}/${name}/${part.tenant}`
          }))
        await db.run(function* () {
          for (const one of call('one')) how.one.push(yield* log(ordering).append(one))
        })
        how.all.push(...(await db.run(() => log(ordering).appendAll(call('all')))))
      }
      const told = (refs: readonly AuditRef[]) => refs.map(({ tenant, leafIndex }) => [tenant.split('/')[2], leafIndex])
      expect(told(how.all)).toEqual(told(how.one))
      while ((await sealer.duty.run({ signal })).handled > 0);
      for (const tenant of new Set(given.map((part) => part.tenant))) {
        const read = async (name: string) => {
          const entries = await log().read(`${made}/${name}/${tenant}`)
          return entries.map(({ actor, action, subject, detail, at, leafIndex, redacted }) => ({
            said: [actor, action, subject, detail],
            as: [at, leafIndex, redacted]
          }))
        }
        expect(await read('all')).toEqual(await read('one'))
        const integrity = await verifyAuditLog(db, `${made}/all/${tenant}`, { verifierKey: key.verifierKey })
        const entries = given.filter((part) => part.tenant === tenant).length
        expect(integrity).toMatchObject({ outcome: 'intact', entries, sealed: entries, signed: entries })
      }
      for (const { tenant, id, leafHash } of how.all) {
        const proving = await proveEntry(db, { tenant, id })
        expect(proving.outcome === 'proved' && verifyEntryProof(proving.proof, key.verifierKey)).toBe(true)
        expect((await db.run(() => rows('select leaf_hash from audit_entries where id = ?', id)))[0]).toEqual({
          leaf_hash: Uint8Array.from(Buffer.from(leafHash, 'hex'))
        })
      }
    }
  )

  it('are one statement, and in a chained log three more for any number of tenants that are known', async () => {
    const given = Array.from({ length: 30 }, (_, at) => draft(at, `t${at % 5}`))
    expect((await db.run(() => counted(log().appendAll(given)))).texts).toEqual([
      expect.stringMatching(/^insert into audit_entries/)
    ])
    await db.run(() => log('chained').appendAll(given))
    const { texts, value } = await db.run(() => counted(log('chained').appendAll(given)))
    expect(texts.map((text) => text.split('\n')[0]?.split(' ').slice(0, 3).join(' '))).toEqual([
      'select tenant, size,',
      'insert into audit_entries(tenant,',
      'update audit_heads set'
    ])
    expect(value.map(({ leafIndex }) => leafIndex)).toEqual(given.map((_, at) => 6 + Math.floor(at / 5)))
  })

  it('store the nodes of the trees that they fill', async () => {
    await db.run(() => log('chained').appendAll([draft(0, 'b')]))
    for (let unit = 0; unit < 2; unit++) {
      await db.run(() =>
        log('chained').appendAll(Array.from({ length: 300 }, (_, at) => draft(at, at < 280 ? 'a' : 'b')))
      )
    }
    const found = await db.run(() => rows('select tenant, level, node_index from audit_nodes order by node_index'))
    expect(found.map((row) => Object.values(row))).toEqual([
      ['a', 8, 0],
      ['a', 8, 1]
    ])
    expect(await log().verify('a')).toMatchObject({ outcome: 'intact', sealed: 560 })
    expect(await log().verify('b')).toMatchObject({ outcome: 'intact', sealed: 41 })
  })

  it('are none when there are none, and 1,000 at most', async () => {
    expect(await db.run(() => counted(log('chained').appendAll([])))).toEqual({ value: [], texts: [] })
    const many = Array.from({ length: 1_001 }, (_, at) => draft(at))
    expect(() => log().appendAll(many)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(await db.run(() => log().appendAll(many.slice(1)))).toHaveLength(1_000)
    expect(await log().verify('org_42')).toMatchObject({ entries: 1_000 })
  })

  it('are refused whole for one that is not right, before anything is written', async () => {
    const wrong = [draft(0), { ...draft(1), tenant: 'a\0b' }]
    const issues = [{ path: '1.tenant', message: expect.any(String) }]
    expect(() => log().appendAll(wrong)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', detail: expect.objectContaining({ issues }) })
    )
    const noJson = [draft(0), { ...draft(1), detail: { at: Number.NaN } }]
    expect(() => log().appendAll(noJson)).toThrow(expect.objectContaining({ code: 'NOT_JSON' }))
    const own = [draft(0), { ...draft(1), action: 'audit.redacted' }]
    expect(() => log().appendAll(own)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(await db.run(() => rows('select 1 from audit_entries'))).toEqual([])
  })

  it('hold what was handed over, whatever the caller does to that meanwhile', async () => {
    const detail = { amount: 12 }
    const unit = log().appendAll([{ ...draft(1), detail }, draft(2)])
    detail.amount = Number.NaN
    await db.run(() => unit)
    expect((await log().read('org_42'))[0]?.detail).toEqual({ amount: 12 })
  })
})
