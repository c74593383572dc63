import {
  type AuditedFact,
  type AuditedFactSource,
  auditSchema,
  type CompletenessCheckOptions,
  type CompletenessEvent,
  createAuditLog,
  createCompletenessCheck
} from '@enablement/core/audit'
import { changes, execute, migrate, rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { beforeEach, describe, expect, it } from 'vitest'

const AT = 1_760_000_000_000
const HOUR = 3_600_000
const { signal } = new AbortController()

/** Decisions of a package, each with its entry unless somebody planted a gap. */
const decisions: AuditedFactSource = {
  name: 'test.decisions',
  *page(after, limit) {
    const found = yield* rows('select id from decisions where id > ? order by id limit ?', after ?? '', limit)
    const ids = found.map((row) => textOf(row, 'id'))
    return { facts: ids.map(factOf), next: ids.length === limit ? ids.at(-1) : undefined }
  }
}

const factOf = (id: string): AuditedFact => ({ tenant: 'org_42', subject: `decision:${id}`, action: 'decision.made' })

describe('a completeness check', () => {
  const platform = testPlatform({ now: AT })
  let db: SqlDatabase
  const events: CompletenessEvent[] = []
  const check = (changed: Partial<CompletenessCheckOptions> = {}) =>
    createCompletenessCheck({
      db,
      sources: [decisions],
      pageRows: 10,
      observe: (event) => events.push(event),
      ...changed
    })
  const sweep = async (one = check()): Promise<number> => {
    let runs = 1
    while ((await one.duty.run({ signal })).handled > 0) runs += 1
    return runs
  }
  /** A decision and its record, in one unit. */
  const decide = (id: string, recorded = true) =>
    db.run(function* () {
      yield* execute('insert into decisions(id) values (?)', id)
      const draft = { ...factOf(id), actor: 'approver:bo' }
      if (recorded) yield* createAuditLog({ db, platform }).append(draft)
    })

  beforeEach(async () => {
    events.length = 0
    platform.clock.jumpWallTo(AT)
    db = withStoreClock(sqliteDatabase({ path: ':memory:' }), platform.clock)
    await migrate(db, [auditSchema])
    await db.run(() => execute('create table decisions (id text primary key)'))
    for (let number = 0; number < 25; number++) await decide(`d${String(number).padStart(2, '0')}`)
    return () => db.close()
  })

  it('finds that everything was recorded', async () => {
    expect(await check().check('test.decisions')).toEqual({
      outcome: 'complete',
      source: 'test.decisions',
      checked: 25,
      gapCount: 0,
      gaps: []
    })
  })

  it('finds every planted gap: never written, taken out before it was sealed, and of another tenant (OV-7)', async () => {
    await decide('d30', false)
    await db.run(() => changes(`delete from audit_entries where subject = 'decision:d07'`))
    await db.run(() => changes(`update audit_entries set tenant = 'other' where subject = 'decision:d11'`))
    await db.run(() => changes(`update audit_entries set action = 'decision.seen' where subject = 'decision:d13'`))
    const report = await check().check('test.decisions')
    expect(report).toMatchObject({ outcome: 'incomplete', checked: 26, gapCount: 4 })
    expect(report.gaps).toEqual(['d07', 'd11', 'd13', 'd30'].map((id) => ({ source: 'test.decisions', ...factOf(id) })))
  })

  it('lists a hundred gaps and counts them all', async () => {
    await db.run(() => execute('delete from audit_entries'))
    for (let number = 0; number < 100; number++) await decide(`e${number}`, false)
    const report = await check({ pageRows: 40 }).check('test.decisions')
    expect(report).toMatchObject({ gapCount: 125, checked: 125 })
    expect(report.gaps).toHaveLength(100)
  })

  it('sweeps once an hour by the store’s clock, however often it runs', async () => {
    await decide('d30', false)
    expect(await sweep()).toBe(3)
    const gap = { type: 'audit.gap-found', source: 'test.decisions', ...factOf('d30') }
    const swept = {
      type: 'audit.completeness-swept',
      source: 'test.decisions',
      checked: 26,
      gapCount: 1,
      startedAt: AT
    }
    expect(events).toEqual([gap, swept])
    await platform.clock.advance(HOUR - 1)
    await sweep()
    expect(events).toHaveLength(2)
    await platform.clock.advance(1)
    await sweep()
    expect(events.slice(2)).toEqual([gap, { ...swept, startedAt: AT + HOUR }])
  })

  it('sweeps when the store’s clock was ahead and is set right again', async () => {
    platform.clock.jumpWallTo(AT + 1_000 * HOUR)
    await sweep()
    platform.clock.jumpWallTo(AT)
    await sweep()
    expect(events).toMatchObject([{ startedAt: AT + 1_000 * HOUR }, { startedAt: AT }])
  })

  it('sweeps the sources after one that fails, and then fails', async () => {
    const failing: AuditedFactSource = {
      name: 'test.failing',
      *page() {
        yield* rows('select 1 as one')
        throw new Error('no such view')
      }
    }
    const one = check({ sources: [failing, decisions] })
    for (let page = 0; page < 3; page++) await expect(one.duty.run({ signal })).rejects.toThrow('no such view')
    expect(events).toMatchObject([{ type: 'audit.completeness-swept', source: 'test.decisions', checked: 25 }])
  })

  it('goes on where it was interrupted, in another process, and loses no gap', async () => {
    await decide('d05x', false)
    await decide('d19x', false)
    await check().duty.run({ signal })
    await check().duty.run({ signal })
    await platform.clock.advance(2 * HOUR)
    expect(await sweep()).toBe(1)
    expect(events.map((event) => (event.type === 'audit.gap-found' ? event.subject : event.checked))).toEqual([
      'decision:d05x',
      'decision:d19x',
      27
    ])
    // What was due meanwhile is due now.
    await sweep()
    expect(events).toHaveLength(6)
  })

  it('checks a page wholly or not at all when its process dies', async () => {
    for (let at = 0; ; at++) {
      const dying = crashPoints(db, { at })
      await check({ db: dying }).duty.run({ signal }).catch(unlessCrashed)
      await sweep()
      const swept = events.filter(({ type }) => type === 'audit.completeness-swept')
      expect(swept.at(-1)).toMatchObject({ checked: 25, gapCount: 0 })
      await platform.clock.advance(HOUR)
      if (dying.crashed === undefined) break
    }
  })

  it('is run by several workers at once without checking twice', async () => {
    await Promise.all(Array.from({ length: 4 }, () => sweep(check())))
    expect(events.filter(({ type }) => type === 'audit.completeness-swept')).toMatchObject([{ checked: 25 }])
  })

  it('refuses sources that are none, pages that are none, and names it does not know', async () => {
    const wrong: readonly Partial<CompletenessCheckOptions>[] = [
      { sources: [] },
      { sources: [decisions, decisions] },
      { sources: [{ name: 'x' } as never] },
      { sources: [{ ...decisions, name: '' }] },
      { sources: [{ ...decisions, name: 'x'.repeat(513) }] },
      { everyMs: 0 },
      { everyMs: Number.NaN },
      { pageRows: 0 }
    ]
    for (const options of wrong)
      expect(() => check(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    await expect(check().check('test.unknown')).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    const broken = (page: object): AuditedFactSource => ({
      name: 'test.broken',
      *page() {
        yield* rows('select 1 as one')
        return page as never
      }
    })
    for (const page of [{}, { facts: [{}] }, { facts: [], next: 'x'.repeat(513) }, { facts: [], next: '' }]) {
      await expect(check({ sources: [broken(page)] }).duty.run({ signal })).rejects.toMatchObject({
        code: 'INVALID_OPTIONS'
      })
    }
  })
})
