/**
 * What must work however the packages got here, on every supported Node: a QuickJS sandbox (a worker and WebAssembly
 * behind it), a Redis script (a `.lua` file), and SQLite in Node itself.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** `modules` are the packages by the names in modules.mjs; `wasm` is the engine where no file of it can be found. */
export const proofs = {
  /** A guest computes, is checkpointed, and goes on in another sandbox from where it was. */
  async sandbox({ runtime, quickjs, runtimeMemory }, { wasm } = {}) {
    const unasked = () => Promise.reject(new Error('nothing here needs an approval'))
    const agents = runtime.createRuntime({
      host: quickjs.quickjsHost(wasm === undefined ? {} : { wasm }),
      approvals: { request: unasked, settled: unasked, execute: unasked },
      checkpoints: runtimeMemory.memoryCheckpointStore(),
      incidents: runtimeMemory.memoryIncidentStore(),
      sealingKey: new Uint8Array(32).fill(7)
    })
    try {
      const identity = { tenant: 'org_42', agent: 'agent-7', memoryLimitBytes: runtime.mebibytes(16) }
      const first = await agents.open(identity)
      assert.deepEqual(await first.evaluate('globalThis.n = 20; n + 1'), { outcome: 'completed', value: 21 })
      const checkpoint = await first.checkpoint()
      await first.close()
      const second = await agents.restore({ ...identity, checkpoint })
      assert.deepEqual(await second.evaluate('n * 2 + 2'), { outcome: 'completed', value: 42 })
      await second.close()
    } finally {
      await agents.close()
    }
  },

  /** Spends, refuses what is not there, and does not spend twice under one key. */
  async redis({ coreRedis, metering, meteringRedis, ioredis }, { redisUrl, tenant }) {
    const client = new ioredis.Redis(redisUrl, coreRedis.redisSettings({ commandTimeoutMs: 5_000 }))
    try {
      const store = meteringRedis.redisQuotaStore(client)
      await store.checkServer()
      const limits = [{ name: 'calls', quantity: 5, period: 'lifetime' }]
      const quotas = metering.createQuotas({ store, limits, onStoreFailure: 'refuse' })
      const calls = quotas.bind({ tenant, limit: 'calls' })
      const spent = await calls.consume(3, { idempotencyKey: 'a' })
      assert.deepEqual([spent.outcome, spent.remaining, spent.replayed], ['consumed', 2, false])
      const again = await calls.consume(3, { idempotencyKey: 'a' })
      assert.deepEqual([again.outcome, again.remaining, again.replayed], ['consumed', 2, true])
      assert.equal((await calls.consume(3, { idempotencyKey: 'b' })).outcome, 'refused')
    } finally {
      client.disconnect()
    }
  },

  /** Keeps what it acknowledged in a file, and counts it once. */
  async sqlite({ coreSql, sqlite, metering, meteringSql }) {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'matrix-sqlite-'))
    try {
      const outcomes = []
      for (let opened = 0; opened < 2; opened++) {
        const db = sqlite.sqliteDatabase({ path: path.join(folder, 'usage.db') })
        await coreSql.migrate(db, [meteringSql.meteringSchema])
        const meter = metering.createMeter({ store: meteringSql.sqlUsageStore(db) })
        const event = { tenant: 'org_42', subscription: 'sub_42', metric: 'calls', quantity: 1, at: 1_790_000_000_000 }
        outcomes.push((await meter.record({ ...event, transactionId: 'call-1' })).outcome)
        await db.close()
      }
      assert.deepEqual(outcomes, ['recorded', 'duplicate'])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },

  /** The crypto that the platform's condition selects makes keys, in one instance of everything. */
  async crypto({ core, messaging }) {
    assert.ok(await messaging.createIdentity())
    assert.ok(new messaging.MessagingError('NO_BUNDLE', 'smoke', { address: 'a#1' }) instanceof core.SuiteError)
  }
}
