import { createAuditLog } from '@enablement/core/audit'
import { startWorker } from '@enablement/core/schedule'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import { type ApprovalPolicy, createOversight } from '@enablement/oversight'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { describe, expect, it } from 'vitest'
import { ask, channel, raiseAction } from '../stage.ts'
import { migrated } from './contest-store.ts'

const HOUR_MS = 3_600_000

const policy: ApprovalPolicy = {
  tiers: [
    { approvers: ['ana'], channels: ['pager'], waitMs: 60_000, remindEveryMs: 20_000 },
    { approvers: ['bo'], channels: ['desk'], waitMs: 60_000 }
  ],
  onExhausted: 'deny',
  deadlineMs: 100_000,
  approvalTtlMs: 50_000
}

/**
 * A day at a store, whose clock goes on as it should, with a process that has another opinion: what the wall clock of that
 * process is ahead by follows from `aheadMs`, second for second. Resolves to all that went on record, and what became of each request,
 * with the store's instants.
 */
async function day(aheadMs: (second: number) => number): Promise<readonly string[]> {
  const platform = testPlatform()
  const store = testPlatform()
  await using db = withStoreClock(sqliteDatabase({ path: ':memory:' }), store.clock)
  await migrated(db)
  const audit = createAuditLog({ db, platform })
  const raise = raiseAction(policy)
  const oversight = createOversight({
    store: sqlOversightStore(db, { audit, platform }),
    actions: [raise],
    channels: { pager: channel(), desk: channel() },
    platform,
    executionLeaseMs: 30_000
  })
  const worker = startWorker({ duties: oversight.duties, platform, pollMs: 1_000 })
  let second = 0
  const pass = async (seconds: number): Promise<void> => {
    for (let left = seconds; left > 0; left--) {
      second += 1
      platform.clock.jumpWallTo(store.clock.now() + aheadMs(second))
      await store.clock.advance(1_000)
      await platform.clock.advance(1_000)
    }
  }
  const open = (idempotencyKey: string) => oversight.open(raise, { ...ask, idempotencyKey })
  const decide = (id: string, approver: string) => oversight.decide(id, { approver, decision: 'approve' })

  const timedOut = await open('times out')
  const approved = await open('is approved')
  const lapsed = await open('is approved and lapses')
  const hung = await open('hangs in its effect')
  await pass(10)
  for (const { id } of [approved, lapsed, hung]) expect(await decide(id, 'ana')).toMatchObject({ outcome: 'recorded' })
  expect(await approved.execute(async () => 1)).toMatchObject({ outcome: 'executed' })
  let release = (_result: number): void => {}
  const hanging = hung.execute(() => new Promise<number>((resolve) => (release = resolve)))
  await pass(45)
  // Its lease is kept: neither the process nor anyone else takes it for lost.
  expect(await hung.execute(async () => 2)).toMatchObject({ outcome: 'busy' })
  release(1)
  await pass(1)
  expect(await hanging).toMatchObject({ outcome: 'executed' })
  await pass(10)
  expect(await lapsed.execute(async () => 1)).toEqual({ outcome: 'not-approved', status: 'expired' })
  expect(await decide(timedOut.id, 'bo')).toMatchObject({ outcome: 'recorded' })
  const late = await open('times out after all')
  await pass(99)
  expect((await oversight.inspect(late.id)).status).toBe('pending')
  await pass(2)
  expect((await oversight.inspect(late.id)).status).toBe('timed-out')
  await worker.close()
  expect(await audit.verify(ask.tenant)).toMatchObject({ outcome: 'intact' })
  const { requests } = await oversight.list({ tenant: ask.tenant })
  return [
    ...(await audit.read(ask.tenant, { limit: 1_000 })).map(({ action }) => action),
    // What names each request follows from the process's clock; what was decided on it must not.
    ...requests.map((request) => JSON.stringify(request).replaceAll(request.id, 'id'))
  ]
}

describe('the wall clock of a process', () => {
  it.each([
    ['an hour ahead', () => HOUR_MS],
    ['an hour behind', () => -HOUR_MS],
    ['jumping forth and back by hours', (second: number) => ((second * 7) % 11) * HOUR_MS - 5 * HOUR_MS],
    ['going back a day in the middle of everything', (second: number) => (second < 30 ? 0 : -24 * HOUR_MS)]
  ])('decides nothing, %s', async (_how, aheadMs) => {
    expect(await day(aheadMs)).toEqual(await day(() => 0))
  })
})
