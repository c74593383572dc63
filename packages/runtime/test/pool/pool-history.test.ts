import { seededRandom, virtualClock } from '@enablement/core/testing'
import {
  type ClaimOptions,
  createWarmPool,
  mebibytes,
  type PoolClaim,
  type PoolStateStore,
  type WarmPool
} from '@enablement/runtime'
import { memoryPoolState } from '@enablement/runtime/memory'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'
import { type FakePoolRuntime, fakePoolRuntime, template } from '../fakes/fake-pool-runtime.ts'

const scale = inject('scale')

const CAPACITY = 4
const COLD_MAX = 2
const MAX_AGE_MS = 20_000
const WAIT_MS = 5_000
const LEASE_MS = 2_000

type Happening = { readonly afterMs: number; readonly process: number } & (
  | {
      readonly type: 'claim'
      readonly tenant: string
      readonly priority: ClaimOptions['priority']
      readonly requeue: boolean
      readonly nonPreemptible: boolean
      readonly holdMs: number
      readonly givesUp: boolean
    }
  | { readonly type: 'lose' | 'crash' }
  | { readonly type: 'starts' | 'checkpoints'; readonly fail: boolean }
  | { readonly type: 'slow'; readonly startMs: number; readonly endMs: number }
  | { readonly type: 'update'; readonly mebibytes: number }
  | { readonly type: 'wall'; readonly jumpMs: number }
  | { readonly type: 'store'; readonly loses: 'calls' | 'answers' | 'nothing' }
)

const base = { afterMs: fc.constantFrom(0, 1, 5, 20, 100, 700, 3_000), process: fc.nat(1) }
const happening = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      ...base,
      type: fc.constant('claim' as const),
      tenant: fc.constantFrom('one', 'two', 'three'),
      priority: fc.constantFrom('low' as const, 'normal', 'high', 'critical'),
      requeue: fc.boolean(),
      nonPreemptible: fc.boolean(),
      holdMs: fc.constantFrom(0, 10, 500, 4_000),
      givesUp: fc.boolean()
    })
  },
  fc.record({ ...base, type: fc.constantFrom('lose' as const, 'lose', 'crash') }),
  fc.record({ ...base, type: fc.constantFrom('starts' as const, 'checkpoints'), fail: fc.boolean() }),
  fc.record({
    ...base,
    type: fc.constant('slow' as const),
    startMs: fc.constantFrom(1, 10, 300),
    endMs: fc.constantFrom(1, 300)
  }),
  fc.record({ ...base, type: fc.constant('update' as const), mebibytes: fc.integer({ min: 8, max: 11 }) }),
  fc.record({ ...base, type: fc.constant('wall' as const), jumpMs: fc.constantFrom(-86_400_000, 86_400_000) }),
  fc.record({
    ...base,
    type: fc.constant('store' as const),
    loses: fc.constantFrom('calls' as const, 'answers', 'nothing', 'nothing')
  })
) as fc.Arbitrary<Happening>

interface Machine {
  readonly runtime: FakePoolRuntime
  readonly pool: WarmPool
  limitBytes: number
  loses: 'calls' | 'answers' | 'nothing'
  isDead: boolean
  /** Held beyond the capacity. */
  readonly cold: Set<string>
}

/** Two processes of one pool live through it; then everything heals, and whatever waits comes to an end. */
async function play(happenings: readonly Happening[], seed: number): Promise<void> {
  const clock = virtualClock()
  const random = seededRandom(seed)
  const store = memoryPoolState({ clock })
  const handedOut = new Set<string>()
  const fences: number[] = []
  const waiting = new Map<number, number>()
  let claims = 0
  let isClean = true

  const machineOf = async (name: string): Promise<Machine> => {
    const runtime = fakePoolRuntime(clock, name)
    const far: PoolStateStore = {
      supports: { durable: 'none', shared: true },
      async exchange(pool, exchange) {
        if (machine.isDead) return new Promise(() => undefined)
        if (machine.loses === 'calls') throw new Error('lost')
        const view = await store.exchange(pool, exchange)
        if (machine.loses === 'answers') throw new Error('the answer was lost')
        return view
      }
    }
    const pool = createWarmPool({
      runtime,
      template,
      idle: { min: 1, max: 3 },
      capacity: CAPACITY,
      coldMax: COLD_MAX,
      tenantMax: 3,
      queueMax: 8,
      waitMs: WAIT_MS,
      agingMs: 500,
      maxAgeMs: MAX_AGE_MS,
      minimumLifeMs: 1_000,
      state: far,
      leaseMs: LEASE_MS,
      preemption: { perMinuteMax: 20, cooldownMs: 1_000, checkpointMs: 200 },
      rollout: { strategy: 'rolling', maxUnavailable: 1 },
      platform: { clock, random },
      observe(event) {
        if (event.type === 'claim.granted') fences.push(event.fence)
        if (event.type === 'pool.lapsed') isClean = false
      }
    })
    const machine: Machine = {
      runtime,
      pool,
      limitBytes: template.memoryLimitBytes,
      loses: 'nothing',
      isDead: false,
      cold: new Set<string>()
    }
    runtime.onAssigned = (guest) => {
      expect(handedOut.has(guest.id), 'handed out twice').toBe(false)
      handedOut.add(guest.id)
      expect(guest.template.memoryLimitBytes, 'of an old template').toBe(machine.limitBytes)
      const ageMs = clock.monotonic() - guest.startedAt
      expect(ageMs, 'too old').toBeLessThanOrEqual(MAX_AGE_MS * 1.1 - 1_000)
    }
    while (pool.metrics().pool.members === 0) await clock.advance(1)
    return machine
  }

  const machines = [await machineOf('a'), await machineOf('b')]

  const hold = async (machine: Machine, claim: PoolClaim, isCold: boolean, holdMs: number): Promise<void> => {
    if (isCold) machine.cold.add(claim.id)
    clock.startTimer(holdMs, () => void claim.release())
    const ended = await claim.ended
    machine.cold.delete(claim.id)
    if (ended.outcome === 'preempted') {
      const again = await ended.requeued
      if (again?.outcome === 'claimed') await hold(machine, again.claim, again.warning !== undefined, holdMs)
    }
  }

  const check = (): void => {
    const living = machines.filter(({ isDead }) => !isDead)
    for (const machine of living) {
      const { starting, ready, stale, claimed, closing } = machine.pool.metrics().sizes
      // Every sandbox is in one place, or is on its way in or out.
      expect(machine.runtime.alive.size).toBeLessThanOrEqual(ready + stale + claimed + closing + starting + COLD_MAX)
    }
    // A process that was away for longer than its lease keeps its claims beyond the capacity.
    if (!isClean || machines.some(({ isDead }) => isDead)) return
    const alive = living.reduce((sum, { runtime, cold }) => sum + runtime.alive.size - cold.size, 0)
    expect(alive, 'beyond the capacity').toBeLessThanOrEqual(CAPACITY)
  }

  const carryOut = async (one: Happening): Promise<void> => {
    const machine = machines[one.process] as Machine
    if (one.type === 'wall') return clock.jumpWallTo(Math.max(0, clock.now() + one.jumpMs))
    if (machine.isDead) return
    const { runtime, pool } = machine
    if (one.type === 'claim') {
      const { tenant, priority = 'normal', requeue, nonPreemptible, holdMs } = one
      const at = ++claims
      waiting.set(at, clock.monotonic())
      const caller = new AbortController()
      if (one.givesUp) clock.startTimer(50, () => caller.abort(new Error('gone')))
      void pool.claim({ tenant, agent: `${at}`, priority, requeue, nonPreemptible }, { signal: caller.signal }).then(
        (answer) => {
          waiting.delete(at)
          if (answer.outcome === 'claimed') void hold(machine, answer.claim, answer.warning !== undefined, holdMs)
        },
        () => waiting.delete(at)
      )
    } else if (one.type === 'lose') {
      const found = [...runtime.alive.values()].find(({ state }) => state === 'ready')
      if (found !== undefined) runtime.lose(found.id)
    } else if (one.type === 'crash') {
      // Only the second, so that somebody is left.
      if (one.process === 0) return
      machine.isDead = true
      runtime.crash()
    } else if (one.type === 'starts') runtime.failStarts = one.fail
    else if (one.type === 'checkpoints') runtime.failCheckpoints = one.fail
    else if (one.type === 'slow') Object.assign(runtime, { startMs: one.startMs, endMs: one.endMs })
    else if (one.type === 'store') machine.loses = one.loses
    else if (one.type === 'update') {
      const updating = pool.update({ memoryLimitBytes: mebibytes(one.mebibytes) })
      // Until it is hashed the old one counts.
      await updating
      machine.limitBytes = mebibytes(one.mebibytes)
    }
  }

  for (const one of happenings) {
    await clock.advance(one.afterMs)
    check()
    await carryOut(one)
    check()
  }

  const [a, b] = machines as [Machine, Machine]
  for (const machine of machines) {
    machine.loses = 'nothing'
    Object.assign(machine.runtime, { failStarts: false, failCheckpoints: false, startMs: 10, endMs: 1 })
  }
  for (let ms = 0; ms < 90_000; ms += 1_000) {
    await clock.advance(1_000)
    check()
  }
  // Away from the whole seconds at which pools replace what has become too old since the last.
  await clock.advance(500)
  expect(fences.length, 'a fence was given twice').toBe(new Set(fences).size)
  const living = machines.filter(({ isDead }) => !isDead)
  if (!b.isDead) expect([...waiting.keys()], 'waits for ever').toEqual([])
  expect(a.pool.metrics().queueDepth, 'left in the queue').toBe(0)
  for (const { pool, runtime } of living) {
    const { ready, stale, starting, claimed } = pool.metrics().sizes
    expect(claimed, 'held for ever').toBe(0)
    expect(pool.state).toBe('healthy')
    expect([...runtime.alive.values()].filter(({ state }) => state === 'ready')).toHaveLength(ready + stale)
    expect(runtime.alive.size, 'left behind').toBe(ready + stale)
    expect(ready + stale + starting, 'not refilled').toBeGreaterThanOrEqual(1)
  }
  const closing = Promise.all(living.map(({ pool }) => pool.close()))
  await clock.advance(60_000)
  await closing
  for (const { runtime } of living) expect([runtime.alive.size, runtime.starting], 'left by close').toEqual([0, 0])
  if (!b.isDead) expect(clock.pendingTimers).toBe(0)
}

describe('a pool over whatever happens', () => {
  test.prop([fc.array(happening, { maxLength: 40 }), fc.nat(1_000)], { numRuns: Math.ceil(12 * scale) })(
    'hands out each sandbox once, fresh, within its capacity; nothing waits for ever and nothing is left behind',
    play,
    600_000
  )
})
