import assert from 'node:assert/strict'
import { isSuiteError } from '../../failure/suite-error.ts'
import type { CircuitBreakerOptions } from '../../resilience/breaker-options.ts'
import type { BreakerPermit, BreakerRejection, CircuitBreaker } from '../../resilience/circuit-breaker.ts'
import type { ConformanceKit } from '../conformance.ts'

/** What a case asks of a breaker. Names, platforms and observers are the subject's own. */
export type ExaminedBreakerOptions = Omit<CircuitBreakerOptions, 'name' | 'platform' | 'observe'>

/** A fresh, closed breaker under examination. */
export interface CircuitBreakerSubject extends AsyncDisposable {
  readonly breaker: CircuitBreaker
  /** The clocks that it goes by, such as a `virtualClock`. */
  readonly clock: {
    now(): number
    monotonic(): number
    /** Moves both. */
    advance(durationMs: number): Promise<void>
    /** Sets the wall clock alone. */
    jumpWallTo(epochMs: number): void
  }
}

/** Makes a subject with these options; each call is a breaker of its own. */
export type CreateCircuitBreaker = (options: ExaminedBreakerOptions) => Promise<CircuitBreakerSubject>

/** What not every breaker has. */
export type CircuitBreakerNeed = 'slow-calls' | 'ramp' | 'overrides' | 'snapshots'

const THREE = { window: { kind: 'consecutive', failures: 3 }, breakMs: 1_000 } as const

interface Bench {
  readonly breaker: CircuitBreaker
  readonly clock: CircuitBreakerSubject['clock']
  permit(): BreakerPermit
  rejection(): BreakerRejection
  fail(times: number): void
  /** Opens it and waits its break out, of 1 s unless told otherwise. */
  probing(breakMs?: number): Promise<void>
}

function exam(
  options: ExaminedBreakerOptions,
  body: (bench: Bench) => Promise<void> | void
): (create: CreateCircuitBreaker) => Promise<void> {
  return async (create) => {
    await using subject = await create(options)
    await body(benchOf(subject))
  }
}

function benchOf({ breaker, clock }: CircuitBreakerSubject): Bench {
  const permit = (): BreakerPermit => {
    const leave = breaker.acquire()
    assert.ok(leave.outcome === 'permitted', 'a call should have been let through')
    return leave
  }
  return {
    breaker,
    clock,
    permit,
    rejection() {
      const leave = breaker.acquire()
      assert.ok(leave.outcome === 'rejected', 'a call should not have been let through')
      assert.ok(leave.retryAfterMs > 0, `it is in vain to ask again after ${leave.retryAfterMs} ms`)
      return leave
    },
    fail(times) {
      for (let time = 0; time < times; time++) breaker.fail(permit())
    },
    async probing(breakMs = 1_000) {
      breaker.trip()
      await clock.advance(breakMs)
    }
  }
}

const throwing = (fields: object) => (): Promise<never> => Promise.reject(Object.assign(new Error('ended'), fields))

/** The exam of a `CircuitBreaker`. Faults are those that peers show, by their numbers in research/core.md §2.1. */
export const circuitBreakerConformance: ConformanceKit<CreateCircuitBreaker, CircuitBreakerNeed> = {
  name: 'CircuitBreaker',
  needs: ['slow-calls', 'ramp', 'overrides', 'snapshots'],
  cases: [
    {
      name: 'opens at so many failures in a row, and a success between them starts anew',
      run: exam(THREE, ({ breaker, fail, permit, rejection }) => {
        fail(2)
        breaker.succeed(permit())
        fail(2)
        assert.equal(breaker.state, 'closed')
        fail(1)
        assert.equal(breaker.state, 'open')
        assert.deepEqual(rejection(), { outcome: 'rejected', reason: 'open', retryAfterMs: 1_000 })
      })
    },
    {
      name: 'opens when the share of failures among the last calls is reached, not with fewer calls than the minimum',
      run: exam(
        { window: { kind: 'count', size: 5, minimumThroughput: 4, failureRatio: 0.5 } },
        ({ breaker, fail, permit }) => {
          fail(3)
          assert.equal(breaker.state, 'closed', 'three calls are below the minimum')
          breaker.reset()
          for (let call = 0; call < 5; call++) breaker.succeed(permit())
          fail(2)
          assert.equal(breaker.state, 'closed', '2 of 5 failed')
          fail(1)
          assert.equal(breaker.state, 'open', '3 of 5 failed')
        }
      )
    },
    {
      name: 'fault 1: lets go of failures by time, also when nobody calls',
      run: exam(
        { window: { kind: 'time', samplingMs: 10_000, minimumThroughput: 5, failureRatio: 0.5 } },
        async ({ breaker, fail, clock }) => {
          fail(4)
          await clock.advance(3_600_000)
          fail(1)
          assert.equal(breaker.state, 'closed')
          fail(4)
          assert.equal(breaker.state, 'open')
        }
      )
    },
    {
      name: 'fault 2: keeps its breaks whatever the wall clock does',
      run: exam(THREE, async ({ breaker, fail, clock }) => {
        fail(3)
        clock.jumpWallTo(clock.now() - 3_600_000)
        await clock.advance(999)
        assert.equal(breaker.state, 'open')
        await clock.advance(1)
        assert.equal(breaker.state, 'half-open')
        breaker.trip()
        clock.jumpWallTo(clock.now() + 3_600_000)
        assert.equal(breaker.state, 'open')
      })
    },
    {
      name: 'fault 3: takes no report of a generation that has passed for one of this',
      run: exam(THREE, async ({ breaker, fail, permit, clock }) => {
        const early = permit()
        fail(3)
        await clock.advance(1_000)
        const probe = permit()
        assert.ok(probe.generation > early.generation)
        breaker.fail(early)
        breaker.succeed(early)
        assert.equal(breaker.state, 'half-open')
        breaker.succeed(probe)
        assert.equal(breaker.state, 'closed')
        for (let time = 0; time < 5; time++) breaker.fail(early)
        assert.equal(breaker.state, 'closed')
      })
    },
    {
      name: 'fault 4: lets one call probe and turns the others away at once, however many',
      run: exam(THREE, async ({ breaker, probing, permit, rejection }) => {
        await probing()
        assert.equal(permit().probe, true)
        for (let call = 0; call < 100; call++) assert.equal(rejection().reason, 'probing')
        await assert.rejects(breaker.execute(() => 1))
      })
    },
    {
      name: 'fault 4: lets a growing share through after closing',
      needs: ['ramp'],
      run: exam({ ...THREE, rampMs: 1_000, rampFromRatio: 0.2 }, async ({ breaker, probing, permit, clock }) => {
        await probing()
        breaker.succeed(permit())
        for (const expected of [20, 40, 60, 80, 100]) {
          let through = 0
          for (let call = 0; call < 100; call++) if (breaker.acquire().outcome === 'permitted') through += 1
          assert.ok(Math.abs(through - expected) <= 1, `${through} of 100 were let through, not ${expected}`)
          await clock.advance(250)
        }
      })
    },
    {
      name: 'fault 5: gives the place of a probe that hangs away when its lease ends, and takes no report of it after that',
      run: exam({ ...THREE, probeLeaseMs: 2_000 }, async ({ breaker, probing, permit, rejection, clock }) => {
        await probing()
        const hung = permit()
        await clock.advance(1_999)
        assert.equal(rejection().retryAfterMs, 1)
        await clock.advance(1)
        breaker.fail(hung)
        assert.equal(breaker.state, 'half-open')
        const second = permit()
        breaker.succeed(hung)
        assert.equal(breaker.state, 'half-open')
        breaker.succeed(second)
        assert.equal(breaker.state, 'closed')
      })
    },
    {
      name: 'fault 6: does not open at one failure unless it is told to',
      run: exam({}, ({ breaker, fail }) => {
        fail(1)
        assert.equal(breaker.state, 'closed')
        fail(18)
        assert.equal(breaker.state, 'closed')
      })
    },
    {
      name: 'opens again when the probe fails, for twice as long each time up to the longest break',
      run: exam({ ...THREE, breakMaxMs: 3_000 }, async ({ breaker, fail, permit, clock }) => {
        fail(3)
        for (const breakMs of [1_000, 2_000, 3_000, 3_000]) {
          await clock.advance(breakMs - 1)
          assert.equal(breaker.state, 'open', `the break should last ${breakMs} ms`)
          await clock.advance(1)
          breaker.fail(permit())
        }
      })
    },
    {
      name: 'begins with the first break again after it was closed for as long as the last',
      run: exam(THREE, async ({ breaker, probing, permit, fail, clock, rejection }) => {
        await probing()
        breaker.succeed(permit())
        await clock.advance(999)
        fail(3)
        assert.equal(rejection().retryAfterMs, 2_000)
        await clock.advance(2_000)
        breaker.succeed(permit())
        await clock.advance(2_000)
        fail(3)
        assert.equal(rejection().retryAfterMs, 1_000)
      })
    },
    {
      name: 'takes a probe that was released for none, and gives its place to the next call',
      run: exam(THREE, async ({ breaker, probing, permit }) => {
        await probing()
        for (let time = 0; time < 5; time++) breaker.release(permit())
        assert.equal(breaker.state, 'half-open')
        breaker.fail(permit())
        assert.equal(breaker.state, 'open')
      })
    },
    {
      name: 'counts a probe once, however often it reports',
      run: exam({ ...THREE, probes: 2 }, async ({ breaker, probing, permit }) => {
        await probing()
        const probe = permit()
        breaker.succeed(probe)
        breaker.succeed(probe)
        assert.equal(breaker.state, 'half-open')
        breaker.succeed(permit())
        assert.equal(breaker.state, 'closed')
      })
    },
    {
      name: 'has no more probes out than it needs, and bears as many bad ones as it may',
      run: exam({ ...THREE, probes: 3, probeFailuresMax: 1 }, async ({ breaker, probing, permit, rejection }) => {
        await probing()
        const [first, second, third] = [permit(), permit(), permit()]
        rejection()
        breaker.fail(first)
        rejection()
        breaker.succeed(second)
        breaker.succeed(third)
        assert.equal(breaker.state, 'closed')
        await probing(2_000)
        breaker.fail(permit())
        breaker.fail(permit())
        assert.equal(breaker.state, 'open')
      })
    },
    {
      name: 'opens at the share of slow calls, from the length that makes one slow',
      needs: ['slow-calls'],
      run: exam(
        {
          window: { kind: 'count', size: 4, minimumThroughput: 4, failureRatio: 1, slowCallMs: 500, slowCallRatio: 0.5 }
        },
        ({ breaker, permit }) => {
          breaker.succeed(permit(), 500)
          breaker.succeed(permit(), 499.9)
          breaker.succeed(permit())
          assert.equal(breaker.state, 'closed')
          breaker.succeed(permit(), 60_000)
          assert.equal(breaker.state, 'open')
        }
      )
    },
    {
      name: 'opens by trip, for as long as that says, and stays as it is during a break',
      run: exam(THREE, async ({ breaker, rejection, clock }) => {
        breaker.trip()
        await clock.advance(600)
        breaker.trip()
        assert.equal(rejection().retryAfterMs, 400)
        breaker.reset()
        breaker.trip({ breakMs: 30_000 })
        assert.equal(rejection().retryAfterMs, 30_000)
      })
    },
    {
      name: 'closes by reset with an empty window, whatever it was',
      run: exam(THREE, ({ breaker, fail, permit }) => {
        fail(2)
        breaker.reset()
        fail(2)
        assert.equal(breaker.state, 'closed')
        fail(1)
        breaker.reset()
        assert.equal(breaker.state, 'closed')
        permit()
      })
    },
    {
      name: 'lets nothing through in forced-open, and all in metrics-only and disabled, until reset or trip',
      needs: ['overrides'],
      run: exam(THREE, async ({ breaker, fail, rejection, clock }) => {
        breaker.switchTo('forced-open')
        await clock.advance(86_400_000)
        assert.equal(rejection().reason, 'forced-open')
        breaker.switchTo('metrics-only')
        fail(10)
        assert.equal(breaker.state, 'metrics-only')
        assert.equal(breaker.stats().window.failures, 10)
        breaker.switchTo('disabled')
        fail(10)
        assert.equal(breaker.stats().window.failures, 0)
        breaker.trip()
        assert.equal(breaker.state, 'open')
        breaker.switchTo('disabled')
        breaker.reset()
        assert.equal(breaker.state, 'closed')
      })
    },
    {
      name: 'tells what its state will be without changing it',
      run: exam(THREE, async ({ breaker, clock, permit }) => {
        const early = permit()
        breaker.trip()
        const now = clock.monotonic()
        const { generation } = breaker.stats()
        assert.ok(generation > early.generation)
        assert.deepEqual([breaker.stateAt(now + 999), breaker.stateAt(now + 1_000)], ['open', 'half-open'])
        await clock.advance(1_000)
        assert.equal(breaker.stateAt(clock.monotonic()), 'half-open')
        assert.equal(breaker.stats().generation, generation)
      })
    },
    {
      name: 'gives what work gives and throws what it throws, and counts what speaks against the callee',
      run: exam(THREE, async ({ breaker }) => {
        assert.equal(await breaker.execute(() => 7), 7)
        await assert.rejects(breaker.execute(throwing({ code: 'ECONNRESET' })), { message: 'ended' })
        const synchronously = (): never => {
          throw Object.assign(new Error('at once'), { status: 503 })
        }
        await assert.rejects(async () => breaker.execute(synchronously), { message: 'at once' })
        assert.equal(breaker.state, 'closed')
        assert.deepEqual(await breaker.execute(() => ({ status: 429 })), { status: 429 })
        assert.equal(breaker.state, 'open')
      })
    },
    {
      name: 'takes errors of the caller for no evidence: 4xx, aborts and bugs',
      run: exam(THREE, async ({ breaker }) => {
        const ends = [{ status: 404 }, { name: 'AbortError' }, {}, { status: 422 }]
        for (const end of ends) await assert.rejects(breaker.execute(throwing(end)))
        assert.equal(breaker.state, 'closed')
        assert.equal(breaker.stats().window.failures, 0)
      })
    },
    {
      name: 'takes a caller who gave up for no evidence, whatever the work made of it, and a timeout of his for a failure',
      run: exam(THREE, async ({ breaker }) => {
        const endedBy = async (reason: unknown): Promise<void> => {
          const caller = new AbortController()
          const work = ({ signal }: { readonly signal: AbortSignal }): Promise<never> =>
            new Promise((_, reject) => {
              const broken = (): void => reject(Object.assign(new Error('broken'), { code: 'ECONNRESET' }))
              signal.addEventListener('abort', broken, { once: true })
            })
          const run = breaker.execute(work, { signal: caller.signal })
          caller.abort(reason)
          await assert.rejects(run, { message: 'broken' })
        }
        for (let call = 0; call < 5; call++) await endedBy(new Error('the user left'))
        assert.equal(breaker.state, 'closed')
        for (let call = 0; call < 3; call++) await endedBy(new DOMException('too late', 'TimeoutError'))
        assert.equal(breaker.state, 'open')
      })
    },
    {
      name: 'throws CIRCUIT_OPEN with the time to wait, and does not begin the work',
      run: exam(THREE, async ({ breaker, fail }) => {
        fail(3)
        let begun = 0
        const error: unknown = await breaker.execute(() => (begun += 1)).catch((thrown: unknown) => thrown)
        assert.equal(begun, 0)
        assert.ok(isSuiteError(error, 'CIRCUIT_OPEN'))
        const { reason, retryAfterMs } = error.detail as { reason: string; retryAfterMs: number }
        assert.deepEqual([reason, retryAfterMs], ['open', 1_000])
      })
    },
    {
      name: 'goes on from a snapshot, through JSON: window, break and growth',
      needs: ['snapshots'],
      run: async (create) => {
        await using first = await create(THREE)
        const before = benchOf(first)
        before.fail(2)
        const half = JSON.parse(JSON.stringify(first.breaker.snapshot())) as never
        await using second = await create({ ...THREE, snapshot: half })
        const after = benchOf(second)
        after.fail(1)
        assert.equal(second.breaker.state, 'open')
        await second.clock.advance(400)
        const open = JSON.parse(JSON.stringify(second.breaker.snapshot())) as never
        await using third = await create({ ...THREE, snapshot: open })
        const last = benchOf(third)
        // The subjects' wall clocks may differ: a break is shortened by the time since, and never prolonged.
        assert.ok(last.rejection().retryAfterMs <= 600)
        await third.clock.advance(600)
        third.breaker.fail(last.permit())
        assert.equal(last.rejection().retryAfterMs, 2_000)
      }
    },
    {
      name: 'goes on from the snapshot of a closed breaker: breaks grow unless it was calm in between',
      needs: ['snapshots'],
      run: async (create) => {
        await using first = await create(THREE)
        const before = benchOf(first)
        before.fail(3)
        await first.clock.advance(1_000)
        first.breaker.succeed(before.permit())
        await first.clock.advance(500)
        const restless = JSON.parse(JSON.stringify(first.breaker.snapshot())) as never
        await first.clock.advance(500)
        const calm = JSON.parse(JSON.stringify(first.breaker.snapshot())) as never
        for (const [snapshot, breakMs] of [
          [restless, 2_000],
          [calm, 1_000]
        ] as const) {
          await using second = await create({ ...THREE, snapshot })
          const after = benchOf(second)
          after.fail(3)
          assert.equal(after.rejection().retryAfterMs, breakMs)
        }
      }
    }
  ]
}
