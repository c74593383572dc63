import { systemClock } from '@enablement/core'
import { auditSchema, createAuditLog, createCompletenessCheck } from '@enablement/core/audit'
import { outboxSchema } from '@enablement/core/outbox'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { withStoreClock } from '@enablement/core/testing'
import type { OversightStore, RequestRecord } from '@enablement/oversight'
import { oversightAuditSources, oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'
import { expect } from 'vitest'
import { runDuties } from '../stage.ts'
import { oversightWith, TENANT } from './contest.ts'
import type { Outcome } from './contest-check.ts'
import type { Witness } from './witness.ts'

/** Longer than every lease that a dead process may have left behind. */
const LEASES_MS = 60_000
const PAGE = 1_000

export const migrated = (db: SqlDatabase): Promise<unknown> => migrate(db, [auditSchema, outboxSchema, oversightSchema])

/** What the store and the log hold once every lease has run out, with the proof that the log is whole. */
export async function outcomeOf(disk: SqlDatabase, witness: Witness): Promise<Outcome> {
  const later = { ...systemClock, now: () => systemClock.now() + LEASES_MS }
  const db = withStoreClock(disk, later)
  const audit = createAuditLog({ db })
  const store = sqlOversightStore(db, { audit })
  await runDuties(oversightWith(store, witness))
  expect(await store.health()).toMatchObject({ pending: 0, dead: 0 })
  expect(await audit.verify(TENANT)).toMatchObject({ outcome: 'intact' })
  const check = createCompletenessCheck({ db, sources: oversightAuditSources(db.dialect) })
  expect(await check.check('oversight.requests')).toMatchObject({ outcome: 'complete', gaps: [] })
  const entries: Outcome['entries'][number][] = []
  for (;;) {
    const page = await audit.read(TENANT, { after: entries.length, limit: PAGE })
    if (page.length === 0) return { requests: await requestsIn(store), entries }
    entries.push(...page)
  }
}

export async function requestsIn(store: OversightStore): Promise<readonly RequestRecord[]> {
  const requests: RequestRecord[] = []
  for (;;) {
    const before = requests.at(-1)?.id
    const page = await store.list({ tenant: TENANT, limit: PAGE, ...(before === undefined ? {} : { before }) })
    if (page.length === 0) return requests
    requests.push(...page)
  }
}
