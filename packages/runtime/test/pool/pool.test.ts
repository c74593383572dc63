import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import {
  type ClaimOptions,
  type ClaimOutcome,
  createWarmPool,
  mebibytes,
  type PoolEvent,
  type PoolStateStore,
  type WarmPool,
  type WarmPoolOptions
} from '@enablement/runtime'
import { memoryPoolState } from '@enablement/runtime/memory'
import { describe, expect, it } from 'vitest'
import { type FakePoolRuntime, fakePoolRuntime, template } from '../fakes/fake-pool-runtime.ts'

interface Bench extends AsyncDisposable {
  readonly platform: TestPlatform
  readonly runtime: FakePoolRuntime
  readonly pool: WarmPool
  readonly events: PoolEvent[]
  pass(durationMs: number): Promise<void>
  claim(options?: Partial<ClaimOptions>, signal?: AbortSignal): Promise<ClaimOutcome>
  /** A claim that must be granted, after the time it takes. */
  claimed(options?: Partial<ClaimOptions>): Promise<Extract<ClaimOutcome, { outcome: 'claimed' }>>
  of<Type extends PoolEvent['type']>(type: Type): Extract<PoolEvent, { type: Type }>[]
}

/** A pool on a virtual clock, as full as it gets by itself. */
async function bench(options: Partial<WarmPoolOptions> = {}, shared: Partial<Bench> = {}): Promise<Bench> {
  const platform = shared.platform ?? testPlatform()
  const runtime = shared.runtime ?? fakePoolRuntime(platform.clock)
  const events: PoolEvent[] = []
  const pool = createWarmPool({
    runtime,
    template,
    idle: { min: 2, max: 2 },
    platform,
    refillJitterMs: 0,
    observe: (event) => void events.push(event),
    ...options
  })
  const pass = (durationMs: number): Promise<void> => platform.clock.advance(durationMs)
  await untilHashed(pool)
  await pass(200)
  const claim: Bench['claim'] = (claiming = {}, signal) =>
    pool.claim({ tenant: 'acme', agent: 'agent', ...claiming }, signal === undefined ? {} : { signal })
  return {
    platform,
    runtime,
    pool,
    events,
    pass,
    claim,
    async claimed(claiming) {
      const outcome = claim(claiming)
      await pass(200)
      const answer = await outcome
      if (answer.outcome !== 'claimed') throw new Error(answer.reason)
      return answer
    },
    of: (type) => events.filter((event) => event.type === type) as never,
    async [Symbol.asyncDispose]() {
      const closing = pool.close()
      await pass(60_000)
      await closing
      if (shared.platform === undefined) {
        expect([...runtime.alive.keys()], 'sandboxes left behind').toEqual([])
        expect(platform.clock.pendingTimers, 'timers left behind').toBe(0)
      }
    }
  }
}

/** Hashing takes real time, on a thread of its own; it is over when the pool has spoken to its store. */
async function untilHashed(pool: WarmPool): Promise<void> {
  while (pool.metrics().pool.members === 0) await new Promise((resolve) => setImmediate(resolve))
}

describe('a claim', () => {
  it('gets the oldest sandbox that is ready at once, which is never handed out again', async () => {
    await using b = await bench()
    const [first] = b.runtime.alive.keys()
    const one = await b.claim()
    expect(one).toMatchObject({ outcome: 'claimed', from: 'warm', waitedMs: 0, sandbox: { id: first, tenant: 'acme' } })
    if (one.outcome !== 'claimed') return
    const two = await b.claim()
    const released = one.claim.release()
    await b.pass(100)
    await released
    expect(await one.claim.ended).toEqual({ outcome: 'released' })
    expect(b.runtime.alive.has(one.sandbox.id)).toBe(false)
    expect(two).toMatchObject({ outcome: 'claimed', from: 'warm' })
    await expect(one.sandbox.evaluate('1')).rejects.toMatchObject({ code: 'SANDBOX_GONE' })
  })

  it('has a fence above that of every claim before it', async () => {
    await using b = await bench()
    const fences: number[] = []
    for (let round = 0; round < 5; round++) {
      const { fence, claim } = await b.claimed()
      fences.push(fence)
      void claim.release()
      await b.pass(100)
    }
    expect(fences).toEqual([...new Set(fences)].sort((one, other) => one - other))
  })

  it('waits among the first three for half a minute, and is then started beyond the capacity, with a warning', async () => {
    await using b = await bench({ preemption: { perMinuteMax: 0 } })
    await Promise.all([b.claim(), b.claim()])
    const third = b.claim()
    let isSettled = false
    void third.then(() => {
      isSettled = true
    })
    await b.pass(29_999)
    expect(isSettled).toBe(false)
    await b.pass(20)
    expect(await third).toMatchObject({ outcome: 'claimed', from: 'cold', warning: 'cold_start_fallback' })
    expect(b.of('sla.warning')).toMatchObject([{ warning: 'cold_start_fallback', position: 1, hitRate: 2 / 3 }])
  })

  it('does not wait further back than the third place', async () => {
    await using b = await bench({ preemption: { perMinuteMax: 0 }, coldMax: 1 })
    await Promise.all([b.claim(), b.claim()])
    const waiting = [b.claim(), b.claim(), b.claim()]
    const cold = b.claim()
    await b.pass(50)
    expect(await cold).toMatchObject({
      outcome: 'claimed',
      warning: 'cold_start_fallback',
      waitedMs: expect.closeTo(10)
    })
    expect(await b.claim()).toMatchObject({
      outcome: 'refused',
      reason: 'exhausted',
      position: 4,
      etaMs: expect.closeTo(10)
    })
    await b.pass(31_000)
    expect(await Promise.all(waiting)).toMatchObject(Array.from({ length: 3 }, () => ({ reason: 'exhausted' })))
  })

  it('gets the place that is released, in the order of priority and waiting', async () => {
    await using b = await bench({ preemption: { perMinuteMax: 0 }, agingMs: 1_000, waitMs: 60_000 })
    const [one] = [await b.claimed(), await b.claimed()]
    const order: string[] = []
    const wait = (name: string, priority: ClaimOptions['priority']) =>
      void b.claim({ agent: name, priority: priority as 'low' }).then((answer) => {
        order.push(name)
        if (answer.outcome === 'claimed') void answer.claim.release()
      })
    wait('patient', 'low')
    await b.pass(1_500)
    wait('normal', 'normal')
    wait('high', 'high')
    await b.pass(10)
    void one.claim.release()
    await b.pass(1_000)
    expect(order).toEqual(['high', 'patient', 'normal'])
  })

  it('does not starve under a stream of critical ones: aging bounds how many overtake it', async () => {
    const agingMs = 1_000
    await using b = await bench({
      idle: { min: 1, max: 1 },
      preemption: { perMinuteMax: 0 },
      agingMs,
      waitMs: 3_600_000,
      waitPositions: 100
    })
    const first = await b.claimed()
    let lowWaitedMs: number | undefined
    let overtook = 0
    void b.claim({ priority: 'low' }).then((answer) => {
      lowWaitedMs = answer.waitedMs
      if (answer.outcome === 'claimed') void answer.claim.release()
    })
    void first.claim.release()
    for (let passed = 0; passed < 20_000 && lowWaitedMs === undefined; passed += 25) {
      void b.claim({ priority: 'critical' }).then((answer) => {
        if (lowWaitedMs === undefined) overtook += 1
        if (answer.outcome === 'claimed') void answer.claim.release()
      })
      await b.pass(25)
    }
    // Only those that came within three steps of priority go first: 120 of them, and what each of them takes.
    expect(overtook).toBeLessThanOrEqual((3 * agingMs) / 25 + 1)
    expect(lowWaitedMs).toBeLessThan(4 * agingMs)
    await b.pass(10_000)
  })

  it('is one while its key is used again, and another after it has ended', async () => {
    await using b = await bench()
    const [one, same] = await Promise.all([b.claim({ idempotencyKey: 'k' }), b.claim({ idempotencyKey: 'k' })])
    expect(same).toBe(one)
    expect(await b.claim({ idempotencyKey: 'k', tenant: 'other' })).not.toBe(one)
    if (one.outcome !== 'claimed') throw new Error(one.reason)
    void one.claim.release()
    await b.pass(100)
    expect(await b.claim({ idempotencyKey: 'k' })).toMatchObject({
      outcome: 'claimed',
      sandbox: { id: expect.not.stringMatching(one.sandbox.id) }
    })
  })

  it('leaves nothing behind when its caller stops waiting', async () => {
    await using b = await bench({ preemption: { perMinuteMax: 0 } })
    const { claim } = await b.claimed()
    await b.claimed()
    const caller = new AbortController()
    const waiting = b.claim({}, caller.signal)
    const next = b.claim()
    await b.pass(10)
    caller.abort(new Error('not any more'))
    await expect(waiting).rejects.toThrow('not any more')
    void claim.release()
    await b.pass(100)
    expect(await next).toMatchObject({ outcome: 'claimed' })
    expect(b.pool.metrics()).toMatchObject({ queueDepth: 0, sizes: { claimed: 2 } })
    await expect(b.claim({}, AbortSignal.abort(new Error('never')))).rejects.toThrow('never')
  })

  it('of a burst gets what is ready, however few may wait', async () => {
    await using b = await bench({ idle: { min: 8, max: 8 }, queueMax: 0 })
    const burst = Array.from({ length: 8 }, () => b.claim())
    expect((await Promise.all(burst)).map((answer) => answer.outcome === 'claimed' && answer.from)).toEqual(
      Array.from({ length: 8 }, () => 'warm')
    )
    expect(await b.claim()).toMatchObject({ outcome: 'refused', reason: 'queue-full' })
  })

  it('lets one of two callers with its key stop waiting, and the other has it', async () => {
    await using b = await bench({ preemption: { perMinuteMax: 0 } })
    const { claim } = await b.claimed()
    await b.claimed()
    const caller = new AbortController()
    const first = b.claim({ idempotencyKey: 'k' })
    const second = b.claim({ idempotencyKey: 'k' }, caller.signal)
    await b.pass(10)
    caller.abort(new Error('not any more'))
    await expect(second).rejects.toThrow('not any more')
    void claim.release()
    await b.pass(100)
    expect(await first).toMatchObject({ outcome: 'claimed' })
  })

  it('ends when its sandbox does', async () => {
    await using b = await bench()
    const { claim, sandbox } = await b.claimed()
    b.runtime.lose(sandbox.id)
    await expect(sandbox.evaluate('1')).rejects.toMatchObject({ code: 'SANDBOX_GONE' })
    await b.pass(100)
    expect(await claim.ended).toEqual({ outcome: 'gone' })
    expect(b.pool.metrics().sizes.claimed).toBe(0)
  })

  it('is refused where the tenant has all that it may have, and others are not held up', async () => {
    await using b = await bench({ tenantMax: 1, preemption: { perMinuteMax: 0 } })
    await b.claimed({ tenant: 'greedy' })
    const more = b.claim({ tenant: 'greedy' })
    expect(await b.claim({ tenant: 'modest' })).toMatchObject({ outcome: 'claimed' })
    expect(await b.claim({ tenant: 'greedy' })).toMatchObject({ outcome: 'refused', reason: 'queue-full' })
    await b.pass(30_001)
    expect(await more).toMatchObject({ outcome: 'refused', reason: 'tenant-limit' })
  })

  it('does not notice when the wall clock jumps', async () => {
    await using b = await bench({ preemption: { perMinuteMax: 0 } })
    await Promise.all([b.claimed(), b.claimed()])
    const waiting = b.claim()
    await b.pass(10)
    b.platform.clock.jumpWallTo(b.platform.clock.now() + 86_400_000)
    await b.pass(10)
    b.platform.clock.jumpWallTo(1_000)
    await b.pass(29_000)
    expect(b.pool.metrics()).toMatchObject({ queueDepth: 1, sizes: { claimed: 2 }, refused: 0 })
    await b.pass(2_000)
    expect(await waiting).toMatchObject({ outcome: 'claimed', warning: 'cold_start_fallback' })
  })
})

describe('preemption', () => {
  it('saves the claim of lowest priority and gives its place away; it comes back with the wait that it had', async () => {
    await using b = await bench({ idle: { min: 1, max: 1 } })
    const low = await b.claimed({ agent: 'low', priority: 'low', requeue: true })
    const high = await b.claimed({ agent: 'high', priority: 'high' })
    expect(high.fence).toBeGreaterThan(low.fence)
    const ended = await low.claim.ended
    if (ended.outcome !== 'preempted') throw new Error(ended.outcome)
    expect(new TextDecoder().decode(ended.checkpoint)).toBe(low.sandbox.id)
    expect(b.of('claim.ended')).toMatchObject([{ outcome: 'preempted', agent: 'low' }])
    void high.claim.release()
    await b.pass(100)
    expect(await ended.requeued).toMatchObject({ outcome: 'claimed', from: 'checkpoint', sandbox: { agent: 'low' } })
  })

  it('stays within the capacity while places change hands, however long sandboxes take to end', async () => {
    await using b = await bench({ idle: { min: 1, max: 1 } })
    b.runtime.endMs = 300
    const low = await b.claimed({ priority: 'low', requeue: true })
    const high = b.claim({ priority: 'high' })
    let most = 0
    for (let ms = 0; ms < 3_000; ms += 5) {
      await b.pass(5)
      most = Math.max(most, b.runtime.alive.size)
      if (ms !== 1_000) continue
      const answer = await high
      if (answer.outcome === 'claimed') void answer.claim.release()
    }
    expect(await low.claim.ended).toMatchObject({ outcome: 'preempted' })
    expect(b.pool.metrics()).toMatchObject({ claimed: { checkpoint: 1 }, sizes: { claimed: 1 } })
    expect(most).toBe(1)
  })

  it('lets a claim that cannot be saved go on, and tries the next', async () => {
    await using b = await bench({ preemption: { cooldownMs: 60_000 } })
    const one = await b.claimed({ priority: 'low' })
    await b.claimed({ priority: 'low' })
    b.runtime.failCheckpoints = true
    const high = b.claim({ priority: 'high' })
    await b.pass(100)
    expect(b.of('preemption.failed')).toHaveLength(2)
    expect(await one.sandbox.evaluate('1')).toMatchObject({ outcome: 'completed' })
    expect(b.pool.metrics()).toMatchObject({ preemptions: 0, preemptionFailures: 2, sizes: { claimed: 2 } })
    // Both are left in peace for a minute, and then there is a place by another way.
    await b.pass(30_000)
    expect(await high).toMatchObject({ outcome: 'claimed', warning: 'cold_start_fallback' })
    expect(b.of('preemption.failed')).toHaveLength(2)
  })

  it('ends a claim whose sandbox is lost while it is saved', async () => {
    await using b = await bench({ idle: { min: 1, max: 1 } })
    const low = await b.claimed({ priority: 'low' })
    b.runtime.checkpointMs = 50
    const high = b.claim({ priority: 'high' })
    await b.pass(10)
    b.runtime.lose(low.sandbox.id)
    await expect(low.sandbox.evaluate('1')).rejects.toMatchObject({ code: 'SANDBOX_GONE' })
    await b.pass(200)
    expect(await Promise.race([low.claim.ended, Promise.resolve('still held')])).toEqual({ outcome: 'gone' })
    expect(await high).toMatchObject({ outcome: 'claimed' })
  })

  it('gives a checkpoint its time and no more; one that comes too late is its owner’s all the same', async () => {
    await using b = await bench({ idle: { min: 1, max: 1 }, preemption: { checkpointMs: 100 } })
    b.runtime.checkpointMs = 5_000
    const low = await b.claimed({ priority: 'low' })
    void b.claim({ priority: 'high' })
    await b.pass(150)
    expect(b.of('preemption.failed')).toMatchObject([{ error: { message: 'it took longer than 100 ms' } }])
    await b.pass(5_000)
    expect(await low.claim.ended).toMatchObject({ outcome: 'preempted' })
    expect(b.pool.metrics().sizes.claimed).toBe(1)
  })

  it('spares a claim of the same priority, one that is not to be preempted, and all when the minute’s budget is spent', async () => {
    await using b = await bench({ idle: { min: 1, max: 3 }, capacity: 3, preemption: { perMinuteMax: 1 } })
    await b.claimed({ priority: 'high' })
    await b.claimed({ priority: 'low', nonPreemptible: true })
    await b.claimed({ priority: 'low', agent: 'victim' })
    await b.claimed({ priority: 'high' })
    const waits = b.claim({ priority: 'high' })
    await b.pass(1_000)
    expect(b.of('claim.ended')).toMatchObject([{ agent: 'victim', outcome: 'preempted' }])
    expect(b.pool.metrics()).toMatchObject({ queueDepth: 1, preemptions: 1 })
    await b.pass(30_000)
    await waits
  })
})

describe('the stock of a pool', () => {
  it('raises exhaustion once when fewer than min are ready, and says when there are enough again', async () => {
    await using b = await bench({ idle: { min: 2, max: 4 } })
    expect(b.of('pool.replenished')).toHaveLength(1)
    await Promise.all([b.claim(), b.claim()])
    expect(b.of('pool.exhausted')).toMatchObject([{ free: 0, min: 2 }])
    await b.pass(100)
    expect(b.of('pool.replenished')).toHaveLength(2)
    expect(b.of('pool.exhausted')).toHaveLength(1)
  })

  it('grows with demand in steps, to what arrives while one starts and half as much again, and shrinks when it is quiet', async () => {
    await using b = await bench({ idle: { min: 1, max: 9 }, capacity: 50 })
    b.runtime.startMs = 1_000
    // 2 a second, and a second to start: 3.
    for (let second = 0; second < 12; second++) {
      for (let n = 0; n < 2; n++) {
        void b.claim().then((answer) => {
          if (answer.outcome === 'claimed') void answer.claim.release()
        })
        await b.pass(500)
      }
    }
    expect(b.pool.metrics().target).toBe(3)
    await b.pass(5_000)
    expect(b.pool.metrics().sizes.ready).toBe(3)
    await b.pass(40_000)
    expect(b.pool.metrics().target).toBe(3)
    await b.pass(60_000)
    expect(b.pool.metrics()).toMatchObject({ target: 1, sizes: { ready: 1 } })
  })

  it('starts no more at once than a fifth of its target', async () => {
    const platform = testPlatform()
    const runtime = fakePoolRuntime(platform.clock)
    let most = 0
    const prepare = runtime.prepare
    const counted = {
      ...runtime,
      prepare: async (made: Parameters<typeof prepare>[0]) => {
        const starting = prepare(made)
        most = Math.max(most, runtime.starting)
        return starting
      }
    }
    await using b = await bench({ runtime: counted, platform, idle: { min: 10, max: 10 } }, { platform, runtime })
    expect([most, b.pool.metrics().sizes.ready]).toEqual([2, 10])
  })

  it('stops after three failures in a row, answers claims, and recovers with a probe', async () => {
    await using b = await bench({ idle: { min: 1, max: 1 } })
    b.runtime.failStarts = true
    const warm = await b.claimed()
    await b.pass(2_000)
    expect(b.pool.state).toBe('healthy')
    void warm.claim.release()
    await b.pass(5_000)
    expect(b.pool.state).toBe('degraded')
    expect(b.of('pool.degraded')).toHaveLength(1)
    const failures = b.of('sandbox.not-started').length
    // daytona#3289: it does not go on creating.
    await b.pass(60_000)
    expect(b.of('sandbox.not-started').length - failures).toBeLessThan(10)
    expect(await b.claim()).toMatchObject({ outcome: 'refused', reason: 'degraded', etaMs: expect.any(Number) })
    b.runtime.failStarts = false
    await b.pass(61_000)
    expect(b.pool.state).toBe('healthy')
    expect(b.of('pool.recovered')).toHaveLength(1)
    expect(await b.claim()).toMatchObject({ outcome: 'claimed', from: 'warm' })
  })

  it('hands out none that its host has lost, and replaces it', async () => {
    await using b = await bench()
    for (const id of b.runtime.alive.keys()) b.runtime.lose(id)
    const claimed = await b.claimed()
    expect(b.runtime.alive.has(claimed.sandbox.id)).toBe(true)
    expect(b.of('sandbox.rejected')[0]).toMatchObject({ freshness: { verdict: 'not-ready' } })
    await b.pass(3_000)
    expect(b.pool.metrics().sizes).toMatchObject({ ready: 1, stale: 0 })
  })

  it('counts a start that takes too long as failed, and ends what comes of it', async () => {
    await using b = await bench({ startMs: 100, idle: { min: 1, max: 1 } })
    b.runtime.startMs = 5_000
    const { claim } = await b.claimed()
    void claim.release()
    await b.pass(1_000)
    expect(b.of('sandbox.not-started')[0]).toMatchObject({
      error: { message: 'the sandbox did not start within 100 ms' }
    })
    b.runtime.startMs = 10
    await b.pass(60_000)
    expect(b.runtime.alive.size).toBe(1)
  })

  it('leaves nothing behind when it is closed while sandboxes start (OpenSandbox#1173)', async () => {
    const platform = testPlatform()
    const runtime = fakePoolRuntime(platform.clock)
    runtime.startMs = 1_000
    const pool = createWarmPool({ runtime, template, idle: { min: 3, max: 3 }, platform })
    await untilHashed(pool)
    await platform.clock.advance(500)
    expect(runtime.starting).toBeGreaterThan(0)
    const claim = pool.claim({ tenant: 'acme', agent: 'a' })
    const closing = pool.close()
    await platform.clock.advance(2_000)
    await closing
    expect(await claim).toMatchObject({ outcome: 'refused', reason: 'closed' })
    expect([runtime.alive.size, runtime.starting, platform.clock.pendingTimers]).toEqual([0, 0, 0])
    await expect(pool.claim({ tenant: 'acme', agent: 'a' })).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(pool.warm()).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(pool.update(template)).rejects.toMatchObject({ code: 'CLOSED' })
    expect(pool.state).toBe('closed')
  })
})

describe('freshness', () => {
  const next = { memoryLimitBytes: mebibytes(16) }

  it('hands out nothing of an old template, and replaces what is ready one at a time', async () => {
    await using b = await bench({ idle: { min: 4, max: 4 }, capacity: 6 })
    const claimed = await b.claimed()
    await b.pass(1_000)
    b.runtime.startMs = 100
    const status = await b.pool.update(next)
    expect(status).toMatchObject({ state: 'rolling', stale: 3, updated: 0 })
    const levels: number[] = []
    for (let ms = 0; ms < 1_000; ms += 5) {
      const { ready, stale } = b.pool.metrics().sizes
      levels.push(ready + stale)
      await b.pass(5)
    }
    expect(Math.min(...levels)).toBe(3)
    expect(b.pool.rollout()).toMatchObject({ state: 'complete', updated: 4, ready: 4, stale: 0 })
    expect(b.of('rollout.complete')).toHaveLength(1)
    // Claimed ones are never touched.
    expect(await claimed.sandbox.evaluate('1')).toMatchObject({ outcome: 'completed' })
    expect(
      [...b.runtime.alive.values()].filter(({ template: made }) => made.memoryLimitBytes === mebibytes(8))
    ).toHaveLength(1)
  })

  it('starts a fresh one for a claim that finds only stale ones (agent-sandbox#764)', async () => {
    await using b = await bench({ rollout: { strategy: 'onReplenish' } })
    await b.pool.update(next)
    await b.pass(60_000)
    expect(b.pool.metrics().sizes).toMatchObject({ ready: 0, stale: 2 })
    const claimed = await b.claimed()
    expect(claimed).toMatchObject({ from: 'cold', sandbox: { memoryLimitBytes: mebibytes(16) } })
    expect(b.of('sandbox.rejected')).toMatchObject([{ freshness: { verdict: 'config-mismatch' } }])
    expect(b.pool.metrics().sizes).toMatchObject({ stale: 1, claimed: 1 })
  })

  it('replaces all at once when it is told to', async () => {
    await using b = await bench({ idle: { min: 3, max: 3 } })
    await b.pool.update(next, { strategy: 'recreate' })
    expect(b.pool.metrics().sizes).toMatchObject({ stale: 0, starting: 3 })
    await b.pass(100)
    expect(b.pool.rollout()).toMatchObject({ state: 'complete', updated: 3 })
  })

  it('pauses a rollout whose sandboxes do not start, with the old ones in place, and goes on when one does (agent-sandbox#1327)', async () => {
    await using b = await bench({ idle: { min: 3, max: 3 } })
    b.runtime.failStarts = true
    await b.pool.update(next)
    await b.pass(100)
    expect(b.pool.rollout()).toMatchObject({ state: 'paused', stale: 2, ready: 0 })
    expect(b.of('rollout.paused')).toHaveLength(1)
    b.runtime.failStarts = false
    await b.pass(60_000)
    expect(b.pool.rollout()).toMatchObject({ state: 'complete', stale: 0, ready: 3 })
  })

  it('pauses a rollout at its deadline', async () => {
    await using b = await bench({ idle: { min: 3, max: 3 } })
    b.runtime.startMs = 4_000
    const { deadlineAt } = await b.pool.update(next, { strategy: 'rolling', deadlineMs: 5_000 })
    expect(deadlineAt).toBe(b.platform.clock.now() + 5_000)
    await b.pass(20_000)
    expect(b.pool.rollout()).toMatchObject({ state: 'paused' })
    await b.pool.update(next)
    await b.pass(20_000)
    expect(b.pool.rollout()).toMatchObject({ state: 'complete' })
  })

  it('rejects at the claim what is too old, or has too little left to live', async () => {
    await using b = await bench({ idle: { min: 1, max: 1 }, maxAgeMs: 10_000, minimumLifeMs: 4_000 })
    const [old] = b.runtime.alive.keys()
    // Between two looks of the pool at its stock: the claim itself must see it.
    await b.pass(4_600)
    const ages: number[] = []
    for (let n = 0; n < 40; n++) {
      const claimed = await b.claimed()
      ages.push(b.platform.clock.monotonic() - (b.runtime.alive.get(claimed.sandbox.id)?.startedAt ?? 0))
      void claimed.claim.release()
      await b.pass(777)
    }
    expect(b.runtime.alive.has(old ?? '')).toBe(false)
    expect(Math.max(...ages)).toBeLessThan(7_000)
  })

  it('gives each its own age, so that they do not expire together', async () => {
    await using b = await bench({ idle: { min: 5, max: 5 }, maxAgeMs: 100_000 })
    await b.pass(88_000)
    let most = 0
    for (let ms = 0; ms < 24_000; ms += 100) {
      most = Math.max(most, 5 - b.pool.metrics().sizes.ready)
      await b.pass(100)
    }
    expect(b.of('sandbox.rejected').length).toBeGreaterThanOrEqual(5)
    expect(most).toBeLessThan(3)
    expect(b.of('sandbox.rejected')[0]).toMatchObject({ freshness: { verdict: 'too-old', ageMs: expect.any(Number) } })
  })

  it('knows the same template by whatever is in it', async () => {
    await using b = await bench({ template: { ...template, hostFunctions: ['a', 'b'] } })
    expect(await b.pool.update({ ...template, hostFunctions: ['b', 'a'] })).toMatchObject({ stale: 0 })
    const image = { engine: 'e', bytes: new Uint8Array([1, 2, 3]) }
    expect(await b.pool.update({ ...template, image })).toMatchObject({ stale: 1 })
    await b.pass(200)
    expect(await b.pool.update({ ...template, image: { ...image, bytes: new Uint8Array([1, 2, 3]) } })).toMatchObject({
      stale: 0
    })
    expect(await b.pool.update({ ...template, image: { ...image, engine: 'f' } })).toMatchObject({ stale: 1 })
  })
})

describe('a pool that processes share', () => {
  const two = async (options: Partial<WarmPoolOptions>, state?: PoolStateStore) => {
    const platform = testPlatform()
    const store = state ?? memoryPoolState({ clock: platform.clock })
    const shared = { ...options, state: store, platform }
    const a = await bench(shared, { platform, runtime: fakePoolRuntime(platform.clock, 'a') })
    const b = await bench(shared, { platform, runtime: fakePoolRuntime(platform.clock, 'b') })
    return { a, b, platform }
  }

  it('gives a place that is freed in one process to the head of the queue in another', async () => {
    const { a, b } = await two({ idle: { min: 0, max: 1 }, preemption: { perMinuteMax: 0 } })
    await using _a = a
    await using _b = b
    const one = await a.claimed()
    const waiting = b.claim()
    await b.pass(100)
    expect(b.pool.metrics().queueDepth).toBe(1)
    void one.claim.release()
    await b.pass(100)
    expect(await waiting).toMatchObject({ outcome: 'claimed', from: 'cold' })
    expect([a.runtime.alive.size, b.runtime.alive.size]).toEqual([0, 1])
  })

  it('recalls what another process keeps ready', async () => {
    const { a, b } = await two({ idle: { min: 2, max: 2 } })
    await using _a = a
    await using _b = b
    expect([a.runtime.alive.size, b.runtime.alive.size]).toEqual([2, 0])
    expect(await b.claimed()).toMatchObject({ from: 'cold' })
    expect([a.runtime.alive.size, b.runtime.alive.size]).toEqual([1, 1])
  })

  it('preempts across processes', async () => {
    const { a, b } = await two({ idle: { min: 0, max: 1 } })
    await using _a = a
    await using _b = b
    const low = await a.claimed({ priority: 'low' })
    expect(await b.claimed({ priority: 'high' })).toMatchObject({ from: 'cold' })
    expect(await low.claim.ended).toMatchObject({ outcome: 'preempted' })
    expect(a.runtime.alive.size).toBe(0)
  })

  it('sends an exchange again whose answer was lost, and stands for nothing twice', async () => {
    const platform = testPlatform()
    const inner = memoryPoolState({ clock: platform.clock })
    let calls = 0
    const flaky: PoolStateStore = {
      supports: inner.supports,
      async exchange(pool, exchange) {
        calls += 1
        if (calls % 3 === 1) throw new Error('before')
        const view = await inner.exchange(pool, exchange)
        if (calls % 3 === 2) throw new Error('the answer was lost')
        return view
      }
    }
    const options = { idle: { min: 2, max: 2 }, state: flaky, platform, leaseMs: 3_000 }
    const runtime = fakePoolRuntime(platform.clock)
    const pool = createWarmPool({ runtime, template, ...options })
    while (calls === 0) await new Promise((resolve) => setImmediate(resolve))
    await platform.clock.advance(20_000)
    const claims = Promise.all([1, 2].map((n) => pool.claim({ tenant: 'acme', agent: `${n}` })))
    await platform.clock.advance(20_000)
    const ids = (await claims).map((answer) => (answer.outcome === 'claimed' ? answer.sandbox.id : answer.reason))
    expect(new Set(ids).size).toBe(2)
    expect(pool.metrics().pool).toMatchObject({ held: 2 })
    expect(runtime.alive.size).toBe(2)
    const closing = pool.close()
    await platform.clock.advance(60_000)
    await closing
    expect(runtime.alive.size).toBe(0)
  })

  it('answers a claim whose store is silent when its wait is over', async () => {
    const platform = testPlatform()
    const runtime = fakePoolRuntime(platform.clock)
    const events: PoolEvent[] = []
    const state: PoolStateStore = {
      supports: { durable: 'none', shared: true },
      exchange: async () => {
        throw new Error('nobody is there')
      }
    }
    const pool = createWarmPool({
      runtime,
      template,
      idle: { min: 1, max: 1 },
      state,
      platform,
      observe: (event) => void events.push(event)
    })
    while (events.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const claim = pool.claim({ tenant: 'acme', agent: 'a' })
    await platform.clock.advance(30_001)
    expect(await claim).toMatchObject({ outcome: 'refused', reason: 'state-silent' })
    expect(events.filter(({ type }) => type === 'pool.state-silent')).toHaveLength(1)
    await pool.close()
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it.each(['falls silent', 'has given the process up'])(
    'answers a claim whose store %s while it asks for a sandbox beyond the capacity',
    async (fate) => {
      const platform = testPlatform()
      const { watch: _, ...inner } = memoryPoolState({ clock: platform.clock })
      let isSilent = false
      let hasLapsed = false
      const state: PoolStateStore = {
        ...inner,
        async exchange(pool, exchange) {
          const asks = exchange.commands.some(({ type }) => type === 'go-cold')
          if (asks && fate === 'falls silent') isSilent = true
          if (isSilent) throw new Error('nobody is there')
          if (asks && !hasLapsed) {
            hasLapsed = true
            await inner.exchange(pool, { ...exchange, kind: 'leave', commands: [] })
          }
          return inner.exchange(pool, exchange)
        }
      }
      await using b = await bench(
        { idle: { min: 1, max: 1 }, preemption: { perMinuteMax: 0 }, state },
        { platform, runtime: fakePoolRuntime(platform.clock) }
      )
      await b.claimed()
      const waiting = b.claim()
      await b.pass(31_000)
      const answer = await Promise.race([waiting, Promise.resolve('no answer')])
      if (fate === 'falls silent') expect(answer).toMatchObject({ outcome: 'refused', reason: 'state-silent' })
      else expect(answer).toMatchObject({ outcome: 'claimed', from: 'cold' })
    }
  )

  it('has no more to say after a long silence than what has become of its claims', async () => {
    const platform = testPlatform()
    const { watch: _, ...inner } = memoryPoolState({ clock: platform.clock })
    let isSilent = false
    let said = 0
    const state: PoolStateStore = {
      ...inner,
      supports: { durable: 'none', shared: true },
      async exchange(pool, exchange) {
        if (isSilent) throw new Error('nobody is there')
        said += exchange.commands.length
        return inner.exchange(pool, exchange)
      }
    }
    const options = { idle: { min: 2, max: 2 }, waitMs: 100, leaseMs: 3_600_000, state }
    await using b = await bench(options, { platform, runtime: fakePoolRuntime(platform.clock) })
    const { sandbox } = await b.claimed()
    isSilent = true
    said = 0
    for (let n = 0; n < 100; n++) {
      await sandbox.evaluate('1')
      const refused = b.claim()
      await b.pass(1_100)
      expect(await refused).toMatchObject({ reason: 'state-silent' })
    }
    isSilent = false
    await b.pass(1_000)
    expect(said).toBeLessThan(10)
  })

  it('keeps its claims when it was away for longer than its lease, and gives up what nobody has', async () => {
    const platform = testPlatform()
    const inner = memoryPoolState({ clock: platform.clock })
    let isAway = false
    const { watch: _, ...plain } = inner
    const far: PoolStateStore = {
      ...plain,
      async exchange(pool, exchange) {
        if (isAway) throw new Error('away')
        return inner.exchange(pool, exchange)
      }
    }
    const shared = { idle: { min: 2, max: 2 }, platform, preemption: { perMinuteMax: 0 }, leaseMs: 3_000 }
    await using a = await bench({ ...shared, state: far }, { platform, runtime: fakePoolRuntime(platform.clock, 'a') })
    const mine = await a.claimed()
    await using b = await bench(
      { ...shared, state: inner },
      { platform, runtime: fakePoolRuntime(platform.clock, 'b') }
    )
    isAway = true
    await b.pass(4_000)
    const theirs = [await b.claimed(), await b.claimed()]
    isAway = false
    await b.pass(4_000)
    expect(a.of('pool.lapsed')).toMatchObject([{ claims: 1 }])
    expect(await mine.sandbox.evaluate('1')).toMatchObject({ outcome: 'completed' })
    expect(a.runtime.alive.size).toBe(1)
    expect(b.pool.metrics().pool).toMatchObject({ held: 3, members: 2 })
    void theirs[0]?.claim.release()
    void mine.claim.release()
    await b.pass(1_000)
    expect(b.pool.metrics().pool.held).toBe(1)
  })
})

describe('the options of a pool', () => {
  it.each([
    [{ idle: { min: 3, max: 2 } }, 'idle.max'],
    [{ capacity: 1 }, 'capacity'],
    [{ minimumLifeMs: 900_000 }, 'minimumLifeMs'],
    [{ rollout: { strategy: 'sometimes' } }, 'rollout.strategy'],
    [{ template: { memoryLimitBytes: 1 } }, 'template.memoryLimitBytes'],
    [{ template: { memoryLimitBytes: 8_388_608, image: {} } }, 'template.image'],
    [{ preemptions: 1 }, 'preemptions'],
    [{ pollMs: 10_000 }, 'pollMs'],
    [{ runtime: undefined }, 'runtime']
  ])('are refused with the path: %j', (wrong, path) => {
    const runtime = fakePoolRuntime(testPlatform().clock)
    const make = () => createWarmPool({ runtime, template, idle: { min: 2, max: 2 }, ...(wrong as object) })
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    expect(make).toThrow(path)
  })

  it('of a claim are refused before it waits', async () => {
    await using b = await bench()
    for (const [wrong, path] of [
      [{ tenant: '' }, 'tenant'],
      [{ agent: 'a\nb' }, 'agent'],
      [{ priority: 'urgent' }, 'priority'],
      [{ image: 1 }, 'image']
    ] as const) {
      await expect(b.claim(wrong as object)).rejects.toThrow(path)
    }
    expect(b.pool.metrics().queueDepth).toBe(0)
  })
})
