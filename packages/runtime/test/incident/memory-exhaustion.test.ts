import { mebibytes } from '@enablement/runtime'
import { describe, expect, it } from 'vitest'
import { agent, runtimeKit } from '../fakes/runtime-kit.ts'

const bomb = `globalThis.arrays = []; while (true) arrays.push(new Array(1024 * 1024).fill('x'))`

/** Collects 100 MiB in 200 batches of 512 KiB, and sums what they hold. */
const job = (yields: string): string => `
  globalThis.batches ??= []
  while (batches.length < 200) {
    const batch = new Uint8Array(new ArrayBuffer(524288))
    batch[0] = batch[524287] = batches.length % 251
    batches.push(batch)
    ${yields}
  }
  batches.reduce((sum, batch) => sum + batch[0] + batch[524287], 0)
`
const rightAnswer = Array.from({ length: 200 }, (_, n) => 2 * (n % 251)).reduce((sum, value) => sum + value, 0)

describe('an endless memory bomb under 64 MiB', () => {
  it('leaves the host alive, a checkpoint saved and a request pending', async () => {
    await using kit = runtimeKit()
    const { runtime, gate, options, events } = kit
    const sandbox = await runtime.open({ ...agent, memoryLimitBytes: mebibytes(64) })
    const outcome = await sandbox.evaluate(bomb)
    expect(outcome).toMatchObject({ outcome: 'memory-exhausted', code: 'MEMORY_EXHAUSTED' })
    if (outcome.outcome !== 'memory-exhausted') return
    const { recovery } = outcome
    expect(recovery.sandboxId).toBe(sandbox.id)
    expect(await options.checkpoints.load(recovery.checkpointId as string)).toMatchObject({ tenant: 'acme' })
    expect(gate.asks).toHaveLength(1)
    expect(gate.asks[0]).toMatchObject({
      action: 'runtime.raise-memory-limit',
      requestedBy: { agent: 'agent-7' },
      detail: {
        resource: 'memory',
        currentLimitBytes: mebibytes(64),
        requestedLimitBytes: mebibytes(128),
        checkpointId: recovery.checkpointId
      }
    })
    expect(await runtime.incidents('acme')).toMatchObject([
      { id: recovery.incidentId, state: 'asked', evaluation: 'lost' }
    ])
    // Whether a sample falls into the warning range is chance: the bomb jumps 8 MiB at a time.
    const types = events.map(({ type }) => type).filter((type) => !['memory.warning', 'memory.stale'].includes(type))
    expect(types).toEqual([
      'sandbox.opened',
      'memory.critical',
      'incident.opened',
      'checkpoint.saved',
      'approval.requested',
      'sandbox.terminated'
    ])
    await expect(sandbox.evaluate('1')).rejects.toMatchObject({ code: 'SANDBOX_GONE' })
  })
})

describe('a finite job that needs 100 MiB under 64 MiB', () => {
  it('is stopped whole at an await, and ends right after approval with nothing run twice', async () => {
    const warned = Promise.withResolvers<null>()
    await using kit = runtimeKit({
      // At 85 % the job waits for what is said of 80 %: memory is looked at ten times a second, and it fills faster.
      hostFunctions: { warned: () => warned.promise },
      observe: ({ type }) => {
        if (type === 'memory.warning') warned.resolve(null)
      }
    })
    const { runtime, gate } = kit
    const sandbox = await runtime.open({ ...agent, memoryLimitBytes: mebibytes(64) })
    const yields = 'turns += 1; if (turns === 109) await host.warned(); await safepoint()'
    const outcome = await sandbox.evaluate(`let turns = 0; ${job(yields)} + ':' + turns`)
    if (outcome.outcome !== 'memory-exhausted') throw new Error(outcome.outcome)
    const recovering = runtime.recover(outcome.recovery.incidentId)
    gate.approve(outcome.recovery.approvalRequestId)
    const recovered = await recovering
    expect(recovered).toMatchObject({ outcome: 'resumed', evaluation: 'suspended' })
    if (recovered.outcome !== 'resumed') return
    expect(recovered.sandbox).toMatchObject({ id: sandbox.id, incarnation: 2, memoryLimitBytes: mebibytes(128) })
    expect(await recovered.sandbox.continue()).toEqual({ outcome: 'completed', value: `${rightAnswer}:200` })
    expect(gate.asks).toHaveLength(1)
    await recovered.sandbox.close()
    expect(await runtime.incidents('acme')).toEqual([])
  })

  it('is interrupted when it never awaits, and finds its state as it was when evaluated again', async () => {
    await using kit = runtimeKit()
    const { runtime, gate } = kit
    const sandbox = await runtime.open({ ...agent, memoryLimitBytes: mebibytes(64) })
    const outcome = await sandbox.evaluate(job(''))
    if (outcome.outcome !== 'memory-exhausted') throw new Error(outcome.outcome)
    gate.approve(outcome.recovery.approvalRequestId)
    const recovered = await runtime.recover(outcome.recovery.incidentId)
    expect(recovered).toMatchObject({ outcome: 'resumed', evaluation: 'lost' })
    if (recovered.outcome !== 'resumed') return
    const done = await recovered.sandbox.evaluate('batches.length')
    expect(done.outcome === 'completed' && Number(done.value)).toBeGreaterThan(100)
    await expect(recovered.sandbox.continue()).rejects.toMatchObject({ code: 'NOTHING_TO_CONTINUE' })
    expect(await recovered.sandbox.evaluate(job(''))).toEqual({ outcome: 'completed', value: rightAnswer })
  })
})
