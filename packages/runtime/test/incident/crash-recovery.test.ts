import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, type TestPlatform, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { createRuntime, type Runtime, type SandboxHost } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { runtimeSchema, sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'
import { describe, expect, inject, it } from 'vitest'
import { type FakeApprovalGate, fakeApprovalGate } from '../fakes/fake-approval-gate.ts'
import { agent, sealingKey } from '../fakes/runtime-kit.ts'

/** Runs out at 2 MiB and ends at 3. */
const code =
  'globalThis.rounds = []; while (rounds.length < 96) { rounds.push(new ArrayBuffer(32768)); await safepoint() } rounds.length'
const limit = { ...agent, memoryLimitBytes: 2_097_152 }

/** Each step is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))

interface World {
  readonly platform: TestPlatform
  readonly gate: FakeApprovalGate
  /** One host for every process: its threads are not what dies here, and starting them takes the time. */
  readonly host: SandboxHost
}

const processOn = (db: SqlDatabase, { platform, gate, host }: World): Runtime =>
  createRuntime({
    host: { ...host, close: async () => {} },
    approvals: gate,
    checkpoints: sqlCheckpointStore(db),
    incidents: sqlIncidentStore(db, { audit: createAuditLog({ db, platform }) }),
    sealingKey,
    platform
  })

/** What a crash leaves of the original's errors: wherever it surfaces, the process is gone. */
const died = (error: unknown): undefined => {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (cause.name === 'SimulatedCrash') return undefined
  return unlessCrashed(error)
}

async function life(runtime: Runtime, gate: FakeApprovalGate): Promise<void> {
  const sandbox = await runtime.open(limit)
  const outcome = await sandbox.evaluate(code)
  if (outcome.outcome !== 'memory-exhausted') throw new Error(outcome.outcome)
  gate.approve(outcome.recovery.approvalRequestId)
  await carryOn(runtime, outcome.recovery.incidentId)
}

async function carryOn(runtime: Runtime, incidentId: string): Promise<'resumed' | 'restarted'> {
  const recovered = await runtime.recover(incidentId)
  if (recovered.outcome !== 'resumed' && recovered.outcome !== 'restarted') throw new Error(recovered.outcome)
  const done =
    recovered.outcome === 'resumed' ? await recovered.sandbox.continue() : await recovered.sandbox.evaluate(code)
  expect(done).toEqual({ outcome: 'completed', value: 96 })
  await recovered.sandbox.close()
  return recovered.outcome
}

describe('an exhausted sandbox whose process dies', () => {
  it('between any two steps is recovered by the next one: one request, one raise, the right result', async () => {
    await using host = quickjsHost({ idleThreads: 0 })
    let crashes = 0
    let unfinished = 0
    for (let at = 0; ; at += stride) {
      const world: World = { platform: testPlatform({ seed: at }), gate: fakeApprovalGate(), host }
      await using disk = withStoreClock(sqliteDatabase({ path: ':memory:' }), world.platform.clock)
      await migrate(disk, [auditSchema, runtimeSchema])
      const db = crashPoints(disk, { at })
      await life(processOn(db, world), world.gate).catch(died)
      if (db.crashed === undefined) break
      crashes += 1

      const successor = processOn(disk, world)
      // Past the time that an incident is left to its process, and an ownership to its owner.
      await world.platform.clock.advance(60_000)
      const [open, ...others] = await successor.incidents('acme')
      expect(others).toEqual([])
      if (open !== undefined) {
        unfinished += 1
        const saved = (await sqlCheckpointStore(disk).load(open.id)) !== undefined
        const recovering = carryOn(successor, open.id)
        world.gate.approve(`request:runtime.incident:${open.id}`)
        // A checkpoint that reached the disk is found, whether or not its process lived to say so.
        expect(await recovering).toBe(saved ? 'resumed' : 'restarted')
      }
      expect(await successor.incidents('acme')).toEqual([])
      // None only when the process died before the incident itself was on record.
      expect(world.gate.asks.length).toBeLessThanOrEqual(1)
      const audit = createAuditLog({ db: disk })
      expect(await audit.verify('acme')).toMatchObject({ outcome: 'intact' })
      const actions = (await audit.read('acme')).map(({ action }) => action)
      for (const once of ['detected', 'checkpointed', 'asked', 'limit.raised', 'closed']) {
        expect(actions.filter((action) => action === `memory-incident.${once}`).length).toBeLessThanOrEqual(1)
      }
      await successor.close()
    }
    expect(crashes * stride).toBeGreaterThan(30)
    expect(unfinished * stride).toBeGreaterThan(25)
  }, 60_000)
})
