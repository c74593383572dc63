import {
  type BreakerPermit,
  type CircuitBreaker,
  type CircuitBreakerOptions,
  createCircuitBreaker
} from '@enablement/core'

type Make = (options: CircuitBreakerOptions) => CircuitBreaker

/** A breaker that is made with other options than it was given. */
const madeWith =
  (change: (options: CircuitBreakerOptions) => Partial<CircuitBreakerOptions>): Make =>
  (options) =>
    createCircuitBreaker({ ...options, ...change(options) })

/** A breaker of which some methods do something else. */
const doing =
  (change: (breaker: CircuitBreaker) => Partial<CircuitBreaker>): Make =>
  (options) => {
    const breaker = createCircuitBreaker(options)
    const changed = change(breaker)
    return new Proxy(breaker, {
      get: (target, property) => Reflect.get(property in changed ? changed : target, property) as unknown
    })
  }

/** One by which a report counts that must not: it is made on a permit that is good. */
const another = (breaker: CircuitBreaker, report: 'succeed' | 'fail'): void => {
  const leave = breaker.acquire()
  if (leave.outcome === 'permitted') breaker[report](leave)
}

const leave = (probe: boolean): BreakerPermit => ({ outcome: 'permitted', generation: 0, probe })

/** Breakers that are wrong in one place each, as breakers in the field are, with the clause that catches them. */
export const brokenCircuitBreakers: readonly {
  readonly name: string
  readonly caughtBy: string
  readonly make: Make
}[] = [
  {
    name: 'remembers failures for ever',
    caughtBy: 'fault 1: lets go of failures by time, also when nobody calls',
    make: madeWith(({ window }) =>
      window?.kind === 'time' ? { window: { kind: 'count', size: 100, minimumThroughput: 5, failureRatio: 0.5 } } : {}
    )
  },
  {
    name: 'goes by the wall clock',
    caughtBy: 'fault 2: keeps its breaks whatever the wall clock does',
    make: madeWith(({ platform }) =>
      platform === undefined
        ? {}
        : { platform: { ...platform, clock: { ...platform.clock, monotonic: () => platform.clock.now() } } }
    )
  },
  {
    name: 'counts late failures',
    caughtBy: 'fault 3: takes no report of a generation that has passed for one of this',
    make: doing((breaker) => ({
      fail(permit) {
        if (permit.generation === breaker.stats().generation) breaker.fail(permit)
        else if (breaker.state === 'half-open') breaker.trip()
        else another(breaker, 'fail')
      }
    }))
  },
  {
    name: 'lets everybody through when it is half-open',
    caughtBy: 'fault 4: lets one call probe and turns the others away at once, however many',
    make: doing((breaker) => ({
      acquire() {
        const answer = breaker.acquire()
        return answer.outcome === 'rejected' && answer.reason === 'probing' ? leave(true) : answer
      }
    }))
  },
  {
    name: 'lets all through at once when it has closed',
    caughtBy: 'fault 4: lets a growing share through after closing',
    make: madeWith(() => ({ rampMs: 0 }))
  },
  {
    name: 'waits for a probe that hangs',
    caughtBy:
      'fault 5: gives the place of a probe that hangs away when its lease ends, and takes no report of it after that',
    make: madeWith(() => ({ probeLeaseMs: 86_400_000 }))
  },
  {
    name: 'takes the report of a probe whose lease has ended',
    caughtBy:
      'fault 5: gives the place of a probe that hangs away when its lease ends, and takes no report of it after that',
    make: doing((breaker) => ({
      fail(permit) {
        const { late } = breaker.stats()
        breaker.fail(permit)
        if (permit.probe && breaker.stats().late > late && breaker.state === 'half-open') breaker.trip()
      }
    }))
  },
  {
    name: 'opens at the first failure',
    caughtBy: 'fault 6: does not open at one failure unless it is told to',
    make: madeWith(({ window }) => ({ window: window ?? { kind: 'count', size: 10, minimumThroughput: 1 } }))
  },
  {
    name: 'has breaks that do not grow',
    caughtBy: 'opens again when the probe fails, for twice as long each time up to the longest break',
    make: madeWith(({ breakMs = 5_000 }) => ({ breakMaxMs: breakMs }))
  },
  {
    name: 'has breaks without a longest one',
    caughtBy: 'opens again when the probe fails, for twice as long each time up to the longest break',
    make: madeWith(() => ({ breakMaxMs: 86_400_000 }))
  },
  {
    name: 'takes a released probe for a good one',
    caughtBy: 'takes a probe that was released for none, and gives its place to the next call',
    make: doing((breaker) => ({ release: (permit) => breaker.succeed(permit) }))
  },
  {
    name: 'loses the place of a released probe',
    caughtBy: 'takes a probe that was released for none, and gives its place to the next call',
    make: doing(() => ({ release: () => {} }))
  },
  {
    name: 'counts a probe that reports twice twice',
    caughtBy: 'counts a probe once, however often it reports',
    make: doing((breaker) => {
      const reported = new Set<BreakerPermit>()
      return {
        succeed(permit) {
          if (permit.probe && reported.has(permit)) another(breaker, 'succeed')
          else breaker.succeed(permit)
          reported.add(permit)
        }
      }
    })
  },
  {
    name: 'sends as many probes as there are calls',
    caughtBy: 'has no more probes out than it needs, and bears as many bad ones as it may',
    make: madeWith(({ probes = 1 }) => (probes > 1 ? { probes: 100 } : {}))
  },
  {
    name: 'does not see that calls are slow',
    caughtBy: 'opens at the share of slow calls, from the length that makes one slow',
    make: doing((breaker) => ({ succeed: (permit) => breaker.succeed(permit) }))
  },
  {
    name: 'begins a break anew when it is tripped during one',
    caughtBy: 'opens by trip, for as long as that says, and stays as it is during a break',
    make: doing((breaker) => ({
      trip(options) {
        if (breaker.state === 'open') breaker.reset()
        breaker.trip(options)
      }
    }))
  },
  {
    name: 'keeps its window over a reset',
    caughtBy: 'closes by reset with an empty window, whatever it was',
    make: doing((breaker) => ({
      reset() {
        const { failures } = breaker.stats().window
        breaker.reset()
        for (let failure = 0; failure < Math.min(2, failures); failure++) another(breaker, 'fail')
      }
    }))
  },
  {
    name: 'takes forced-open for a break',
    caughtBy: 'lets nothing through in forced-open, and all in metrics-only and disabled, until reset or trip',
    make: doing((breaker) => ({
      switchTo(override) {
        if (override === 'forced-open') breaker.trip()
        else breaker.switchTo(override)
      }
    }))
  },
  {
    name: 'changes when somebody asks what it will be',
    caughtBy: 'tells what its state will be without changing it',
    make: doing((breaker) => ({
      stateAt: (monotonicMs) => (breaker.state === 'half-open' ? 'half-open' : breaker.stateAt(monotonicMs))
    }))
  },
  {
    name: 'takes every error for a failure',
    caughtBy: 'takes errors of the caller for no evidence: 4xx, aborts and bugs',
    make: madeWith(() => ({ classification: { error: () => 'failure' } }))
  },
  {
    name: 'takes a caller who gave up for a failure',
    caughtBy:
      'takes a caller who gave up for no evidence, whatever the work made of it, and a timeout of his for a failure',
    make: doing((breaker) => ({
      async execute(work, options) {
        try {
          return await breaker.execute(work, options)
        } catch (error) {
          if (options?.signal?.aborted === true) another(breaker, 'fail')
          throw error
        }
      }
    }))
  },
  {
    name: 'begins work when it is open',
    caughtBy: 'throws CIRCUIT_OPEN with the time to wait, and does not begin the work',
    make: doing((breaker) => ({
      async execute(work, options) {
        if (breaker.state === 'open') await work({ signal: new AbortController().signal })
        return breaker.execute(work, options)
      }
    }))
  },
  {
    name: 'forgets its breaks when it is written down',
    caughtBy: 'goes on from a snapshot, through JSON: window, break and growth',
    make: doing((breaker) => ({ snapshot: () => ({ ...breaker.snapshot(), breaks: 0 }) }))
  },
  {
    name: 'takes itself for calm when it is written down',
    caughtBy: 'goes on from the snapshot of a closed breaker: breaks grow unless it was calm in between',
    make: doing((breaker) => ({ snapshot: () => ({ ...breaker.snapshot(), calmLeftMs: 0 }) }))
  }
]
