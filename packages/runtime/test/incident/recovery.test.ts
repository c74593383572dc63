import { testPlatform } from '@enablement/core/testing'
import { createRuntime, mebibytes, type Recovery, type Runtime, type RuntimeOptions } from '@enablement/runtime'
import { memoryCheckpointStore, memoryIncidentStore } from '@enablement/runtime/memory'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { describe, expect, it } from 'vitest'
import { runtimeKit, small } from '../fakes/runtime-kit.ts'

/** Fills 8 MiB between awaits; counts its rounds. */
const filling =
  'globalThis.held = []; let rounds = 0; while (rounds < 100) { held.push(new ArrayBuffer(131072)); rounds += 1; await safepoint() } rounds'

async function exhausted(runtime: Runtime, code = filling): Promise<Recovery> {
  const sandbox = await runtime.open(small)
  const outcome = await sandbox.evaluate(code)
  if (outcome.outcome !== 'memory-exhausted') throw new Error(JSON.stringify(outcome))
  return outcome.recovery
}

describe('a recovery', () => {
  it('reports a denial, now and whenever it is asked again', async () => {
    await using kit = runtimeKit()
    const { incidentId, approvalRequestId } = await exhausted(kit.runtime)
    kit.gate.deny(approvalRequestId, 'too expensive')
    const denied = { outcome: 'denied', by: 'bo', reason: 'too expensive', decidedAt: 2 }
    expect(await kit.runtime.recover(incidentId)).toEqual(denied)
    expect(await kit.runtime.recover(incidentId)).toEqual(denied)
    expect(await kit.runtime.incidents('acme')).toEqual([])
  })

  it('never reports a lapsed request as a denial', async () => {
    await using kit = runtimeKit()
    const { incidentId, approvalRequestId } = await exhausted(kit.runtime)
    kit.gate.lapse(approvalRequestId)
    expect(await kit.runtime.recover(incidentId)).toEqual({ outcome: 'timed-out', decidedAt: 3 })
  })

  it('stops waiting when its signal aborts, and can be made again', async () => {
    await using kit = runtimeKit()
    const { incidentId, approvalRequestId } = await exhausted(kit.runtime)
    const abort = new AbortController()
    const waiting = kit.runtime.recover(incidentId, { signal: abort.signal })
    abort.abort()
    expect(await waiting).toEqual({ outcome: 'pending', approvalRequestId })
    kit.gate.approve(approvalRequestId)
    expect(await kit.runtime.recover(incidentId)).toMatchObject({ outcome: 'resumed' })
  })

  it('gives the sandbox to one of two that recover it', async () => {
    await using kit = runtimeKit()
    const { incidentId, approvalRequestId } = await exhausted(kit.runtime)
    kit.gate.approve(approvalRequestId)
    const outcomes = await Promise.all([kit.runtime.recover(incidentId), kit.runtime.recover(incidentId)])
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['owned-elsewhere', 'resumed'])
    expect(kit.gate.executions).toBe(1)
  })

  it('finds nothing to do once the resumed sandbox was closed, and its checkpoint is gone', async () => {
    await using kit = runtimeKit()
    const { incidentId, approvalRequestId, checkpointId } = await exhausted(kit.runtime)
    kit.gate.approve(approvalRequestId)
    const recovered = await kit.runtime.recover(incidentId)
    if (recovered.outcome !== 'resumed') throw new Error(recovered.outcome)
    expect(await recovered.sandbox.continue()).toEqual({ outcome: 'completed', value: 100 })
    await recovered.sandbox.close()
    expect(await kit.runtime.recover(incidentId)).toEqual({ outcome: 'closed' })
    expect(await kit.options.checkpoints.load(checkpointId as string)).toBeUndefined()
  })

  it('settles the doubt about a lost execution by looking at its own record', async () => {
    for (const ran of [true, false]) {
      await using kit = runtimeKit()
      const { incidentId, approvalRequestId } = await exhausted(kit.runtime)
      kit.gate.approve(approvalRequestId)
      kit.gate.loseNextExecution({ ran })
      await expect(kit.runtime.recover(incidentId)).rejects.toThrow('the executor was lost')
      const recovered = await kit.runtime.recover(incidentId)
      expect(recovered).toMatchObject({ outcome: 'resumed', sandbox: { memoryLimitBytes: mebibytes(16) } })
    }
  })

  it('goes through another incident when the larger limit is not enough either', async () => {
    await using kit = runtimeKit()
    const code = filling.replace('rounds < 100', 'rounds < 250')
    let { incidentId, approvalRequestId } = await exhausted(kit.runtime, code)
    const limits: number[] = []
    for (;;) {
      kit.gate.approve(approvalRequestId)
      const recovered = await kit.runtime.recover(incidentId)
      if (recovered.outcome !== 'resumed') throw new Error(recovered.outcome)
      limits.push(recovered.sandbox.memoryLimitBytes)
      const outcome = await recovered.sandbox.continue()
      if (outcome.outcome === 'completed') {
        expect(outcome.value).toBe(250)
        break
      }
      if (outcome.outcome !== 'memory-exhausted') throw new Error(outcome.outcome)
      ;({ incidentId, approvalRequestId } = outcome.recovery)
    }
    expect(limits).toEqual([mebibytes(16), mebibytes(32), mebibytes(64)])
    expect(await kit.runtime.incidents('acme')).toMatchObject([{ id: incidentId, state: 'resumed' }])
  })

  it('asks for the limit that the owner of the runtime decides on', async () => {
    await using kit = runtimeKit({ requestedLimit: ({ limitBytes }) => limitBytes + mebibytes(4) })
    await exhausted(kit.runtime)
    expect(kit.gate.asks[0]?.detail).toMatchObject({ requestedLimitBytes: mebibytes(12) })
  })

  it.each([
    [() => Number.NaN],
    [() => 1],
    [
      () => {
        throw new Error('no')
      }
    ]
  ])('asks for twice the limit when that decision is unusable', async (requestedLimit) => {
    await using kit = runtimeKit({ requestedLimit })
    await exhausted(kit.runtime)
    expect(kit.gate.asks[0]?.detail).toMatchObject({ requestedLimitBytes: mebibytes(16) })
  })

  it('does not know an incident that is not on record', async () => {
    await using kit = runtimeKit()
    await expect(kit.runtime.recover('nope')).rejects.toMatchObject({
      code: 'INCIDENT_UNKNOWN',
      detail: { incidentId: 'nope' }
    })
  })
})

describe('an incident whose checkpoint fails', () => {
  const broken = { ...memoryCheckpointStore(), save: () => Promise.reject(new Error('disk full')) }

  it('is asked about all the same, and starts afresh under the larger limit', async () => {
    await using kit = runtimeKit({ checkpoints: broken })
    const recovery = await exhausted(kit.runtime)
    expect(recovery).not.toHaveProperty('checkpointId')
    expect(kit.gate.asks[0]?.detail).toMatchObject({ checkpointId: null })
    kit.gate.approve(recovery.approvalRequestId)
    const recovered = await kit.runtime.recover(recovery.incidentId)
    expect(recovered).toMatchObject({ outcome: 'restarted', sandbox: { memoryLimitBytes: mebibytes(16) } })
    expect(recovered.outcome === 'restarted' && (await recovered.sandbox.evaluate('typeof held'))).toEqual({
      outcome: 'completed',
      value: 'undefined'
    })
  })

  it('goes on after five seconds when the store does not answer', async () => {
    const platform = testPlatform()
    let saving = (): void => {}
    const began = new Promise<void>((resolve) => {
      saving = resolve
    })
    const silent = {
      ...memoryCheckpointStore(),
      save: () => {
        saving()
        return new Promise<void>(() => {})
      }
    }
    await using kit = runtimeKit({
      checkpoints: silent,
      platform,
      incidents: memoryIncidentStore({ clock: platform.clock })
    })
    const exhausting = exhausted(kit.runtime)
    await began
    await platform.clock.advance(4_999)
    expect(kit.gate.asks).toEqual([])
    await platform.clock.advance(1)
    expect(await exhausting).not.toHaveProperty('checkpointId')
    expect(kit.gate.asks).toHaveLength(1)
  })
})

describe('an incident whose approval gate is down', () => {
  it('says how far it came, and is carried on from there', async () => {
    await using kit = runtimeKit()
    const { gate } = kit
    let down = true
    const approvals: RuntimeOptions['approvals'] = {
      ...gate,
      request: (ask) => (down ? Promise.reject(new Error('gate down')) : gate.request(ask))
    }
    await using runtime = createRuntime({ ...kit.options, host: quickjsHost({ idleThreads: 0 }), approvals })
    const sandbox = await runtime.open(small)
    const error = await sandbox.evaluate(filling).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'INCIDENT_STALLED', detail: { state: 'checkpointed' } })
    down = false
    const { incidentId } = (error as { detail: { incidentId: string } }).detail
    const recovering = runtime.recover(incidentId)
    const request = `request:runtime.incident:${incidentId}`
    gate.approve(request)
    expect(await recovering).toMatchObject({ outcome: 'resumed', evaluation: 'suspended' })
  })
})

describe('the ownership of a resumed sandbox', () => {
  it('passes on when its owner is lost, and the overtaken sandbox is ended', async () => {
    const platform = testPlatform()
    const incidents = memoryIncidentStore({ clock: platform.clock })
    await using kit = runtimeKit({ platform, incidents })
    const { incidentId, approvalRequestId } = await exhausted(kit.runtime)
    kit.gate.approve(approvalRequestId)
    // This owner cannot reach the store any more once it has the sandbox.
    const cutOff = {
      ...incidents,
      advance: ((id, step, evidence) =>
        step.type === 'renewed'
          ? Promise.reject(new Error('cut off'))
          : incidents.advance(id, step, evidence)) as typeof incidents.advance
    }
    await using lost = createRuntime({ ...kit.options, host: quickjsHost({ idleThreads: 0 }), incidents: cutOff })
    const first = await lost.recover(incidentId)
    if (first.outcome !== 'resumed') throw new Error(first.outcome)
    expect(await kit.runtime.recover(incidentId)).toMatchObject({ outcome: 'owned-elsewhere', incarnation: 2 })
    await platform.clock.advance(30_000)
    await expect(first.sandbox.continue()).rejects.toMatchObject({
      code: 'SANDBOX_GONE',
      detail: { reason: 'superseded' }
    })
    const second = await kit.runtime.recover(incidentId)
    expect(second).toMatchObject({ outcome: 'resumed', sandbox: { incarnation: 3 } })
    expect(second.outcome === 'resumed' && (await second.sandbox.continue())).toEqual({
      outcome: 'completed',
      value: 100
    })
  })

  it('is renewed as long as the sandbox lives', async () => {
    const platform = testPlatform()
    const incidents = memoryIncidentStore({ clock: platform.clock })
    await using kit = runtimeKit({ platform, incidents })
    const { incidentId, approvalRequestId } = await exhausted(kit.runtime)
    kit.gate.approve(approvalRequestId)
    const first = await kit.runtime.recover(incidentId)
    await platform.clock.advance(600_000)
    expect(await kit.runtime.recover(incidentId)).toMatchObject({ outcome: 'owned-elsewhere', incarnation: 2 })
    if (first.outcome === 'resumed') await first.sandbox.close()
    expect(platform.clock.pendingTimers).toBe(0)
  })
})

describe('a host call in flight when memory runs out', () => {
  it('is issued again under the same key, and its answer carries the evaluation on', async () => {
    const keys: string[] = []
    let answering = false
    await using kit = runtimeKit({
      hostFunctions: {
        price: (argument, { idempotencyKey }) => {
          keys.push(idempotencyKey)
          return answering ? { of: argument ?? null, cents: 42 } : new Promise(() => {})
        }
      }
    })
    const code = `const asked = host.price('tea'); ${filling}; (await asked).cents + rounds`
    const { incidentId, approvalRequestId } = await exhausted(kit.runtime, code)
    answering = true
    kit.gate.approve(approvalRequestId)
    const recovered = await kit.runtime.recover(incidentId)
    if (recovered.outcome !== 'resumed') throw new Error(recovered.outcome)
    expect(await recovered.sandbox.continue()).toEqual({ outcome: 'completed', value: 142 })
    expect(keys).toEqual([keys[0], keys[0]])
  })
})
