import { readFileSync } from 'node:fs'
import process from 'node:process'
import { type ApprovalGate, type Execution, type JsonValue, systemPlatform } from '@enablement/core'
import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { execute, firstRow, migrate, type SqlDatabase, textOf } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, withStoreClock } from '@enablement/core/testing'
import { createRuntime } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { runtimeSchema, sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'

/*
 * A process that runs an agent out of memory and carries it to its end, or to the step at which it kills itself with
 * SIGKILL. Arguments: the database's file, the engine's file, the number of the step (counted over everything that it
 * does with its database), and by how many ms its clock is ahead: a successor comes when the leases are over.
 */
const [path = '', engine = '', at = '0', aheadMs = '0'] = process.argv.slice(2)
const clock = { ...systemPlatform.clock, now: () => systemPlatform.clock.now() + Number(aheadMs) }
const platform = { ...systemPlatform, clock }
const disk = withStoreClock(sqliteDatabase({ path }), clock)
await migrate(disk, [auditSchema, runtimeSchema])
await disk.run(function* () {
  yield* execute('create table if not exists asked (id text primary key, asks integer not null) strict')
  yield* execute('create table if not exists executed (id text primary key, result text not null) strict')
})

const counted = crashPoints(disk, { at: Number(at) })
const mortal: SqlDatabase = {
  ...counted,
  dialect: counted.dialect,
  supports: counted.supports,
  run: async (work, options) => {
    try {
      return await counted.run(work, options)
    } finally {
      if (counted.crashed !== undefined) process.kill(process.pid, 'SIGKILL')
    }
  }
}

/** Agrees to everything, and keeps what was asked and done where the next process finds it. */
const gate: ApprovalGate = {
  async request({ idempotencyKey: id }) {
    await disk.run(() =>
      execute('insert into asked (id, asks) values (?, 1) on conflict (id) do update set asks = asks + 1', id)
    )
    return { id }
  },
  settled: async (requestId) => ({ outcome: 'approved', requestId, by: 'bo', decidedAt: 1 }),
  async execute<Result extends JsonValue>(
    requestId: string,
    effect: Parameters<typeof gate.execute<Result>>[1]
  ): Promise<Execution<Result>> {
    const known = await disk.run(() => firstRow('select result from executed where id = ?', requestId))
    if (known !== undefined) return { outcome: 'replayed', result: JSON.parse(textOf(known, 'result')) as Result }
    const result = await effect({ requestId, detail: {}, idempotencyKey: requestId, fence: 1 })
    await disk.run(() => execute('insert into executed (id, result) values (?, ?)', requestId, JSON.stringify(result)))
    return { outcome: 'executed', result }
  }
}

const runtime = createRuntime({
  host: quickjsHost({ wasm: readFileSync(engine), idleThreads: 0 }),
  approvals: gate,
  checkpoints: sqlCheckpointStore(mortal),
  incidents: sqlIncidentStore(mortal, { audit: createAuditLog({ db: mortal, platform }) }),
  sealingKey: new Uint8Array(32).fill(7),
  platform
})
const code =
  'globalThis.rounds = []; while (rounds.length < 96) { rounds.push(new ArrayBuffer(32768)); await safepoint() } rounds.length'

let [incident] = await runtime.incidents('acme')
let how = 'recovered'
if (incident === undefined) {
  how = 'afresh'
  const sandbox = await runtime.open({ tenant: 'acme', agent: 'agent-7', memoryLimitBytes: 2_097_152 })
  const outcome = await sandbox.evaluate(code)
  if (outcome.outcome !== 'memory-exhausted') throw new Error(outcome.outcome)
  ;[incident] = await runtime.incidents('acme')
}
const recovery = await runtime.recover(incident?.id ?? '')
if (recovery.outcome !== 'resumed' && recovery.outcome !== 'restarted') throw new Error(recovery.outcome)
const done = recovery.outcome === 'resumed' ? await recovery.sandbox.continue() : await recovery.sandbox.evaluate(code)
await recovery.sandbox.close()
process.stdout.write(`${JSON.stringify({ how, recovery: recovery.outcome, done, steps: counted.passed })}\n`)
await runtime.close()
