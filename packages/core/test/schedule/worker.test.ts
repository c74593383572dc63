import { type Duty, startWorker, type WorkerEvent } from '@enablement/core/schedule'
import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

/** A duty that notes the virtual instants of its runs and handles what `due` says is due. */
function notingDuty(
  platform: TestPlatform,
  due: (run: number) => number | Promise<number>
): Duty & { runsAt: number[] } {
  const runsAt: number[] = []
  return {
    name: 'test.noting',
    runsAt,
    async run() {
      runsAt.push(platform.clock.monotonic())
      return { handled: await due(runsAt.length) }
    }
  }
}

const never = new Promise<never>(() => {})

describe('worker', () => {
  it('runs a duty at once, again while it handles items, and then every pollMs', async () => {
    const platform = testPlatform()
    const duty = notingDuty(platform, (run) => (run <= 3 ? 5 : 0))
    await using worker = startWorker({ platform, duties: [duty], pollMs: 500 })
    await platform.clock.advance(0)
    expect(duty.runsAt).toEqual([0, 0, 0, 0])
    await platform.clock.advance(1_250)
    expect(duty.runsAt).toEqual([0, 0, 0, 0, 500, 1_000])
    expect(worker.health()).toEqual({
      state: 'running',
      duties: [
        { name: 'test.noting', state: 'waiting', failures: 0, succeededAt: platform.clock.now() - 250, handled: 15 }
      ]
    })
  })

  it('polls every second unless told otherwise', async () => {
    const platform = testPlatform()
    const duty = notingDuty(platform, () => 0)
    await using _worker = startWorker({ platform, duties: [duty] })
    await platform.clock.advance(2_000)
    expect(duty.runsAt).toEqual([0, 1_000, 2_000])
  })

  it('hands the worker out before the first run, which may use it', async () => {
    const platform = testPlatform()
    let runs = 0
    await using worker = startWorker({
      platform,
      duties: [
        {
          name: 'test.self-waking',
          run: async () => {
            runs += 1
            if (runs < 3) worker.wake()
            return { handled: 0 }
          }
        }
      ]
    })
    await platform.clock.advance(0)
    expect(runs).toBe(3)
  })

  it('runs a waiting duty at once when woken', async () => {
    const platform = testPlatform()
    const duty = notingDuty(platform, () => 0)
    await using worker = startWorker({ platform, duties: [duty], pollMs: 60_000 })
    await platform.clock.advance(100)
    worker.wake()
    worker.wake()
    await platform.clock.advance(0)
    expect(duty.runsAt).toEqual([0, 100])
    expect(platform.clock.pendingTimers).toBe(1)
  })

  it('does not lose a wake that comes during a run', async () => {
    const platform = testPlatform()
    const gate = Promise.withResolvers<number>()
    const duty = notingDuty(platform, (run) => (run === 1 ? gate.promise : 0))
    await using worker = startWorker({ platform, duties: [duty], pollMs: 60_000 })
    await platform.clock.advance(10)
    worker.wake()
    gate.resolve(0)
    await platform.clock.advance(0)
    expect(duty.runsAt).toEqual([0, 10])
    await platform.clock.advance(59_999)
    expect(duty.runsAt).toEqual([0, 10])
  })

  it.each(Array.from({ length: 12 }, (_, turns) => turns))(
    'does not lose a wake that comes %d microtasks after the end of a run',
    async (turns) => {
      const platform = testPlatform()
      const gate = Promise.withResolvers<number>()
      const duty = notingDuty(platform, (run) => (run === 1 ? gate.promise : 0))
      await using worker = startWorker({ platform, duties: [duty], pollMs: 60_000 })
      await platform.clock.advance(10)
      gate.resolve(0)
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      worker.wake()
      await platform.clock.advance(0)
      expect(duty.runsAt).toEqual([0, 10])
    }
  )

  it('runs its duties independently: one that hangs or throws holds no other up', async () => {
    const platform = testPlatform()
    const duty = notingDuty(platform, () => 0)
    const worker = startWorker({
      platform,
      duties: [
        { name: 'test.hanging', run: () => never },
        {
          name: 'test.throwing',
          run: () => {
            throw new Error('synchronously')
          }
        },
        { name: 'test.malformed', run: async () => undefined as never },
        duty
      ]
    })
    await platform.clock.advance(3_000)
    expect(duty.runsAt).toEqual([0, 1_000, 2_000, 3_000])
    expect(worker.health().duties.map(({ state }) => state)).toEqual([
      'running',
      'backing-off',
      'backing-off',
      'waiting'
    ])
  })

  it('reports failures, backs off twice as long each time up to a minute, with jitter, and reports the recovery', async () => {
    const platform = testPlatform({ seed: 7 })
    const events: WorkerEvent[] = []
    const duty = notingDuty(platform, (run) => {
      if (run <= 9) throw new Error(`failure ${run}`)
      return 0
    })
    await using worker = startWorker({
      platform,
      duties: [duty],
      pollMs: 1_000,
      observe: (event) => events.push(event)
    })
    await platform.clock.advance(600_000)
    const failed = events.filter((event) => event.type === 'duty.failed')
    expect(failed).toHaveLength(9)
    let at = 0
    for (const [index, event] of failed.entries()) {
      const ceilingMs = Math.min(60_000, 1_000 * 2 ** (index + 1))
      expect(event).toMatchObject({
        duty: 'test.noting',
        failures: index + 1,
        error: new Error(`failure ${index + 1}`)
      })
      expect(event.retryInMs).toBeGreaterThanOrEqual(ceilingMs / 2)
      expect(event.retryInMs).toBeLessThanOrEqual(ceilingMs)
      expect(duty.runsAt[index]).toBe(at)
      at += event.retryInMs
    }
    expect(new Set(failed.slice(5).map(({ retryInMs }) => retryInMs)).size).toBeGreaterThan(1)
    expect(events.at(-1)).toEqual({ type: 'duty.recovered', duty: 'test.noting', failures: 9 })
    expect(worker.health().duties[0]).toMatchObject({ state: 'waiting', failures: 0 })
  })

  it('never backs off for less than half a poll that is longer than a minute', async () => {
    const platform = testPlatform()
    const events: WorkerEvent[] = []
    await using _worker = startWorker({
      platform,
      pollMs: 3_600_000,
      duties: [{ name: 'test.failing', run: () => Promise.reject(new Error('down')) }],
      observe: (event) => events.push(event)
    })
    await platform.clock.advance(0)
    expect(events[0]).toMatchObject({ type: 'duty.failed' })
    expect((events[0] as { retryInMs: number }).retryInMs).toBeGreaterThanOrEqual(1_800_000)
  })

  it('keeps a failing duty to its delay when woken', async () => {
    const platform = testPlatform()
    const duty = notingDuty(platform, () => {
      throw new Error('down')
    })
    await using worker = startWorker({ platform, duties: [duty] })
    await platform.clock.advance(0)
    worker.wake()
    await platform.clock.advance(0)
    expect(duty.runsAt).toEqual([0])
  })

  it('survives an observer that throws', async () => {
    const platform = testPlatform()
    const duty = notingDuty(platform, (run) => {
      if (run === 1) throw new Error('down')
      return 0
    })
    await using _worker = startWorker({
      platform,
      duties: [duty],
      observe: () => {
        throw new Error('the observer is broken too')
      }
    })
    await platform.clock.advance(4_000)
    expect(duty.runsAt.length).toBeGreaterThan(2)
  })

  it('aborts the runs under way when closed, waits for them, and runs nothing more', async () => {
    const platform = testPlatform()
    const events: WorkerEvent[] = []
    const gate = Promise.withResolvers<void>()
    let ended = false
    const idle = notingDuty(platform, () => 0)
    const worker = startWorker({
      platform,
      observe: (event) => events.push(event),
      duties: [
        idle,
        {
          name: 'test.long',
          async run({ signal }) {
            await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
            await gate.promise
            ended = true
            throw signal.reason
          }
        }
      ]
    })
    await platform.clock.advance(0)
    const closed = worker.close()
    expect(worker.close()).toBe(closed)
    await platform.clock.advance(10_000)
    expect(worker.health()).toMatchObject({ state: 'closing', duties: [{ state: 'stopped' }, { state: 'running' }] })
    gate.resolve()
    await closed
    expect(ended).toBe(true)
    expect(worker.health()).toMatchObject({ state: 'closed', duties: [{ state: 'stopped' }, { state: 'stopped' }] })
    expect(events).toEqual([])
    worker.wake()
    await platform.clock.advance(10_000)
    expect(idle.runsAt).toEqual([0])
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('closes at once between two runs of a busy duty', async () => {
    const platform = testPlatform()
    const duty = notingDuty(platform, () => 1)
    const worker = startWorker({ platform, duties: [duty] })
    await Promise.resolve()
    await Promise.resolve()
    await worker.close()
    expect(duty.runsAt.length).toBeLessThanOrEqual(1)
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('reports what a run throws while closing, unless it is the reason it was closed with', async () => {
    const platform = testPlatform()
    const events: WorkerEvent[] = []
    const worker = startWorker({
      platform,
      observe: (event) => events.push(event),
      duties: [
        {
          name: 'test.failing-late',
          async run({ signal }) {
            await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
            throw new Error('a real fault')
          }
        }
      ]
    })
    await platform.clock.advance(0)
    await worker.close()
    expect(events).toMatchObject([{ type: 'duty.failed', error: new Error('a real fault') }])
  })

  it('looks again when the duty says that something falls due, and not later than its poll', async () => {
    const platform = testPlatform()
    const hints = [250, 40_000, undefined, Number.POSITIVE_INFINITY]
    const runsAt: number[] = []
    await using _worker = startWorker({
      platform,
      pollMs: 1_000,
      duties: [
        {
          name: 'test.hinting',
          run: async () => {
            runsAt.push(platform.clock.monotonic())
            // With a hint it is not run again at once although it handled something.
            return { handled: 1, nextDueInMs: hints[runsAt.length - 1] ?? 60_000 }
          }
        }
      ]
    })
    await platform.clock.advance(3_500)
    expect(runsAt).toEqual([0, 250, 1_250, 2_250, 3_250])
  })

  it('lets no more duties run at a time than it may, and each has its turn', async () => {
    const platform = testPlatform()
    let under = 0
    let most = 0
    let spread = 0
    const runs = new Map<string, number>()
    const busy = (name: string): Duty => ({
      name,
      run: async () => {
        under += 1
        most = Math.max(most, under)
        const run = (runs.get(name) ?? 0) + 1
        runs.set(name, run)
        if (runs.size === 5) spread = Math.max(spread, Math.max(...runs.values()) - Math.min(...runs.values()))
        await new Promise((resolve) => setImmediate(resolve))
        under -= 1
        return { handled: run < 10 ? 1 : 0 }
      }
    })
    const worker = startWorker({ platform, concurrency: 2, duties: ['a', 'b', 'c', 'd', 'e'].map(busy) })
    await platform.clock.advance(0)
    expect(most).toBe(2)
    expect([...runs.values()]).toEqual([10, 10, 10, 10, 10])
    expect(spread).toBeLessThanOrEqual(2)
    const closed = worker.close()
    await platform.clock.advance(0)
    expect(await closed).toEqual({ outcome: 'drained' })
  })

  it('tells a run under way that it was woken, and shows what a duty knows of its items', async () => {
    const platform = testPlatform()
    const gate = Promise.withResolvers<{ handled: number }>()
    let woken = 0
    await using worker = startWorker({
      platform,
      duties: [
        {
          name: 'test.looking',
          run: () => gate.promise,
          wake() {
            woken += 1
          },
          status: () => ({ lagMs: 7, setAside: 3 })
        }
      ]
    })
    await platform.clock.advance(0)
    worker.wake()
    expect(woken).toBe(1)
    expect(worker.health().duties[0]?.status).toEqual({ lagMs: 7, setAside: 3 })
    gate.resolve({ handled: 0 })
    await platform.clock.advance(0)
  })

  it('cuts off what has not ended when the time to drain is over, says so, and leaves alone what heeds nothing', async () => {
    const platform = testPlatform()
    const events: WorkerEvent[] = []
    const seen: string[] = []
    const worker = startWorker({
      platform,
      drainMs: 2_000,
      observe: (event) => events.push(event),
      duties: [
        {
          name: 'test.slow',
          run: ({ signal, cutoff }) =>
            new Promise((_, reject) => {
              signal.addEventListener('abort', () => seen.push(`signal ${platform.clock.monotonic()}`))
              cutoff?.addEventListener('abort', () => {
                seen.push(`cutoff ${platform.clock.monotonic()}`)
                reject(cutoff.reason as Error)
              })
            })
        },
        { name: 'test.deaf', run: () => never },
        notingDuty(platform, () => 0)
      ]
    })
    await platform.clock.advance(1_000)
    const closed = worker.close()
    await platform.clock.advance(2_000)
    expect(seen).toEqual(['signal 1000', 'cutoff 3000'])
    expect(worker.health().state).toBe('closing')
    await platform.clock.advance(5_000)
    expect(await closed).toEqual({ outcome: 'cut-off', abandoned: ['test.deaf'] })
    expect(events).toEqual([{ type: 'worker.cut-off', duties: ['test.slow', 'test.deaf'], drainMs: 2_000 }])
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('survives an observer whose promise rejects', async () => {
    const unhandled: unknown[] = []
    const onUnhandled = (error: unknown): void => void unhandled.push(error)
    process.on('unhandledRejection', onUnhandled)
    const broken: unknown = () => Promise.reject(new Error('the observer is broken too'))
    const platform = testPlatform()
    await using _worker = startWorker({
      platform,
      duties: [notingDuty(platform, () => Promise.reject(new Error('down')))],
      observe: broken as () => void
    })
    await platform.clock.advance(4_000)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', onUnhandled)
    expect(unhandled).toEqual([])
  })

  it('lets timers and sockets have their turn while a duty is always busy (pitfall 5)', async () => {
    let runs = 0
    await using _worker = startWorker({ duties: [{ name: 'test.busy', run: async () => ({ handled: ++runs }) }] })
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    expect(runs).toBeGreaterThan(0)
  })

  const duty: Duty = { name: 'test.a', run: async () => ({ handled: 0 }) }
  it.each([
    ['no duties', { duties: [] }, 'duties'],
    ['two duties of one name', { duties: [duty, { ...duty }] }, 'duties.1.name'],
    ['a duty without a name', { duties: [duty, { ...duty, name: '' }] }, 'duties.1'],
    ['a duty that cannot run', { duties: [{ name: 'test.b' }] }, 'duties.0'],
    ['pollMs of 0', { duties: [duty], pollMs: 0 }, 'pollMs'],
    ['pollMs of NaN', { duties: [duty], pollMs: Number.NaN }, 'pollMs'],
    ['infinite pollMs', { duties: [duty], pollMs: Number.POSITIVE_INFINITY }, 'pollMs'],
    ['pollMs beyond a day', { duties: [duty], pollMs: 86_400_001 }, 'pollMs'],
    ['no duty at a time', { duties: [duty], concurrency: 0 }, 'concurrency'],
    ['a negative time to drain', { duties: [duty], drainMs: -1 }, 'drainMs'],
    ['an infinite time to drain', { duties: [duty], drainMs: Number.POSITIVE_INFINITY }, 'drainMs'],
    ['a misspelt option', { duties: [duty], pollMS: 5 }, 'pollMS'],
    ['an observer that is no function', { duties: [duty], observe: {} }, 'observe']
  ])('is refused with %s', (_what, options, path) => {
    expect(() => startWorker(options as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'startWorker', issues: [expect.objectContaining({ path })] }
      })
    )
  })
})
