import { sleep } from '@enablement/core'
import { createLock, type LockStore, memoryLockStore } from '@enablement/core/lock'
import { seededRandom, virtualClock } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'
import { type SimulatedMachine, simulatedMachine } from './simulated-machine.ts'

const scale = inject('scale')

const MACHINES = 3
const TTL_MS = 1_000
/** Longer than what everybody may be doing when the last fault has struck, one after the other. */
const ENDING_MAX_MS = 60_000

interface Fault {
  /** How long after the one before. */
  readonly afterMs: number
  readonly machine: number
  readonly kind: 'pause' | 'sleep' | 'wall' | 'cut' | 'lose-replies' | 'store-clock' | 'store-loss'
  readonly ms: number
}

interface Plan {
  readonly seed: number
  /** How fast the clock of each machine runs. */
  readonly rates: readonly number[]
  readonly faults: readonly Fault[]
}

/** What happened, in true time; fences tell who. */
interface History {
  /** In the order in which the store granted them. */
  readonly granted: number[]
  /** A holder looked, found that it held the lock, and acted. */
  readonly acts: { readonly fence: number; readonly latestGranted: number }[]
  /** Writes as they reached the resource. */
  readonly writes: { readonly fence: number; readonly accepted: boolean }[]
  /** Work that ended, as its holder was told. */
  readonly done: number[]
  /** Of work that ended when the lock had been granted to somebody else already. */
  readonly overtaken: Set<number>
  lost: number
}

/** Three machines work under one lock while the plan's faults strike; then everything heals, and they come to an end. */
async function play({ seed, rates, faults }: Plan): Promise<History> {
  const time = virtualClock()
  const random = seededRandom(seed)
  let storeAheadMs = 0
  const storePlatform = { clock: { ...time, now: () => time.now() + storeAheadMs }, random }
  let inner = memoryLockStore({ platform: storePlatform })
  const history: History = { granted: [], acts: [], writes: [], done: [], overtaken: new Set(), lost: 0 }

  const recorded: LockStore = {
    supports: inner.supports,
    async acquire(claim) {
      const answer = await inner.acquire(claim)
      // Claimed again by its owner, a lease keeps its fence.
      if (answer.outcome === 'granted' && answer.fence !== history.granted.at(-1)) history.granted.push(answer.fence)
      return answer
    },
    extend: (claim) => inner.extend(claim),
    release: (owned) => inner.release(owned)
  }

  let highest = 0
  const write = (fence: number): void => {
    const accepted = fence >= highest
    if (accepted) highest = fence
    history.writes.push({ fence, accepted })
  }

  let ending = false
  const live = async (machine: SimulatedMachine, seedOfMachine: number): Promise<void> => {
    const platform = { clock: machine.clock, random: seededRandom(seedOfMachine) }
    const lock = createLock({ store: machine.store, platform, ttlMs: TTL_MS, pollMs: 50 })
    while (!ending) {
      const lasts = 20 + platform.random.below(3_000)
      const startedAt = machine.clock.monotonic()
      const answer = await lock
        .withLock(
          'job',
          async (hold) => {
            while (machine.clock.monotonic() - startedAt < lasts && !hold.signal.aborted) {
              if (hold.remainingMs() > 0) {
                history.acts.push({ fence: hold.fence, latestGranted: history.granted.at(-1) as number })
                machine.send(() => write(hold.fence))
              }
              await sleep(machine.clock, 5 + platform.random.below(60))
            }
            if (history.granted.at(-1) !== hold.fence) history.overtaken.add(hold.fence)
          },
          { waitMs: 400 }
        )
        .catch(() => undefined)
      if (answer?.outcome === 'done') history.done.push(answer.fence)
      if (answer?.outcome === 'lost') history.lost += 1
      await sleep(machine.clock, platform.random.below(200))
    }
  }

  const latencyMs = (): number => random.float() * 30
  const machines = rates.map((rate) => simulatedMachine({ time, store: () => recorded, rate, latencyMs }))
  const lives = Promise.all(machines.map((machine, at) => live(machine, seed + at)))
  for (const { afterMs, machine: at, kind, ms } of faults) {
    await time.advance(afterMs)
    const machine = machines[at] as SimulatedMachine
    if (kind === 'pause') machine.pause(ms)
    else if (kind === 'sleep') machine.sleep(ms)
    else if (kind === 'wall') machine.jumpWall(ms)
    else if (kind === 'cut') machine.cut(ms)
    else if (kind === 'lose-replies') machine.loseReplies(1)
    else if (kind === 'store-clock') storeAheadMs += ms
    else inner = memoryLockStore({ platform: storePlatform })
  }
  ending = true
  let ended = false
  void lives.then(() => {
    ended = true
  })
  for (let passedMs = 0; !ended && passedMs < ENDING_MAX_MS; passedMs += 1_000) await time.advance(1_000)
  expect(ended, 'everybody comes to an end').toBe(true)
  return history
}

const lengths = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 500, max: 5_000 }))

function plans(kinds: readonly Fault['kind'][], ms: fc.Arbitrary<number> = lengths): fc.Arbitrary<Plan> {
  return fc.record({
    seed: fc.integer({ min: 0, max: 1_000_000 }),
    // A thousand times what quartz allows itself, and within what the margin of a tenth covers.
    rates: fc.array(fc.double({ min: 0.92, max: 1.08, noNaN: true }), { minLength: MACHINES, maxLength: MACHINES }),
    faults: fc.array(
      fc.record({
        afterMs: fc.integer({ min: 0, max: 900 }),
        machine: fc.integer({ min: 0, max: MACHINES - 1 }),
        kind: fc.constantFrom(...kinds),
        ms
      }),
      { minLength: 1, maxLength: 14 }
    )
  })
}

/** A plan that fails is short enough to read, and playing it again and again to shorten it takes minutes. */
const runs = { numRuns: Math.ceil(10 * scale), endOnFailure: true }

/** What holds whatever happens: fences only grow, and the resource never goes back to an earlier holder. */
function expectFenced({ granted, writes }: History): void {
  expect(granted.filter((fence, at) => at > 0 && fence <= (granted[at - 1] as number))).toEqual([])
  const accepted = writes.filter((one) => one.accepted).map(({ fence }) => fence)
  expect(accepted.filter((fence, at) => at > 0 && fence < (accepted[at - 1] as number))).toEqual([])
}

/** What holds while the store keeps its word: who looks and finds the lock held is the one who has it. */
function expectExclusive({ acts, done, overtaken }: History): void {
  expect(acts.filter(({ fence, latestGranted }) => fence !== latestGranted)).toEqual([])
  expect(done.filter((fence) => overtaken.has(fence))).toEqual([])
}

describe('the history of a lock', () => {
  test.prop([plans(['pause', 'sleep', 'wall'])], runs)(
    'has one holder at a time although processes stand still, machines sleep and wall clocks are set forward',
    async (plan) => {
      const history = await play(plan)
      expectFenced(history)
      expectExclusive(history)
    },
    600_000
  )

  test.prop(
    [
      plans(
        ['pause', 'wall'],
        fc.integer({ min: -5_000, max: 5_000 }).map((ms) => (ms === 0 ? 1 : ms))
      )
    ],
    runs
  )(
    'has one holder at a time although wall clocks are set back',
    async ({ faults, ...plan }) => {
      const history = await play({
        ...plan,
        faults: faults.map((fault) => (fault.kind === 'pause' ? { ...fault, ms: Math.abs(fault.ms) } : fault))
      })
      expectFenced(history)
      expectExclusive(history)
    },
    600_000
  )

  test.prop([plans(['pause', 'sleep', 'cut', 'lose-replies'])], runs)(
    'has one holder at a time although requests and replies are lost',
    async (plan) => {
      const history = await play(plan)
      expectFenced(history)
      expectExclusive(history)
    },
    600_000
  )

  test.prop([plans(['pause', 'store-clock'], fc.integer({ min: -5_000, max: 5_000 }).map(Math.abs))], runs)(
    "keeps later holders' writes from earlier ones when the store's clock jumps ahead, and calls no such work done",
    async (plan) => {
      const history = await play(plan)
      expectFenced(history)
      expect(history.done.filter((fence) => history.overtaken.has(fence))).toEqual([])
    },
    600_000
  )

  test.prop([plans(['pause', 'sleep', 'store-loss'])], runs)(
    "keeps later holders' writes from earlier ones when the store forgets its locks, and calls no such work done",
    async (plan) => {
      const history = await play(plan)
      expectFenced(history)
      expect(history.done.filter((fence) => history.overtaken.has(fence))).toEqual([])
    },
    600_000
  )
})
