import { getEventListeners } from 'node:events'
import { inspect } from 'node:util'
import {
  type BreakerEvent,
  type BreakerPermit,
  type BreakerRejection,
  type CircuitBreaker,
  type CircuitBreakerOptions,
  CoreError,
  createCircuitBreaker,
  isSuiteError
} from '@enablement/core'
import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const failed = (): Promise<never> => Promise.reject(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
const fine = (): Promise<string> => Promise.resolve('fine')

interface Bench {
  readonly breaker: CircuitBreaker
  readonly platform: TestPlatform
  readonly events: BreakerEvent[]
}

function bench(options: Partial<CircuitBreakerOptions> = {}): Bench {
  const platform = testPlatform()
  const events: BreakerEvent[] = []
  const breaker = createCircuitBreaker({
    name: 'hook',
    window: { kind: 'consecutive', failures: 3 },
    breakMs: 1_000,
    platform,
    observe: (event) => events.push(event),
    ...options
  })
  return { breaker, platform, events }
}

function permit(breaker: CircuitBreaker): BreakerPermit {
  const leave = breaker.acquire()
  if (leave.outcome === 'rejected') throw new Error(`rejected: ${leave.reason}`)
  return leave
}

function rejection(breaker: CircuitBreaker): BreakerRejection {
  const leave = breaker.acquire()
  if (leave.outcome === 'permitted') throw new Error('permitted')
  return leave
}

function failTimes(breaker: CircuitBreaker, times: number): void {
  for (let time = 0; time < times; time++) breaker.fail(permit(breaker))
}

describe('circuit breaker: the faults that peers show (research/core.md §2.1)', () => {
  it('fault 1: failures of an hour ago do not open a time window (pitfall 4)', async () => {
    const window = { kind: 'time', samplingMs: 10_000, minimumThroughput: 5, failureRatio: 0.5 } as const
    const { breaker, platform } = bench({ window })
    failTimes(breaker, 4)
    await platform.clock.advance(3_600_000)
    failTimes(breaker, 1)
    expect(breaker.state).toBe('closed')
    expect(breaker.stats().window).toEqual({ calls: 1, failures: 1, slow: 0 })
  })

  it('fault 2: a wall clock set back an hour does not prolong a break (pitfall 4)', async () => {
    const { breaker, platform } = bench()
    failTimes(breaker, 3)
    platform.clock.jumpWallTo(platform.clock.now() - 3_600_000)
    await platform.clock.advance(999)
    expect(breaker.state).toBe('open')
    await platform.clock.advance(1)
    expect(breaker.state).toBe('half-open')
  })

  it('fault 3: a failure from before the break does not count against the probe (pitfall 2)', async () => {
    const { breaker, platform } = bench()
    const early = permit(breaker)
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    const probe = permit(breaker)
    breaker.fail(early)
    expect(breaker.state).toBe('half-open')
    breaker.succeed(probe)
    expect(breaker.state).toBe('closed')
    breaker.fail(early)
    expect(breaker.stats()).toMatchObject({ late: 2, window: { failures: 0 } })
  })

  it('fault 4: a thousand callers neither wait for the probe nor run at once when it succeeds (pitfall 1)', async () => {
    const { breaker, platform } = bench({ rampMs: 10_000, rampFromRatio: 0.1 })
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    const probe = permit(breaker)
    for (let caller = 0; caller < 1_000; caller++) expect(rejection(breaker).reason).toBe('probing')
    breaker.succeed(probe)
    let through = 0
    for (let caller = 0; caller < 1_000; caller++) if (breaker.acquire().outcome === 'permitted') through += 1
    // A tenth of them, and the first, give or take one for the sum of a thousand doubles.
    expect(through).toBeGreaterThanOrEqual(99)
    expect(through).toBeLessThanOrEqual(101)
  })

  it('fault 5: a probe that hangs blocks nobody for longer than its lease (pitfall 1)', async () => {
    const { breaker, platform, events } = bench({ probeLeaseMs: 2_000 })
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    const hung = permit(breaker)
    expect(rejection(breaker)).toEqual({ outcome: 'rejected', reason: 'probing', retryAfterMs: 2_000 })
    await platform.clock.advance(1_999)
    expect(rejection(breaker).retryAfterMs).toBe(1)
    await platform.clock.advance(1)
    // Late, it counts for nothing, also before anybody has taken its place.
    breaker.fail(hung)
    expect(breaker.state).toBe('half-open')
    const second = permit(breaker)
    expect(second.probe).toBe(true)
    expect(events.at(-1)).toEqual({ type: 'breaker.probe-reclaimed', breaker: 'hook', leaseMs: 2_000 })
    breaker.fail(hung)
    expect(breaker.state).toBe('half-open')
    breaker.succeed(second)
    expect(breaker.state).toBe('closed')
  })

  it('fault 6: with the defaults one failure does not open it', async () => {
    const breaker = createCircuitBreaker({ name: 'default', platform: testPlatform() })
    failTimes(breaker, 19)
    expect(breaker.state).toBe('closed')
    failTimes(breaker, 1)
    expect(breaker.state).toBe('open')
  })
})

describe('circuit breaker of webhook endpoints (OV-6)', () => {
  it('keeps endpoints apart, tries one that was down with exactly one delivery, and loses none that waits', async () => {
    const { breaker, platform } = bench()
    const other = bench().breaker
    let isUp = false
    let reached = 0
    const waiting = new Set(Array.from({ length: 50 }, (_, at) => at))
    const endpoint = async (): Promise<void> => {
      reached += 1
      if (!isUp) await failed()
    }
    /** Sends what waits, all at once, and counts what reached the endpoint. */
    const deliver = async (): Promise<number> => {
      reached = 0
      const sent = [...waiting].map(async (delivery) => {
        await breaker.execute(endpoint)
        waiting.delete(delivery)
      })
      await Promise.allSettled(sent)
      return reached
    }
    await deliver()
    expect([breaker.state, waiting.size, await deliver()]).toEqual(['open', 50, 0])
    expect(await other.execute(() => 'delivered')).toBe('delivered')
    await platform.clock.advance(1_000)
    expect([await deliver(), breaker.state, waiting.size]).toEqual([1, 'open', 50])
    isUp = true
    await platform.clock.advance(2_000)
    expect([await deliver(), breaker.state, waiting.size]).toEqual([1, 'closed', 49])
    expect([await deliver(), waiting.size]).toEqual([49, 0])
  })
})

describe('circuit breaker: opening', () => {
  it('opens at so many consecutive failures, and a success between them starts anew', () => {
    const { breaker } = bench()
    failTimes(breaker, 2)
    breaker.succeed(permit(breaker))
    failTimes(breaker, 2)
    expect(breaker.state).toBe('closed')
    failTimes(breaker, 1)
    expect(breaker.state).toBe('open')
    expect(rejection(breaker)).toEqual({ outcome: 'rejected', reason: 'open', retryAfterMs: 1_000 })
  })

  it.each([
    { failures: 2, successes: 3, opens: false },
    { failures: 3, successes: 2, opens: true },
    { failures: 3, successes: 1, opens: false },
    { failures: 6, successes: 4, opens: true }
  ])('opens a ratio of 0.6 of at least 5 calls when it is reached: $failures of $failures + $successes', (row) => {
    const { breaker } = bench({ window: { kind: 'count', size: 10, minimumThroughput: 5, failureRatio: 0.6 } })
    for (let call = 0; call < row.successes; call++) breaker.succeed(permit(breaker))
    for (let call = 0; call < row.failures && breaker.state === 'closed'; call++) breaker.fail(permit(breaker))
    expect(breaker.state).toBe(row.opens ? 'open' : 'closed')
  })

  it('opens at the share of slow calls, whether or not they fail, counting a call as slow from slowCallMs on', () => {
    const window = { kind: 'count', size: 4, minimumThroughput: 4, slowCallMs: 500, slowCallRatio: 0.5 } as const
    const { breaker, events } = bench({ window: { ...window, failureRatio: 1 } })
    breaker.succeed(permit(breaker), 500)
    breaker.succeed(permit(breaker), 499.9)
    breaker.fail(permit(breaker), 1_000)
    expect(breaker.state).toBe('closed')
    breaker.succeed(permit(breaker))
    expect(breaker.state).toBe('open')
    const seen = { calls: 4, failures: 1, slow: 2 }
    expect(events).toEqual([
      { type: 'breaker.opened', breaker: 'hook', cause: 'slow-call-ratio', breakMs: 1_000, breaks: 1, window: seen }
    ])
  })

  it('opens by trip, which during a break does nothing', async () => {
    const { breaker, platform, events } = bench()
    breaker.trip()
    await platform.clock.advance(600)
    breaker.trip()
    expect(rejection(breaker).retryAfterMs).toBe(400)
    expect(events).toHaveLength(1)
  })
})

describe('circuit breaker: tripping for another process', () => {
  it('keeps what is left of its break, up to breakMaxMs', async () => {
    const { breaker, platform } = bench({ breakMaxMs: 5_000 })
    breaker.trip({ breakMs: 300 })
    expect(rejection(breaker).retryAfterMs).toBe(300)
    await platform.clock.advance(300)
    expect(breaker.state).toBe('half-open')
    breaker.trip({ breakMs: 6_000 })
    expect(rejection(breaker).retryAfterMs).toBe(5_000)
  })

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses %s ms, and stays as it was', (breakMs) => {
    const { breaker } = bench()
    expect(thrownBy(() => breaker.trip({ breakMs })).detail.subject).toBe('circuitBreaker.trip')
    expect(breaker.state).toBe('closed')
  })
})

describe('circuit breaker: probing', () => {
  it('lets exactly one probe through after a break, and opens again when it fails', async () => {
    const { breaker, platform } = bench()
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    const probe = permit(breaker)
    expect(probe.probe).toBe(true)
    expect(breaker.acquire().outcome).toBe('rejected')
    breaker.fail(probe)
    expect(breaker.state).toBe('open')
  })

  it('gives the place of a released probe to the next call, however often (pitfall 1)', async () => {
    const { breaker, platform } = bench()
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    for (let time = 0; time < 5; time++) breaker.release(permit(breaker))
    expect(breaker.stats()).toMatchObject({ state: 'half-open', ignored: 5 })
    breaker.succeed(permit(breaker))
    expect(breaker.state).toBe('closed')
  })

  it('counts a probe once, however often it reports', async () => {
    const { breaker, platform } = bench({ probes: 2 })
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    const probe = permit(breaker)
    breaker.succeed(probe)
    breaker.succeed(probe)
    expect(breaker.state).toBe('half-open')
    breaker.succeed(permit(breaker))
    expect(breaker.state).toBe('closed')
  })

  it('never has more probes out than it needs results (pitfall 1)', async () => {
    const { breaker, platform } = bench({ probes: 3 })
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    breaker.succeed(permit(breaker))
    const [second, third] = [permit(breaker), permit(breaker)]
    expect(rejection(breaker).reason).toBe('probing')
    breaker.succeed(second)
    expect(rejection(breaker).reason).toBe('probing')
    breaker.succeed(third)
    expect(breaker.state).toBe('closed')
  })

  it('tolerates probeFailuresMax bad probes, slow ones among them, and opens at one more', async () => {
    const window = { kind: 'count', size: 2, minimumThroughput: 2, slowCallMs: 100, slowCallRatio: 1 } as const
    const { breaker, platform } = bench({ window, probes: 3, probeFailuresMax: 1 })
    breaker.trip()
    await platform.clock.advance(1_000)
    breaker.succeed(permit(breaker), 100)
    breaker.succeed(permit(breaker))
    breaker.succeed(permit(breaker))
    expect(breaker.state).toBe('closed')
    breaker.trip()
    await platform.clock.advance(2_000)
    breaker.fail(permit(breaker))
    breaker.succeed(permit(breaker), 100)
    expect(breaker.state).toBe('open')
  })
})

describe('circuit breaker: the length of breaks', () => {
  it('doubles them up to breakMaxMs while probes fail', async () => {
    const { breaker, platform, events } = bench({ breakMaxMs: 5_000 })
    failTimes(breaker, 3)
    for (const breakMs of [1_000, 2_000, 4_000, 5_000, 5_000]) {
      await platform.clock.advance(breakMs - 1)
      expect(breaker.state).toBe('open')
      await platform.clock.advance(1)
      breaker.fail(permit(breaker))
    }
    const opened = events.filter((event) => event.type === 'breaker.opened')
    expect(opened.map(({ breakMs }) => breakMs)).toEqual([1_000, 2_000, 4_000, 5_000, 5_000, 5_000])
  })

  it.each([
    { calmMs: 999, breakMs: 2_000 },
    { calmMs: 1_000, breakMs: 1_000 }
  ])('begins anew only after it was closed for as long as the last break: $calmMs ms', async ({ calmMs, breakMs }) => {
    const { breaker, platform } = bench()
    failTimes(breaker, 3)
    await platform.clock.advance(1_000)
    breaker.succeed(permit(breaker))
    await platform.clock.advance(calmMs)
    failTimes(breaker, 3)
    expect(rejection(breaker).retryAfterMs).toBe(breakMs)
  })

  it('stays a number however many breaks there were', () => {
    const { breaker } = bench({ snapshot: snapshotOf({ breaks: 1_000_000 }) })
    expect(rejection(breaker).retryAfterMs).toBe(500)
  })
})

describe('circuit breaker: the ramp', () => {
  it('lets a share through that grows from rampFromRatio to all', async () => {
    const { breaker, platform } = bench({ rampMs: 1_000, rampFromRatio: 0.2 })
    breaker.trip()
    await platform.clock.advance(1_000)
    breaker.succeed(permit(breaker))
    const shares: number[] = []
    for (let step = 0; step < 5; step++) {
      let through = 0
      for (let call = 0; call < 100; call++) if (breaker.acquire().outcome === 'permitted') through += 1
      shares.push(through)
      await platform.clock.advance(250)
    }
    for (const [at, expected] of [20, 40, 60, 80, 100].entries()) {
      expect(Math.abs((shares[at] as number) - expected)).toBeLessThanOrEqual(1)
    }
  })

  it('lets the first call through, and tells the others when the ramp ends', async () => {
    const { breaker, platform } = bench({ rampMs: 1_000 })
    breaker.trip()
    await platform.clock.advance(1_000)
    breaker.succeed(permit(breaker))
    await platform.clock.advance(100)
    permit(breaker)
    expect(rejection(breaker)).toEqual({ outcome: 'rejected', reason: 'ramping', retryAfterMs: 900 })
  })

  it('is not climbed after a reset', () => {
    const { breaker } = bench({ rampMs: 1_000 })
    breaker.trip()
    breaker.reset()
    for (let call = 0; call < 10; call++) permit(breaker)
  })

  it('opens again by the same window as ever', async () => {
    const { breaker, platform } = bench({ rampMs: 1_000, rampFromRatio: 1 })
    breaker.trip()
    await platform.clock.advance(1_000)
    breaker.succeed(permit(breaker))
    failTimes(breaker, 3)
    expect(breaker.state).toBe('open')
  })
})

describe('circuit breaker: overrides', () => {
  it('lets all through in metrics-only, and reports once what would have opened it', () => {
    const { breaker, events } = bench()
    breaker.switchTo('metrics-only')
    failTimes(breaker, 5)
    breaker.succeed(permit(breaker))
    failTimes(breaker, 3)
    expect(breaker.state).toBe('metrics-only')
    expect(events.map((event) => event.type)).toEqual([
      'breaker.switched',
      'breaker.limit-exceeded',
      'breaker.limit-exceeded'
    ])
  })

  it('lets nothing through in forced-open, whatever time passes, until reset', async () => {
    const { breaker, platform } = bench()
    breaker.switchTo('forced-open')
    await platform.clock.advance(86_400_000)
    expect(rejection(breaker)).toEqual({ outcome: 'rejected', reason: 'forced-open', retryAfterMs: 1_000 })
    breaker.reset()
    expect(permit(breaker).probe).toBe(false)
  })

  it('lets all through and counts nothing when disabled', () => {
    const { breaker } = bench()
    breaker.switchTo('disabled')
    failTimes(breaker, 10)
    expect(breaker.stats()).toMatchObject({ state: 'disabled', window: { calls: 0, failures: 0, slow: 0 } })
  })

  it('reports every time that the window begins to exceed a limit, and again after a switch', () => {
    const { breaker, events } = bench({ window: { kind: 'consecutive', failures: 1 } })
    breaker.switchTo('metrics-only')
    failTimes(breaker, 2)
    breaker.succeed(permit(breaker))
    failTimes(breaker, 1)
    breaker.switchTo('metrics-only')
    failTimes(breaker, 1)
    expect(events.filter(({ type }) => type === 'breaker.limit-exceeded')).toHaveLength(3)
  })

  it('starts with an empty window', () => {
    const { breaker } = bench()
    failTimes(breaker, 2)
    breaker.switchTo('metrics-only')
    expect(breaker.stats().window.failures).toBe(0)
  })

  it('makes reports from before a switch late (pitfall 2)', () => {
    const { breaker } = bench()
    const early = permit(breaker)
    breaker.switchTo('metrics-only')
    breaker.fail(early)
    expect(breaker.stats()).toMatchObject({ late: 1, window: { failures: 0 } })
  })
})

describe('circuit breaker: execute', () => {
  it('gives what the work gives and throws what it throws, synchronous throws included', async () => {
    const { breaker } = bench()
    expect(await breaker.execute(fine)).toBe('fine')
    expect(await breaker.execute(() => 7)).toBe(7)
    await expect(breaker.execute(failed)).rejects.toThrow('reset')
    const threw = breaker.execute(() => {
      throw Object.assign(new Error('at once'), { code: 'ECONNREFUSED' })
    })
    await expect(threw).rejects.toThrow('at once')
    expect(breaker.stats().window.failures).toBe(2)
  })

  it('counts in every generation', async () => {
    const { breaker } = bench()
    for (const generation of [1, 2]) {
      for (let call = 0; call < 3; call++) await breaker.execute(failed).catch(() => {})
      expect([generation, breaker.state, breaker.stats().late]).toEqual([generation, 'open', 0])
      breaker.reset()
    }
  })

  it('throws CIRCUIT_OPEN with the time to wait, without a stack, and does not begin the work', async () => {
    const { breaker } = bench()
    for (let call = 0; call < 3; call++) await breaker.execute(failed).catch(() => {})
    let begun = 0
    const error: unknown = await breaker.execute(() => (begun += 1)).catch((thrown: unknown) => thrown)
    expect(begun).toBe(0)
    expect(isSuiteError(error, 'CIRCUIT_OPEN')).toBe(true)
    expect(error).toMatchObject({ detail: { breaker: 'hook', reason: 'open', retryAfterMs: 1_000 } })
    expect((error as Error).stack).not.toContain('\n    at ')
    expect(new Error('elsewhere').stack).toContain('\n    at ')
  })

  it('takes a caller that gives up for no evidence, and its timeout for a failure (pitfall 3)', async () => {
    const { breaker } = bench()
    const caller = new AbortController()
    const run = breaker.execute(({ signal }) => rejectOn(signal), { signal: caller.signal })
    caller.abort(new Error('the user left'))
    await expect(run).rejects.toThrow('aborted')
    expect(breaker.stats()).toMatchObject({ ignored: 1, window: { failures: 0 } })

    const deadline = new AbortController()
    const late = breaker.execute(({ signal }) => rejectOn(signal), { signal: deadline.signal })
    deadline.abort(new DOMException('too late', 'TimeoutError'))
    await expect(late).rejects.toThrow('aborted')
    expect(breaker.stats()).toMatchObject({ ignored: 1, window: { failures: 1 } })
  })

  it('does not begin for a signal that has aborted', async () => {
    const { breaker } = bench()
    const signal = AbortSignal.abort(new Error('gone'))
    await expect(breaker.execute(fine, { signal })).rejects.toThrow('gone')
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('judges what is returned and thrown by the classification it is given', async () => {
    const { breaker } = bench({
      window: { kind: 'consecutive', failures: 1 },
      classification: { value: (value) => (value === 'bad' ? 'failure' : 'success') }
    })
    await breaker.execute(() => Promise.resolve('good'))
    expect(breaker.state).toBe('closed')
    expect(await breaker.execute(() => Promise.resolve('bad'))).toBe('bad')
    expect(breaker.state).toBe('open')
  })

  it('gives a probe back when the classification throws', async () => {
    const { breaker, platform } = bench({
      classification: {
        value: () => {
          throw new Error('no idea')
        }
      }
    })
    breaker.trip()
    await platform.clock.advance(1_000)
    await expect(breaker.execute(fine)).rejects.toThrow('no idea')
    expect(permit(breaker).probe).toBe(true)
  })

  it('times calls where slow ones count', async () => {
    const window = { kind: 'count', size: 2, minimumThroughput: 2, slowCallMs: 100, slowCallRatio: 1 } as const
    const { breaker, platform } = bench({ window })
    const runs = [1, 2].map(() =>
      breaker.execute(() => new Promise<void>((done) => void platform.clock.startTimer(100, done)))
    )
    await platform.clock.advance(100)
    await Promise.all(runs)
    expect(breaker.state).toBe('open')
  })

  it('gives every call a signal of its own (pitfall 14)', async () => {
    const { breaker } = bench()
    const signals = new Set<AbortSignal>()
    for (let call = 0; call < 3; call++) await breaker.execute(({ signal }) => signals.add(signal))
    expect(signals.size).toBe(3)
  })
})

describe('circuit breaker: looking at it', () => {
  it('reports half-open when somebody first looks after the break, and once (pitfall 18)', async () => {
    const { breaker, platform, events } = bench()
    breaker.trip()
    await platform.clock.advance(5_000)
    expect(events.map((event) => event.type)).toEqual(['breaker.opened'])
    expect([breaker.state, breaker.state]).toEqual(['half-open', 'half-open'])
    expect(events.map((event) => event.type)).toEqual(['breaker.opened', 'breaker.half-opened'])
  })

  it('tells what its state will be without changing it (pitfall 18)', async () => {
    const { breaker, platform, events } = bench()
    breaker.trip()
    const now = platform.clock.monotonic()
    expect([breaker.stateAt(now + 999), breaker.stateAt(now + 1_000)]).toEqual(['open', 'half-open'])
    await platform.clock.advance(1_000)
    expect(events).toHaveLength(1)
  })

  it('keeps the window that opened it until it closes', async () => {
    const { breaker, platform } = bench({ window: { kind: 'time', samplingMs: 100, minimumThroughput: 2 } })
    failTimes(breaker, 2)
    await platform.clock.advance(500)
    expect(breaker.stats().window).toEqual({ calls: 2, failures: 2, slow: 0 })
    await platform.clock.advance(500)
    breaker.succeed(permit(breaker))
    expect(breaker.stats().window).toEqual({ calls: 0, failures: 0, slow: 0 })
  })

  it('survives an observer that throws', () => {
    const { breaker } = bench({
      observe: () => {
        throw new Error('observer')
      }
    })
    failTimes(breaker, 3)
    expect(breaker.state).toBe('open')
  })

  it('shows nothing but its name and its state to inspect', () => {
    expect(inspect(bench().breaker)).not.toContain('[Object')
  })
})

const snapshotOf = (part: Partial<ReturnType<CircuitBreaker['snapshot']>>) => ({
  version: 1 as const,
  takenAt: testPlatform().clock.now(),
  state: 'open' as const,
  breakLeftMs: 500,
  calmLeftMs: 0,
  breaks: 1,
  window: [],
  ...part
})

describe('circuit breaker: snapshots', () => {
  it.each([
    { kind: 'consecutive', failures: 9 },
    { kind: 'count', size: 9, minimumThroughput: 9 },
    { kind: 'time', samplingMs: 10_000, minimumThroughput: 9 }
  ] as const)('carries the window over, through JSON: $kind', async (window) => {
    const { breaker, platform } = bench({ window })
    for (const one of ['succeed', 'fail', 'fail', 'fail'] as const) {
      breaker[one](permit(breaker))
      await platform.clock.advance(1_500)
    }
    const snapshot = JSON.parse(JSON.stringify(breaker.snapshot())) as ReturnType<CircuitBreaker['snapshot']>
    const next = createCircuitBreaker({ name: 'next', window, snapshot, platform })
    expect(next.stats().window).toEqual(breaker.stats().window)
    expect(next.stats().window.failures).toBe(3)
  })

  it('lets slices grow old while nobody holds the breaker', async () => {
    const window = { kind: 'time', samplingMs: 10_000, minimumThroughput: 9 } as const
    const { breaker, platform } = bench({ window })
    failTimes(breaker, 4)
    const snapshot = breaker.snapshot()
    await platform.clock.advance(9_999)
    expect(createCircuitBreaker({ name: 'next', window, snapshot, platform }).stats().window.failures).toBe(4)
    await platform.clock.advance(1)
    expect(createCircuitBreaker({ name: 'next', window, snapshot, platform }).stats().window.failures).toBe(0)
  })

  it('goes on with a break, less the time that has passed, and with its growth', async () => {
    const { breaker, platform } = bench()
    failTimes(breaker, 3)
    const snapshot = breaker.snapshot()
    await platform.clock.advance(400)
    const next = createCircuitBreaker({ name: 'next', breakMs: 1_000, snapshot, platform })
    expect(rejection(next).retryAfterMs).toBe(600)
    await platform.clock.advance(600)
    next.fail(permit(next))
    expect(rejection(next).retryAfterMs).toBe(2_000)
  })

  it('never makes a break longer than breakMaxMs, whatever a snapshot or the wall clock says', () => {
    const far = { takenAt: Number.MAX_SAFE_INTEGER, breakLeftMs: 1e12 }
    const { breaker } = bench({ breakMaxMs: 2_000, snapshot: snapshotOf(far) })
    expect(rejection(breaker).retryAfterMs).toBe(2_000)
  })

  it('is calm after the last break at the latest, whatever a snapshot says, and the sooner for the time that has passed', async () => {
    const takenAt = testPlatform().clock.now()
    for (const [part, left] of [
      [{ takenAt, calmLeftMs: 1e12 }, 2_000],
      [{ takenAt: takenAt - 400, calmLeftMs: 1_500 }, 1_100]
    ] as const) {
      const { breaker, platform } = bench({ snapshot: snapshotOf({ ...part, state: 'closed', breaks: 2 }) })
      expect(breaker.snapshot().calmLeftMs).toBe(left)
      await platform.clock.advance(left)
      failTimes(breaker, 3)
      expect(breaker.stats().breaks).toBe(1)
    }
  })

  it.each(['half-open', 'metrics-only', 'forced-open', 'disabled', 'closed'] as const)('carries %s over', (state) => {
    expect(bench({ snapshot: snapshotOf({ state, breakLeftMs: 0 }) }).breaker.state).toBe(state)
  })

  it.each([
    { window: [{ ageMs: 0, calls: 1, failures: 2, slow: 0 }], path: 'snapshot.window.0' },
    { breaks: -1, path: 'snapshot.breaks' },
    { calmLeftMs: Number.NaN, path: 'snapshot.calmLeftMs' },
    { state: 'ajar', path: 'snapshot.state' },
    { version: 2, path: 'snapshot.version' }
  ])('refuses a damaged one with the path $path', ({ path, ...part }) => {
    const error = thrownBy(() => bench({ snapshot: snapshotOf(part as object) }))
    expect(error.detail.issues.map((issue) => issue.path)).toEqual([path])
  })
})

describe('circuit breaker: options', () => {
  const durations = ['breakMs', 'breakMaxMs', 'probeLeaseMs']
  const wrong = [0, -1, Number.NaN, Number.POSITIVE_INFINITY]
  it.each(durations.flatMap((path) => wrong.map((value) => ({ path, value }))))('refuses $path of $value', (row) => {
    const error = thrownBy(() => bench({ [row.path]: row.value }))
    expect(error.detail.issues.map((issue) => issue.path)).toContain(row.path)
  })

  it.each([
    { options: { name: '' }, path: 'name' },
    { options: { window: { kind: 'count', size: 0 } }, path: 'window.size' },
    { options: { window: { kind: 'count', size: 5, minimumThroughput: 6 } }, path: 'window.minimumThroughput' },
    { options: { window: { kind: 'time', samplingMs: 0 } }, path: 'window.samplingMs' },
    { options: { window: { kind: 'time', samplingMs: 1_000, failureRatio: 50 } }, path: 'window.failureRatio' },
    { options: { window: { kind: 'time', samplingMs: 1_000, slowCallRatio: 0.5 } }, path: 'window.slowCallMs' },
    { options: { breakMs: 10, breakMaxMs: 9 }, path: 'breakMaxMs' },
    { options: { probes: 1, probeFailuresMax: 1 }, path: 'probeFailuresMax' },
    { options: { rampMs: Number.NaN }, path: 'rampMs' },
    { options: { treshold: 1 }, path: 'treshold' }
  ])('refuses $options with the path $path', ({ options, path }) => {
    const error = thrownBy(() => bench(options as object))
    expect(error.detail.issues.map((issue) => issue.path)).toEqual([path])
  })
})

function thrownBy(make: () => unknown): CoreError<'INVALID_OPTIONS'> {
  try {
    make()
  } catch (error) {
    if (error instanceof CoreError && error.is('INVALID_OPTIONS')) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

/** What a client does whose caller aborts: often it shows as a broken connection. */
function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const broken = (): void => reject(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }))
    signal.addEventListener('abort', broken, { once: true })
  })
}
