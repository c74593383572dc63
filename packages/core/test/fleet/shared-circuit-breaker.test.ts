import { getEventListeners } from 'node:events'
import {
  type BreakerPermit,
  type BreakerRejection,
  type CircuitBreaker,
  type Clock,
  CoreError,
  sleep
} from '@enablement/core'
import {
  type BreakerStateStore,
  createSharedCircuitBreaker,
  memoryBreakerStateStore,
  type SharedBreakerEvent,
  type SharedCircuitBreaker,
  type SharedCircuitBreakerOptions
} from '@enablement/core/fleet'
import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { afterEach, describe, expect, inject, it } from 'vitest'

const POLL_MS = 500
const TIMEOUT_MS = 250
const SOAK_MS = 600_000
/** Longer than anybody waits. */
const HANGING_MS = 700

/** A store as one process sees it: it is cut off, answers late and with an error, loses its answers to claims, or is gone. */
interface Link {
  readonly store: BreakerStateStore
  state: 'up' | 'down' | 'hanging' | 'losing claims' | 'gone'
  /** Questions that were asked. */
  asked: number
}

const cutOff = () => new CoreError('STORE_UNAVAILABLE', 'cut off', { store: 'test', operation: 'any' })

function linkTo(store: BreakerStateStore, clock: Clock): Link {
  const link: Link = { store: undefined as never, state: 'up', asked: 0 }
  const over = async <T>(question: () => Promise<T>): Promise<T> => {
    link.asked += 1
    if (link.state === 'gone') return new Promise<T>(() => {})
    const { state } = link
    if (state === 'hanging') await sleep(clock, HANGING_MS)
    if (state === 'down' || state === 'hanging') throw cutOff()
    return question()
  }
  const linked: BreakerStateStore = {
    supports: store.supports,
    read: (name) => over(() => store.read(name)),
    open: (name, next) => over(() => store.open(name, next)),
    claimProbe: (name, claim) =>
      over(async () => {
        const answer = await store.claimProbe(name, claim)
        if (link.state === 'losing claims') throw cutOff()
        return answer
      }),
    close: (name, known) => over(() => store.close(name, known)),
    reset: (name) => over(() => store.reset(name))
  }
  return Object.assign(link, { store: linked })
}

interface Process {
  readonly breaker: SharedCircuitBreaker
  readonly link: Link
  readonly events: SharedBreakerEvent[]
}

const opened: { readonly breaker: SharedCircuitBreaker; readonly platform: TestPlatform }[] = []
afterEach(async () => {
  for (const { breaker, platform } of opened.splice(0)) {
    const closed = breaker.close()
    // A question to a store that hangs ends by its timeout.
    await platform.clock.advance(TIMEOUT_MS)
    await closed
  }
})

/** Processes that share one breaker: opens at 3 failures, breaks of 1 s, 2 s …, on one virtual clock. */
async function processes(count: number, options: Partial<SharedCircuitBreakerOptions> = {}) {
  const platform = testPlatform()
  const store = memoryBreakerStateStore({ platform })
  const start = (more: Partial<SharedCircuitBreakerOptions> = {}, state: Link['state'] = 'up'): Process => {
    const link = linkTo(store, platform.clock)
    link.state = state
    const events: SharedBreakerEvent[] = []
    const breaker = createSharedCircuitBreaker({
      name: 'hook',
      window: { kind: 'consecutive', failures: 3 },
      breakMs: 1_000,
      store: link.store,
      pollMs: POLL_MS,
      storeTimeoutMs: TIMEOUT_MS,
      platform,
      observe: (event) => events.push(event),
      ...options,
      ...more
    })
    opened.push({ breaker, platform })
    return { breaker, link, events }
  }
  const all = Array.from({ length: count }, () => start())
  const pass = (ms: number): Promise<void> => platform.clock.advance(ms)
  await pass(0)
  return { platform, store, start, all, pass, breakers: all.map(({ breaker }) => breaker) }
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

const failTimes = (breaker: CircuitBreaker, times: number): void => {
  for (let time = 0; time < times; time++) breaker.fail(permit(breaker))
}

const statesOf = (breakers: readonly CircuitBreaker[]): string[] => breakers.map(({ state }) => state)

/** The probe of whoever gets it, asking all until one does. */
async function probeOf(
  breakers: readonly SharedCircuitBreaker[]
): Promise<{ readonly by: SharedCircuitBreaker; readonly probe: BreakerPermit }> {
  const answers = await Promise.all(breakers.map((breaker) => breaker.admit()))
  const got = answers.flatMap((answer, at) => (answer.outcome === 'permitted' ? [{ answer, at }] : []))
  expect(got).toHaveLength(1)
  const [{ answer, at }] = got as [{ answer: BreakerPermit; at: number }]
  return { by: breakers[at] as SharedCircuitBreaker, probe: answer }
}

describe('shared circuit breaker: a break', () => {
  it('that one process opens is open in all within pollMs', async () => {
    const { breakers, pass, all } = await processes(4)
    failTimes(breakers[1] as CircuitBreaker, 3)
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['open', 'open', 'open', 'open'])
    const event = all[3]?.events.at(-1)
    expect(event).toMatchObject({ type: 'breaker.opened', cause: 'shared', breaks: 1 })
    // What is left of it, not a break of its own.
    expect(rejection(breakers[3] as CircuitBreaker).retryAfterMs).toBeLessThanOrEqual(1_000)
    await pass(1_000 - POLL_MS)
    expect(statesOf(breakers)).toEqual(['half-open', 'half-open', 'half-open', 'half-open'])
  })

  it('is one break when several open it at once', async () => {
    const { breakers, pass, store } = await processes(3)
    for (const breaker of breakers) failTimes(breaker, 3)
    await pass(POLL_MS)
    expect(breakers.map((breaker) => breaker.stats().breaks)).toEqual([1, 1, 1])
    expect(await store.read('hook')).toMatchObject({ state: 'open', breaks: 1 })
  })

  it('grows for all, and for a process that starts later', async () => {
    const { breakers, pass, start } = await processes(2)
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    const first = await probeOf(breakers)
    first.by.fail(first.probe)
    await pass(POLL_MS)
    expect(breakers.map((breaker) => breaker.stats().breaks)).toEqual([2, 2])
    await pass(2_000)
    const second = await probeOf(breakers)
    second.by.succeed(second.probe)
    await pass(POLL_MS)
    const { breaker: late } = start()
    await pass(0)
    failTimes(late, 3)
    await pass(POLL_MS)
    expect(rejection(breakers[0] as CircuitBreaker)).toMatchObject({ reason: 'open', retryAfterMs: 4_000 - POLL_MS })
  })

  it('begins anew after a calm spell that a process has not seen itself', async () => {
    const { breakers, pass, start } = await processes(1)
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    const { by, probe } = await probeOf(breakers)
    by.succeed(probe)
    await pass(1_000)
    const { breaker: late } = start()
    await pass(0)
    failTimes(late, 3)
    expect(late.stats().breaks).toBe(1)
  })

  it('keeps the length that trip gave it', async () => {
    const { breakers, pass } = await processes(2)
    breakers[0]?.trip({ breakMs: 30_000 })
    await pass(POLL_MS)
    expect(rejection(breakers[1] as CircuitBreaker).retryAfterMs).toBe(30_000 - POLL_MS)
  })

  it('is not opened for all on evidence from before another process closed it (pitfall 2)', async () => {
    const { all, breakers, pass } = await processes(2)
    const [behind, other] = all as [Process, Process]
    other.breaker.trip()
    await pass(POLL_MS)
    behind.link.state = 'hanging'
    await pass(500)
    const { by, probe } = await probeOf([other.breaker])
    by.succeed(probe)
    // Still in the break of before, the one behind finds its own probe failing.
    await pass(POLL_MS + TIMEOUT_MS)
    behind.breaker.fail(permit(behind.breaker))
    expect(behind.breaker.state).toBe('open')
    behind.link.state = 'up'
    await pass(2 * POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed'])
  })
})

describe('shared circuit breaker: the probe', () => {
  it('is one for all processes, and the others are told when to ask again', async () => {
    const { breakers, pass } = await processes(5)
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    for (const breaker of breakers) expect(rejection(breaker).reason).toBe('probing')
    await pass(0)
    const answers = breakers.map((breaker) => breaker.acquire())
    expect(answers.filter(({ outcome }) => outcome === 'permitted')).toHaveLength(1)
    for (let call = 0; call < 200; call++) {
      for (const breaker of breakers) {
        const answer = rejection(breaker)
        expect(answer.reason).toBe('probing')
        expect(answer.retryAfterMs).toBeGreaterThan(0)
      }
    }
  })

  it('closes it for all, each with a ramp of its own', async () => {
    const { breakers, pass, all } = await processes(3, { rampMs: 10_000, rampFromRatio: 0.1 })
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    const { by, probe } = await probeOf(breakers)
    by.succeed(probe)
    expect(by.state).toBe('closed')
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed', 'closed'])
    const other = all.find(({ breaker }) => breaker !== by) as Process
    expect(other.events.at(-1)).toEqual({ type: 'breaker.closed', breaker: 'hook', cause: 'shared' })
    for (const breaker of breakers) {
      let through = 0
      for (let call = 0; call < 100; call++) if (breaker.acquire().outcome === 'permitted') through += 1
      expect(through).toBeGreaterThan(8)
      expect(through).toBeLessThan(20)
    }
  })

  it('of a process that died goes to another when its lease and a second have passed', async () => {
    const { breakers, pass, all } = await processes(3, { probeLeaseMs: 2_000 })
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    const { by: dead, probe } = await probeOf(breakers)
    const link = all.find(({ breaker }) => breaker === dead)?.link as Link
    link.state = 'hanging'
    const others = breakers.filter((breaker) => breaker !== dead)
    await pass(2_999)
    for (const breaker of others) expect(rejection(breaker).reason).toBe('probing')
    await pass(1)
    const next = await probeOf(others)
    // It wakes and reports, late: that changes nothing, neither here nor there.
    dead.succeed(probe)
    link.state = 'up'
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['half-open', 'half-open', 'half-open'])
    next.by.succeed(next.probe)
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed', 'closed'])
  })

  it('of a process that slept does not close what another has found to be broken', async () => {
    const { breakers, pass, all, store, platform } = await processes(2, { probeLeaseMs: 2_000 })
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    const { by: asleep, probe } = await probeOf(breakers)
    const { link } = all.find(({ breaker }) => breaker === asleep) as Process
    link.state = 'down'
    // Its own clock stood still: it believes in its lease. Meanwhile another process claimed, and failed.
    platform.clock.jumpWallTo(platform.clock.now() + 5_000)
    const { generation } = await store.read('hook')
    const { standing } = await store.claimProbe('hook', { generation, owner: 'another', leaseMs: 2_000 })
    await store.open('hook', { generation: standing.generation, breaks: 2, breakMs: 2_000, breakLeftMs: 2_000 })
    asleep.succeed(probe)
    link.state = 'up'
    await pass(POLL_MS)
    expect(await store.read('hook')).toMatchObject({ state: 'open', breaks: 2 })
    expect(statesOf(breakers)).toEqual(['open', 'open'])
  })

  it('of a process that slept counts for nothing once it has seen that another probes', async () => {
    const { breakers, pass, store, platform } = await processes(1, { probeLeaseMs: 2_000 })
    const [asleep] = breakers as [SharedCircuitBreaker]
    failTimes(asleep, 3)
    await pass(1_000)
    const { probe } = await probeOf(breakers)
    platform.clock.jumpWallTo(platform.clock.now() + 5_000)
    const { generation } = await store.read('hook')
    await store.claimProbe('hook', { generation, owner: 'another', leaseMs: 2_000 })
    await pass(POLL_MS)
    asleep.succeed(probe)
    expect([asleep.state, asleep.stats().late]).toEqual(['half-open', 1])
    expect(rejection(asleep).reason).toBe('probing')
  })

  it('goes back when it ended without evidence, and may be made again by the same process', async () => {
    const { breakers, pass } = await processes(2)
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    const { by, probe } = await probeOf(breakers)
    by.release(probe)
    by.succeed(permit(by))
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed'])
  })

  it('is not made by leave that was given in a break that has passed', async () => {
    const { breakers, pass } = await processes(2, { pollMs: 10 })
    breakers[0]?.trip()
    await pass(1_000)
    const { by, probe } = await probeOf(breakers)
    by.release(probe)
    const other = breakers.find((breaker) => breaker !== by) as SharedCircuitBreaker
    other.reset()
    await pass(20)
    other.trip({ breakMs: 100 })
    await pass(150)
    expect((await other.admit()).outcome).toBe('permitted')
    expect(by.acquire()).toMatchObject({ outcome: 'rejected', reason: 'probing' })
  })

  it('is of one process also where it takes several', async () => {
    const { breakers, pass } = await processes(2, { probes: 3 })
    failTimes(breakers[0] as CircuitBreaker, 3)
    await pass(1_000)
    const { by, probe } = await probeOf(breakers)
    const other = breakers.find((breaker) => breaker !== by) as SharedCircuitBreaker
    by.succeed(probe)
    // So long after its leave that it has to be asked for again.
    await pass(1_500)
    expect((await other.admit()).outcome).toBe('rejected')
    by.succeed((await by.admit()) as BreakerPermit)
    by.succeed(permit(by))
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed'])
  })

  it('is made by a call of execute that comes alone, and by no more than one that come together', async () => {
    const { breakers, pass } = await processes(1)
    const [breaker] = breakers as [SharedCircuitBreaker]
    failTimes(breaker, 3)
    await pass(60_000)
    let begun = 0
    const work = async () => {
      begun += 1
    }
    const runs = await Promise.allSettled([1, 2, 3].map(() => breaker.execute(work)))
    expect([begun, runs.filter(({ status }) => status === 'fulfilled').length]).toEqual([1, 1])
    expect(breaker.state).toBe('closed')
    expect(breaker.stats().rejected).toBe(2)
  })

  it('holds no caller that leaves while leave is asked for', async () => {
    const { all, pass } = await processes(1)
    const [{ breaker, link }] = all as [Process]
    failTimes(breaker, 3)
    await pass(1_000)
    link.state = 'hanging'
    const caller = new AbortController()
    const ended: unknown[] = []
    for (const call of [breaker.execute(() => 'never', caller), breaker.admit(caller)]) {
      call.catch((error: unknown) => ended.push(error))
    }
    caller.abort(new Error('the user left'))
    await pass(0)
    expect(ended).toEqual([new Error('the user left')])
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
  })

  it('is made again at once by the process to which it was given when the answer is lost', async () => {
    const { all, breakers, pass, store } = await processes(2)
    const [{ breaker, link }, other] = all as [Process, Process]
    failTimes(breaker, 3)
    await pass(1_000)
    link.state = 'losing claims'
    const probe = (await breaker.admit()) as BreakerPermit
    breaker.release(probe)
    expect(await store.read('hook')).toMatchObject({ state: 'open', probeLeftMs: 2_000 })
    link.state = 'up'
    await pass(POLL_MS)
    expect((await other.breaker.admit()).outcome).toBe('rejected')
    breaker.succeed((await breaker.admit()) as BreakerPermit)
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed'])
  })

  it('is not made for a caller who left while leave was asked for', async () => {
    const { breakers, pass } = await processes(1)
    const [breaker] = breakers as [SharedCircuitBreaker]
    failTimes(breaker, 3)
    await pass(1_000)
    const caller = new AbortController()
    const run = breaker.execute(() => 'never', { signal: caller.signal })
    const leave = breaker.admit({ signal: AbortSignal.abort(new Error('gone')) })
    caller.abort(new Error('the user left'))
    await expect(run).rejects.toThrow('the user left')
    await expect(leave).rejects.toThrow('gone')
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
    expect(permit(breaker).probe).toBe(true)
  })
})

describe('shared circuit breaker: a store that fails', () => {
  it.each(['down', 'hanging', 'gone'] as const)('costs no call anything: %s', async (state) => {
    const { all, pass, platform } = await processes(1)
    const [{ breaker, link, events }] = all as [Process]
    link.state = state
    await pass(POLL_MS + TIMEOUT_MS)
    expect([breaker.alone, events.map(({ type }) => type)]).toEqual([true, ['breaker.alone']])
    const at = platform.clock.monotonic()
    failTimes(breaker, 3)
    expect(rejection(breaker)).toMatchObject({ reason: 'open', retryAfterMs: 1_000 })
    expect(await breaker.execute(() => 1).catch((error: unknown) => error)).toMatchObject({ code: 'CIRCUIT_OPEN' })
    expect(platform.clock.monotonic()).toBe(at)
    await pass(1_000)
    // It probes by itself, and closes by itself.
    expect(await breaker.execute(() => 'probe')).toBe('probe')
    expect(breaker.state).toBe('closed')
    expect(events.filter(({ type }) => type === 'breaker.alone')).toHaveLength(1)
  })

  it('holds up a probe for twice storeTimeoutMs at most', async () => {
    const { all, pass, platform } = await processes(1)
    const [{ breaker, link }] = all as [Process]
    failTimes(breaker, 3)
    await pass(1_000)
    link.state = 'hanging'
    const startedAt = platform.clock.monotonic()
    const ended = breaker.execute(() => platform.clock.monotonic())
    await pass(2 * TIMEOUT_MS)
    expect((await ended) - startedAt).toBeLessThanOrEqual(2 * TIMEOUT_MS)
  })

  it('holds up one call at a time: all others are answered at once', async () => {
    const { all, pass, platform } = await processes(1)
    const [{ breaker, link }] = all as [Process]
    failTimes(breaker, 3)
    await pass(1_000)
    link.state = 'hanging'
    const first = breaker.execute(() => 'probe')
    const at = platform.clock.monotonic()
    for (let call = 0; call < 3; call++) {
      await expect(breaker.execute(() => 'no')).rejects.toMatchObject({ code: 'CIRCUIT_OPEN' })
      expect((await breaker.admit()).outcome).toBe('rejected')
    }
    expect(platform.clock.monotonic()).toBe(at)
    await pass(2 * TIMEOUT_MS)
    expect(await first).toBe('probe')
  })

  it('is not asked for ever when it never answers (pitfall 15)', async () => {
    const { all, pass } = await processes(1)
    const [{ link }] = all as [Process]
    link.state = 'gone'
    const { asked } = link
    await pass(60_000)
    expect(link.asked - asked).toBe(8)
  })

  it('is told of the break when it answers again, and of the closing', async () => {
    const { all, breakers, pass } = await processes(2)
    const [cut, other] = all as [Process, Process]
    cut.link.state = 'down'
    await pass(POLL_MS)
    cut.breaker.trip({ breakMs: 5_000 })
    await pass(POLL_MS)
    expect(other.breaker.state).toBe('closed')
    cut.link.state = 'up'
    await pass(2 * POLL_MS)
    expect(statesOf(breakers)).toEqual(['open', 'open'])
    expect(cut.events.map(({ type }) => type)).toContain('breaker.rejoined')
    expect(cut.breaker.alone).toBe(false)

    cut.link.state = 'down'
    await pass(5_000)
    await cut.breaker.execute(() => 'fine')
    cut.link.state = 'up'
    await pass(2 * POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed'])
  })

  it('is followed when it knows better than a process that was cut off', async () => {
    const { all, breakers, pass } = await processes(2)
    const [cut, other] = all as [Process, Process]
    cut.link.state = 'down'
    other.breaker.trip({ breakMs: 5_000 })
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'open'])
    cut.link.state = 'up'
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['open', 'open'])
  })

  it('that could not be reached when the process started is met later', async () => {
    const { start, breakers, pass } = await processes(1)
    const late = start({}, 'down')
    await pass(0)
    failTimes(late.breaker, 3)
    await pass(0)
    late.link.state = 'up'
    await pass(2 * POLL_MS)
    expect(statesOf([...breakers, late.breaker])).toEqual(['half-open', 'half-open'])
  })

  it('is not told what a process found out before it first reached it, where others have found out since', async () => {
    const { start, breakers, pass, store } = await processes(1)
    const [opener, closer] = [start({}, 'down'), start({}, 'down')]
    breakers[0]?.trip({ breakMs: 30_000 })
    await pass(0)
    const standing = await store.read('hook')
    failTimes(opener.breaker, 3)
    failTimes(closer.breaker, 3)
    await pass(1_000)
    expect(await closer.breaker.execute(() => 'fine')).toBe('fine')
    for (const { link } of [opener, closer]) link.state = 'up'
    await pass(2 * POLL_MS)
    expect((await store.read('hook')).generation).toBe(standing.generation)
    expect(statesOf([opener.breaker, closer.breaker])).toEqual(['open', 'open'])
  })

  it('has forgotten everything, and is told of the next break', async () => {
    const platform = testPlatform()
    let store = memoryBreakerStateStore({ platform })
    const current: BreakerStateStore = {
      supports: store.supports,
      read: (name) => store.read(name),
      open: (name, next) => store.open(name, next),
      claimProbe: (name, claim) => store.claimProbe(name, claim),
      close: (name, known) => store.close(name, known),
      reset: (name) => store.reset(name)
    }
    const breaker = createSharedCircuitBreaker({ name: 'hook', store: current, breakMs: 1_000, platform })
    opened.push({ breaker, platform })
    breaker.trip()
    await platform.clock.advance(1_000)
    await breaker.execute(() => 'fine')
    await platform.clock.advance(0)
    store = memoryBreakerStateStore({ platform })
    breaker.trip()
    await platform.clock.advance(0)
    expect(breaker.state).toBe('open')
    expect(await store.read('hook')).toMatchObject({ state: 'open', breaks: 2 })
  })
})

describe('shared circuit breaker: operators', () => {
  it('reset it for all, and trip it for all', async () => {
    const { breakers, pass } = await processes(2)
    breakers[0]?.trip()
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['open', 'open'])
    breakers[1]?.reset()
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed'])
    expect(breakers.map((breaker) => breaker.stats().breaks)).toEqual([0, 0])
  })

  it('have the last word for all also where they act on an event', async () => {
    const acting: ('reset' | 'trip')[] = ['reset']
    const observe = ({ type }: SharedBreakerEvent): void => {
      if (type === 'breaker.opened' || type === 'breaker.closed') breakers[0]?.[acting.shift() ?? 'acquire']()
    }
    const { breakers, pass } = await processes(2, { observe })
    const [one] = breakers as [SharedCircuitBreaker]
    failTimes(one, 3)
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['closed', 'closed'])
    one.trip()
    await pass(1_000)
    acting.push('trip')
    one.succeed((await one.admit()) as BreakerPermit)
    await pass(POLL_MS)
    expect(statesOf(breakers)).toEqual(['open', 'open'])
  })

  it.each(['metrics-only', 'forced-open', 'disabled'] as const)(
    'switch one process alone to %s, which neither tells nor follows, and comes back by reset',
    async (override) => {
      const { breakers, pass } = await processes(2)
      const [one, other] = breakers as [SharedCircuitBreaker, SharedCircuitBreaker]
      one.switchTo(override)
      for (let call = 0; call < 5; call++) {
        const leave = one.acquire()
        if (leave.outcome === 'permitted') one.fail(leave)
      }
      await pass(POLL_MS)
      expect(other.state).toBe('closed')
      other.trip({ breakMs: 30_000 })
      await pass(2 * POLL_MS)
      expect(one.state).toBe(override)
      one.reset()
      await pass(0)
      expect(statesOf(breakers)).toEqual(['open', 'open'])
    }
  )

  it('look at the store when they like, as a process must that is frozen between calls', async () => {
    const { breakers } = await processes(2)
    const [one, other] = breakers as [SharedCircuitBreaker, SharedCircuitBreaker]
    one.trip()
    await one.refresh()
    await other.refresh()
    expect(other.state).toBe('open')
  })

  it('close it, after which no timer is left and it is a breaker of this process', async () => {
    const { breakers, pass, platform, all } = await processes(2)
    const [one, other] = breakers as [SharedCircuitBreaker, SharedCircuitBreaker]
    await other.close()
    await one.close()
    expect(platform.clock.pendingTimers).toBe(0)
    const asked = all[0]?.link.asked
    failTimes(one, 3)
    await pass(1_000)
    one.succeed(permit(one))
    expect([one.state, all[0]?.link.asked]).toEqual(['closed', asked])
    await one.refresh()
    expect([one.state, all[0]?.link.asked]).toEqual(['closed', asked])
  })

  it('close it after the store was told what was found out before, also while it is being looked at', async () => {
    const { breakers, store } = await processes(1)
    const [one] = breakers as [SharedCircuitBreaker]
    void one.refresh()
    one.trip()
    await one.close()
    expect(await store.read('hook')).toMatchObject({ state: 'open' })
  })

  it('close it after one more attempt to tell a store that did not answer', async () => {
    const { all, pass, store } = await processes(1)
    const [{ breaker, link }] = all as [Process]
    link.state = 'down'
    breaker.trip()
    await pass(0)
    link.state = 'up'
    await breaker.close()
    expect(await store.read('hook')).toMatchObject({ state: 'open' })
  })

  it('keep a snapshot as of any breaker, whose state gives way to what stands in the store', async () => {
    const { breakers, pass, start } = await processes(1)
    const [one] = breakers as [SharedCircuitBreaker]
    failTimes(one, 2)
    const { breaker: next } = start({ snapshot: one.snapshot() })
    await pass(0)
    failTimes(next, 1)
    expect(next.state).toBe('open')
    await pass(POLL_MS)
    one.reset()
    await pass(0)
    const { breaker: third } = start({ snapshot: next.snapshot() })
    expect(third.state).toBe('open')
    await pass(0)
    expect(third.state).toBe('closed')
  })

  it.each([
    { options: { store: {} }, path: 'store' },
    // No store would ever take these, and the breaker would be alone for ever.
    { options: { name: 'a\0b' }, path: 'name' },
    { options: { name: '\ud800' }, path: 'name' },
    { options: { pollMs: 9 }, path: 'pollMs' },
    { options: { pollMs: Number.NaN }, path: 'pollMs' },
    { options: { storeTimeoutMs: 0 }, path: 'storeTimeoutMs' },
    { options: { storeTimeoutMs: Number.POSITIVE_INFINITY }, path: 'storeTimeoutMs' },
    { options: { breakMs: 0 }, path: 'breakMs' },
    { options: { treshold: 1 }, path: 'treshold' }
  ])('are refused $options with the path $path', ({ options, path }) => {
    const make = () =>
      createSharedCircuitBreaker({ name: 'hook', store: memoryBreakerStateStore(), ...(options as object) })
    expect(make).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })
})

describe('shared circuit breaker: over any history', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('call' as const), at: fc.nat(2), ends: fc.nat(2) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('report' as const), which: fc.nat(9), ends: fc.nat(2) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(1_200) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('trip' as const, 'reset' as const), at: fc.nat(2) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('link' as const),
        at: fc.nat(2),
        state: fc.constantFrom('up' as const, 'up' as const, 'down' as const, 'hanging' as const)
      })
    }
  )

  test.prop([fc.boolean(), fc.array(step, { maxLength: 60, size: 'max' })], {
    numRuns: Math.ceil(40 * inject('scale'))
  })(
    'has one probe out at most while the store answers, and all agree once it does',
    async (failures, steps) => {
      const { all, breakers, pass, platform } = await processes(3, { probeLeaseMs: 1_500 })
      const out: { readonly breaker: SharedCircuitBreaker; readonly leave: BreakerPermit; readonly until: number }[] =
        []
      let failed = false
      const report = (breaker: SharedCircuitBreaker, leave: BreakerPermit, ends: number): void => {
        if (ends === 0) breaker.succeed(leave)
        else if (ends === 1) breaker.fail(leave)
        else breaker.release(leave)
      }
      for (const one of steps) {
        if (one.do === 'pass') {
          await pass(one.ms)
        } else if (one.do === 'link') {
          if (!failures) continue
          failed ||= one.state !== 'up'
          const { link } = all[one.at] as Process
          link.state = one.state
        } else if (one.do === 'report') {
          const taken = out.splice(one.which % Math.max(1, out.length), 1)[0]
          if (taken !== undefined) report(taken.breaker, taken.leave, one.ends)
        } else if (one.do === 'call') {
          const breaker = breakers[one.at] as SharedCircuitBreaker
          const leave = breaker.acquire()
          if (leave.outcome === 'rejected') continue
          const now = platform.clock.monotonic()
          if (!leave.probe) report(breaker, leave, one.ends)
          else if (!failed) expect(out.filter(({ until }) => now < until)).toEqual([])
          if (leave.probe) out.push({ breaker, leave, until: now + 1_500 })
        } else {
          if (one.do === 'trip') breakers[one.at]?.trip()
          else breakers[one.at]?.reset()
          // What an operator does makes a probe that is out one of a generation that has passed.
          out.splice(0)
        }
      }
      for (const { link } of all) link.state = 'up'
      await pass(4 * POLL_MS)
      const closed = breakers.map((breaker) => breaker.stats().state === 'closed')
      expect(new Set(closed).size).toBe(1)
      await Promise.all(breakers.map((breaker) => breaker.close()))
      expect(platform.clock.pendingTimers).toBe(0)
    },
    SOAK_MS
  )
})
