import {
  type BreakerPermit,
  type CircuitBreaker,
  type CircuitBreakerOptions,
  createCircuitBreaker
} from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

function permit(breaker: CircuitBreaker): BreakerPermit {
  const leave = breaker.acquire()
  if (leave.outcome === 'rejected') throw new Error(`rejected: ${leave.reason}`)
  return leave
}

function make(options: Partial<CircuitBreakerOptions>) {
  const platform = testPlatform()
  const breaker = createCircuitBreaker({ name: 'table', platform, ...options })
  const end = (how: 'ok' | 'bad' | 'ignored', durationMs?: number): void => {
    const leave = permit(breaker)
    if (how === 'ok') breaker.succeed(leave, durationMs)
    else if (how === 'bad') breaker.fail(leave, durationMs)
    else breaker.release(leave)
  }
  return { breaker, end, pass: (ms: number) => platform.clock.advance(ms) }
}

/** `CircuitBreakerStateMachineTest`: 5 calls in 5 s, half of them, slow from 4 s on, 4 probes, a wait of 5 s. */
const resilience4j = (): ReturnType<typeof make> =>
  make({
    window: {
      kind: 'time',
      samplingMs: 5_000,
      minimumThroughput: 5,
      failureRatio: 0.5,
      slowCallMs: 4_000,
      slowCallRatio: 0.5
    },
    breakMs: 5_000,
    probes: 4,
    probeFailuresMax: 1
  })

describe('circuit breaker: the tables of resilience4j', () => {
  it('shouldOpenAfterFailureRateThresholdExceeded', () => {
    const { breaker, end } = resilience4j()
    for (const [at, how] of (['bad', 'bad', 'bad', 'ok'] as const).entries()) {
      end(how)
      expect(breaker.stats()).toMatchObject({ state: 'closed', window: { calls: at + 1 } })
    }
    end('ok')
    expect(breaker.stats()).toMatchObject({ state: 'open', window: { calls: 5, failures: 3 }, rejected: 0 })
    expect(breaker.acquire().outcome).toBe('rejected')
    expect(breaker.stats().rejected).toBe(1)
  })

  it('shouldOpenAfterSlowCallRateThresholdExceeded', () => {
    const { breaker, end } = resilience4j()
    end('bad', 5_000)
    end('ok', 5_000)
    end('bad', 100)
    end('ok', 100)
    expect(breaker.state).toBe('closed')
    end('ok', 5_000)
    expect(breaker.stats()).toMatchObject({ state: 'open', window: { calls: 5, slow: 3 } })
  })

  it('shouldTransitionToHalfOpenAfterWaitDuration', async () => {
    const { breaker, pass } = resilience4j()
    breaker.trip()
    await pass(3_000)
    expect(breaker.acquire().outcome).toBe('rejected')
    await pass(3_000)
    expect(permit(breaker).probe).toBe(true)
    expect(breaker.state).toBe('half-open')
  })

  it('shouldOnlyPermitFourCallsInHalfOpenState, also in the next half-open', async () => {
    const { breaker, pass } = resilience4j()
    for (const waitMs of [5_000, 10_000]) {
      breaker.trip()
      await pass(waitMs)
      for (let probe = 0; probe < 4; probe++) permit(breaker)
      expect(breaker.acquire()).toMatchObject({ outcome: 'rejected', reason: 'probing' })
      expect(breaker.acquire().outcome).toBe('rejected')
    }
  })

  it('shouldIncreaseCounterOnReleasePermission', async () => {
    const { breaker, pass } = resilience4j()
    breaker.trip()
    await pass(5_000)
    const [first] = [permit(breaker), permit(breaker), permit(breaker), permit(breaker)]
    expect(breaker.acquire().outcome).toBe('rejected')
    breaker.release(first)
    expect(breaker.acquire().outcome).toBe('permitted')
  })

  it.each([
    { name: 'shouldTransitionBackToOpenStateWhenFailureRateIsAboveThreshold', ends: ['bad', 'bad'], state: 'open' },
    {
      name: 'shouldTransitionBackToClosedStateWhenFailureIsBelowThreshold',
      ends: ['bad', 'ok', 'ok', 'ok'],
      state: 'closed'
    },
    {
      name: 'shouldReleasePermissionWhenExceptionIgnored',
      ends: ['ok', 'ok', 'ok', 'ignored', 'bad'],
      state: 'closed'
    },
    {
      name: 'shouldIgnoreExceptionsAndThenTransitionToClosed',
      ends: ['ignored', 'ignored', 'ignored', 'ignored', 'ok', 'ok', 'ok', 'ok'],
      state: 'closed'
    }
  ] as const)('$name', async ({ ends, state }) => {
    const { breaker, end, pass } = resilience4j()
    breaker.trip()
    await pass(5_000)
    for (const how of ends) {
      expect(breaker.state).toBe('half-open')
      end(how)
    }
    expect(breaker.state).toBe(state)
  })

  it('shouldTransitionBackToOpenStateWhenSlowCallRateIsAboveThreshold', async () => {
    const { breaker, end, pass } = resilience4j()
    breaker.trip()
    await pass(5_000)
    end('ok', 1_000)
    end('ok', 5_000)
    expect(breaker.state).toBe('half-open')
    end('ok', 5_000)
    expect(breaker.state).toBe('open')
  })

  it('shouldForceOpenCircuitBreaker, shouldDisableCircuitBreaker, shouldResetMetrics', async () => {
    const { breaker, end, pass } = resilience4j()
    end('ok')
    end('bad')
    breaker.reset()
    expect(breaker.stats().window).toEqual({ calls: 0, failures: 0, slow: 0 })
    breaker.switchTo('disabled')
    for (let call = 0; call < 6; call++) end('bad')
    expect(breaker.stats().window.calls).toBe(0)
    breaker.switchTo('forced-open')
    await pass(6_000)
    expect(breaker.acquire()).toMatchObject({ reason: 'forced-open' })
  })
})

describe('circuit breaker: the tables of Polly', () => {
  it.each([
    { state: 'half-open', end: 'ok', next: 'closed' },
    { state: 'half-open', end: 'bad', next: 'open' },
    { state: 'closed', end: 'ok', next: 'closed' },
    { state: 'closed', end: 'bad', next: 'open' }
  ] as const)('OnActionSuccess, OnActionFailure_EnsureCorrectBehavior: $state, $end, $next', async (row) => {
    const { breaker, end, pass } = make({ window: { kind: 'consecutive', failures: 1 }, breakMs: 5_000 })
    if (row.state === 'half-open') {
      breaker.trip()
      await pass(5_000)
    }
    end(row.end)
    expect(breaker.state).toBe(row.next)
  })

  it('HalfOpen_EnsureBreakDuration: a probe is out for a break at most', async () => {
    const { breaker, pass } = make({ window: { kind: 'consecutive', failures: 1 }, breakMs: 5_000 })
    breaker.trip()
    await pass(5_000)
    permit(breaker)
    expect(breaker.acquire()).toEqual({ outcome: 'rejected', reason: 'probing', retryAfterMs: 5_000 })
  })

  it('Flow_Closed_HalfOpen_Open_HalfOpen_Closed', async () => {
    const { breaker, end, pass } = make({ window: { kind: 'consecutive', failures: 1 }, breakMs: 5_000 })
    const flow: string[] = [breaker.state]
    end('bad')
    await pass(5_000)
    flow.push(breaker.state)
    end('bad')
    flow.push(breaker.state)
    await pass(10_000)
    flow.push(breaker.state)
    end('ok')
    flow.push(breaker.state)
    expect(flow).toEqual(['closed', 'half-open', 'open', 'half-open', 'closed'])
  })

  it('OnActionPreExecute_CircuitOpened_EnsureExceptionStackTraceDoesNotGrow', async () => {
    const { breaker } = make({})
    breaker.trip()
    const stacks = new Set<string | undefined>()
    for (let call = 0; call < 100; call++) {
      await breaker.execute(() => 1).catch((error: unknown) => stacks.add((error as Error).stack))
    }
    expect(stacks.size).toBe(1)
  })
})

/** `closedstate_test.go` and `halfopenstate_test.go`; a threshold of successes there is as many probes here. */
describe('circuit breaker: the tables of failsafe-go', () => {
  it.each([
    {
      name: 'TestClosedStateFailureWithFailureThreshold',
      window: { kind: 'consecutive', failures: 3 },
      ends: ['bad', 'ok', 'bad', 'bad', 'bad']
    },
    {
      name: 'TestClosedStateFailureWithFailureRatio',
      window: { kind: 'count', size: 3, minimumThroughput: 3, failureRatio: 2 / 3 },
      ends: ['bad', 'ok', 'bad']
    }
  ] as const)('$name', ({ window, ends }) => {
    const { breaker, end } = make({ window })
    for (const how of ends) {
      expect(breaker.state).toBe('closed')
      end(how)
    }
    expect(breaker.state).toBe('open')
  })

  it.each([
    {
      name: 'TestClosedStateSuccessWithFailureRatio',
      window: { kind: 'count', size: 4, minimumThroughput: 4, failureRatio: 3 / 4 }
    },
    { name: 'TestClosedStateSuccessWithFailureThreshold', window: { kind: 'consecutive', failures: 2 } }
  ] as const)('$name', ({ window }) => {
    const { breaker, end } = make({ window })
    for (let call = 0; call < 20; call++) {
      end('ok')
      end('bad')
      expect(breaker.state).toBe('closed')
    }
  })

  it.each([
    { name: 'TestHalfOpenStateFailureWithDefaultConfig', probes: 1, bad: 0, ends: ['bad'], state: 'open' },
    { name: 'TestHalfOpenSuccessWithDefaultConfig', probes: 1, bad: 0, ends: ['ok'], state: 'closed' },
    { name: 'TestHalfOpenFailureWithSuccessThreshold', probes: 3, bad: 0, ends: ['ok', 'bad'], state: 'open' },
    { name: 'TestHalfOpenSuccessWithSuccessThreshold', probes: 3, bad: 0, ends: ['ok', 'ok', 'ok'], state: 'closed' },
    { name: 'TestHalfOpenFailureWithSuccessRatio', probes: 3, bad: 1, ends: ['bad', 'ok', 'bad'], state: 'open' },
    { name: 'TestHalfOpenSuccessWithSuccessRatio', probes: 3, bad: 1, ends: ['bad', 'ok', 'ok'], state: 'closed' },
    {
      name: 'TestHalfOpenFailureWithSuccessAndFailureRatios',
      probes: 4,
      bad: 1,
      ends: ['ok', 'bad', 'ok', 'bad'],
      state: 'open'
    },
    {
      name: 'TestHalfOpenSuccessWithSuccessAndFailureRatios',
      probes: 4,
      bad: 1,
      ends: ['ok', 'bad', 'ok', 'ok'],
      state: 'closed'
    }
  ] as const)('$name', async ({ probes, bad, ends, state }) => {
    const { breaker, end, pass } = make({ breakMs: 1_000, probes, probeFailuresMax: bad })
    breaker.trip()
    await pass(1_000)
    for (const how of ends) {
      expect(breaker.state).toBe('half-open')
      end(how)
    }
    expect(breaker.state).toBe(state)
  })
})

describe('circuit breaker: the tables of gobreaker', () => {
  it('TestDefaultCircuitBreaker: six in a row, and a success between', async () => {
    const { breaker, end, pass } = make({ window: { kind: 'consecutive', failures: 6 }, breakMs: 60_000 })
    for (let call = 0; call < 5; call++) end('bad')
    end('ok')
    for (let call = 0; call < 5; call++) end('bad')
    expect(breaker.state).toBe('closed')
    end('bad')
    expect(breaker.state).toBe('open')
    await pass(59_000)
    expect(breaker.state).toBe('open')
    await pass(1_000)
    expect(breaker.state).toBe('half-open')
    end('bad')
    await pass(60_000)
    expect(breaker.state).toBe('half-open')
    end('ok')
    expect(breaker.state).toBe('closed')
  })

  it('TestRollingWindowCircuitBreaker: ten slices of three seconds', async () => {
    const window = { kind: 'time', samplingMs: 30_000, minimumThroughput: 3, failureRatio: 0.6 } as const
    const { breaker, end, pass } = make({ window, breakMs: 60_000, probes: 3 })
    const counts = (): number[] => {
      const { calls, failures } = breaker.stats().window
      return [calls, calls - failures, failures]
    }
    for (let call = 0; call < 5; call++) {
      end('ok')
      end('bad')
    }
    expect(counts()).toEqual([10, 5, 5])
    await pass(3_000)
    end('ok')
    expect(counts()).toEqual([11, 6, 5])
    await pass(2_000)
    end('ok')
    await pass(2_000)
    end('ok')
    await pass(2_000)
    end('bad')
    expect(counts()).toEqual([14, 8, 6])
    for (let slice = 0; slice < 6; slice++) {
      await pass(3_000)
      end('ok')
      end('bad')
      expect(counts()).toEqual([16 + 2 * slice, 9 + slice, 7 + slice])
    }
    await pass(3_000)
    end('bad')
    expect(counts()).toEqual([17, 9, 8])
    for (let call = 0; call < 5; call++) {
      end('bad')
      expect(counts()).toEqual([18 + call, 9, 9 + call])
    }
    expect(breaker.state).toBe('closed')
    end('bad')
    expect(breaker.state).toBe('open')
    await pass(60_000)
    end('ok')
    end('ok')
    expect(breaker.state).toBe('half-open')
    const third = permit(breaker)
    expect(breaker.acquire().outcome).toBe('rejected')
    breaker.succeed(third)
    expect(breaker.state).toBe('closed')
  })

  it('TestGeneration: a call of the generation before has no effect', () => {
    const { breaker, end } = make({})
    end('ok')
    const slow = permit(breaker)
    breaker.reset()
    expect(permit(breaker).generation).toBe(slow.generation + 1)
    breaker.succeed(slow)
    expect(breaker.stats()).toMatchObject({ window: { calls: 0 }, late: 1 })
  })
})
