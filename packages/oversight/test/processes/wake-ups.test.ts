import { createAuditLog } from '@enablement/core/audit'
import { startWorker } from '@enablement/core/schedule'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'
import { type ApprovalPolicy, createOversight, defineAction, type OversightStore } from '@enablement/oversight'
import { memoryOversightStore } from '@enablement/oversight/memory'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { describe, expect, it } from 'vitest'
import { ACTION, ask, channel, raiseDetail } from '../stage.ts'
import { migrated } from './contest-store.ts'

/** How rarely the worker looks into the store when nothing tells it to. */
const POLL_MS = 60_000

const policy: ApprovalPolicy = {
  tiers: [
    { approvers: ['ana'], channels: [['pager', 'desk']], waitMs: 2_000, remindEveryMs: 1_500 },
    { approvers: ['bo'], channels: ['desk'], waitMs: 3_000 }
  ],
  onExhausted: 'deny',
  strategy: { kind: 'all-approve', objectionMs: 500 },
  identical: 'separate'
}

/** A place whose store's clock the wall clock of the process is ahead of. */
async function place(
  storeOn: (platform: TestPlatform, process: TestPlatform) => Promise<OversightStore & Partial<AsyncDisposable>>,
  aheadMs = 0
) {
  const storePlatform = testPlatform()
  const platform = testPlatform({ now: storePlatform.clock.now() + aheadMs })
  const store = await storeOn(storePlatform, platform)
  const pager = channel(['ana'])
  const desk = channel()
  const told: string[] = []
  const raise = defineAction({
    name: ACTION,
    detail: raiseDetail,
    policy,
    reconcile: async () => ({ outcome: 'executed', result: 'as it turned out' })
  })
  const slow = defineAction({
    name: 'runtime.restart',
    detail: raiseDetail,
    policy: { tiers: [{ approvers: ['bo'], channels: ['desk'], waitMs: POLL_MS - 1 }], onExhausted: 'deny' }
  })
  const startedAt = storePlatform.clock.now()
  const oversight = createOversight({
    store,
    actions: [raise, slow],
    channels: { pager, desk },
    agentControl: { resume: async ({ verdict }) => void told.push(verdict.outcome), terminate: async () => {} },
    platform,
    executionLeaseMs: 1_000
  })
  const worker = startWorker({ duties: oversight.duties, platform, pollMs: POLL_MS })
  return {
    oversight,
    raise,
    slow,
    desk,
    told,
    /** Both clocks go on, and what has become due at the end is done. */
    async pass(durationMs: number): Promise<void> {
      await storePlatform.clock.advance(durationMs)
      await platform.clock.advance(durationMs)
    },
    sinceStart: () => storePlatform.clock.now() - startedAt,
    async [Symbol.asyncDispose]() {
      await worker.close()
      await store[Symbol.asyncDispose]?.()
    }
  }
}

const inMemory = async (storePlatform: TestPlatform) => memoryOversightStore({ platform: storePlatform })

async function onSqlite(storePlatform: TestPlatform, platform: TestPlatform) {
  const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), storePlatform.clock)
  await migrated(db)
  const store = sqlOversightStore(db, { audit: createAuditLog({ db, platform }), platform })
  return { ...store, [Symbol.asyncDispose]: () => db.close() }
}

const HOUR_MS = 3_600_000

describe('a process that opens and decides what its worker acts on', () => {
  it.each([
    ['in memory', inMemory, 0],
    ['on SQLite', onSqlite, 0],
    ['on SQLite, its clock an hour ahead of the store', onSqlite, HOUR_MS],
    ['on SQLite, its clock an hour behind the store', onSqlite, -HOUR_MS]
  ])('waits for no poll %s', async (_where, storeOn, aheadMs) => {
    await using p = await place(storeOn, aheadMs)
    // The worker has found nothing, and looks again in a minute.
    await p.pass(1_000)
    const request = await p.oversight.open(p.raise, ask)
    const { id } = request
    await p.pass(0)
    expect(p.desk.delivered.map(({ approver }) => approver.id)).toEqual(['ana'])
    await p.pass(1_500)
    expect(p.desk.delivered.map(({ kind }) => kind)).toEqual(['invitation', 'reminder'])
    await p.pass(500)
    expect(p.desk.delivered.map(({ approver }) => approver.id)).toEqual(['ana', 'ana', 'bo'])

    // An approval waits half a second for an objection, and then decides.
    for (const approver of ['ana', 'bo']) await p.oversight.decide(id, { approver, decision: 'approve' })
    const settled = request.settled()
    await p.pass(500)
    expect(await settled).toMatchObject({ outcome: 'approved' })
    expect(p.desk.updated).toHaveLength(2)
    expect(p.told).toEqual(['approved'])

    // What its effect leaves in doubt is asked about at once.
    await request.execute(() => Promise.reject(new Error('the line went dead')))
    await p.pass(0)
    expect((await p.oversight.inspect(id)).execution.state).toBe('executed')
    expect(p.sinceStart()).toBeLessThan(POLL_MS / 10)
  })

  it.each([
    ['in memory', inMemory, 0],
    ['on SQLite', onSqlite, 0],
    ['on SQLite, its clock an hour behind the store', onSqlite, -HOUR_MS]
  ])('is told of what falls due before what it knows of, %s', async (_where, storeOn, aheadMs) => {
    await using p = await place(storeOn, aheadMs)
    const slow = await p.oversight.open(p.slow, { ...ask, idempotencyKey: 'slow' })
    await p.pass(1_000)
    const fast = await p.oversight.open(p.raise, { ...ask, idempotencyKey: 'fast' })
    await p.pass(2_000)
    expect((await p.oversight.inspect(fast.id)).tier).toBe(1)
    await p.pass(3_000)
    expect((await p.oversight.inspect(fast.id)).status).toBe('denied')
    expect((await p.oversight.inspect(slow.id)).tier).toBe(0)
  })
})
