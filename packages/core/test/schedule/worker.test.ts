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

  it('lets timers and sockets have their turn while a duty is always busy', async () => {
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
