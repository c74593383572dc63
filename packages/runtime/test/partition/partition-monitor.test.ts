import { testPlatform } from '@enablement/core/testing'
import {
  createPartitionMonitor,
  type EgressEndpoint,
  type EgressProbe,
  type PartitionMonitorOptions,
  type PartitionReading
} from '@enablement/runtime/network'
import { describe, expect, it } from 'vitest'

const endpoints: readonly EgressEndpoint[] = [1, 2, 3].map((port) => ({ host: 'egress.test', port }))

type Answer = 'up' | 'down' | 'silent'

/** A monitor of three endpoints whose answers a test sets, on a virtual clock. */
function watch(options: Partial<PartitionMonitorOptions> = {}) {
  const platform = testPlatform()
  const answers = new Map<number, Answer>()
  const probes: { readonly port: number; readonly at: number; readonly signal: AbortSignal }[] = []
  const probe: EgressProbe = ({ port }, { signal }) => {
    probes.push({ port, at: platform.clock.monotonic(), signal })
    const answer = answers.get(port) ?? 'up'
    if (answer === 'up') return Promise.resolve()
    if (answer === 'down') return Promise.reject(new Error('refused'))
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
  }
  const monitor = createPartitionMonitor({ endpoints, probe, threshold: 2, platform, ...options })
  const readings: PartitionReading[] = []
  monitor.subscribe((reading) => readings.push(reading))
  const all = (answer: Answer): void => {
    for (const { port } of endpoints) answers.set(port, answer)
  }
  return { platform, clock: platform.clock, answers, probes, monitor, readings, all }
}

describe('a partition monitor', () => {
  it('probes all endpoints at once, at the start and then every interval give or take a quarter', async () => {
    const { clock, probes, monitor, readings } = watch({ intervalMs: 10_000 })
    await clock.advance(100_000)
    const rounds = Map.groupBy(probes, ({ at }) => at)
    expect([...rounds.values()].every((round) => round.length === 3)).toBe(true)
    const starts = [...rounds.keys()]
    expect(starts[0]).toBe(0)
    const gaps = starts.slice(1).map((at, index) => at - (starts[index] as number))
    for (const gap of gaps) expect(gap >= 7_500 && gap <= 12_500, String(gap)).toBe(true)
    expect(new Set(gaps).size, 'jitter').toBeGreaterThan(5)
    expect(readings.every(({ state, reachable }) => state === 'connected' && reachable)).toBe(true)
    await monitor.close()
    expect(clock.pendingTimers).toBe(0)
  })

  it('refuses a threshold above the number of endpoints, which no round could reach', () => {
    expect(() => watch({ threshold: 4 })).toThrow(/threshold: is above the number of endpoints/)
    expect(() => watch({ endpoints: [] })).toThrow(/endpoints/)
    expect(() => watch({ endpoints: [{ host: 'egress.test', port: 0 }] })).toThrow(/endpoints.0.port/)
    expect(() => watch({ treshold: 1 } as never)).toThrow(/treshold: there is no such option/)
  })

  it('gives a silent endpoint 5 s, and calls its round bad only at the threshold', async () => {
    const { clock, answers, monitor, readings } = watch()
    answers.set(1, 'silent')
    answers.set(2, 'silent')
    await clock.advance(4_999)
    expect(readings).toEqual([])
    await clock.advance(1)
    expect(readings).toMatchObject([{ state: 'connected', reachable: false }])
    expect(readings[0]?.failed.map(({ endpoint }) => endpoint.port)).toEqual([1, 2])
    await monitor.close()
  })

  it('ends a round as soon as it is decided, and the probes that no longer matter', async () => {
    const { clock, answers, probes, monitor, readings } = watch()
    answers.set(3, 'silent')
    await clock.advance(0)
    expect(readings).toMatchObject([{ reachable: true, failed: [] }])
    expect(probes.every(({ signal }) => signal.aborted)).toBe(true)
    await monitor.close()
    expect(clock.pendingTimers).toBe(0)
  })

  it('finds a partition, tries to reconnect with full jitter up to 30 s, and recovers after two good rounds', async () => {
    const { clock, probes, monitor, readings, all } = watch()
    await clock.advance(0)
    all('down')
    await clock.advance(15_000)
    expect(monitor.state).toBe('partitioned')
    await clock.advance(3_600_000)
    const starts = [...new Set(probes.map(({ at }) => at))]
    const gaps = starts.slice(1).map((at, index) => at - (starts[index] as number))
    expect(Math.max(...gaps.slice(3))).toBeLessThanOrEqual(30_000)
    expect(Math.max(...gaps.slice(-100))).toBeGreaterThan(20_000)
    expect(Math.min(...gaps.slice(-100)), 'full jitter reaches down').toBeLessThan(5_000)
    all('up')
    await clock.advance(31_000)
    expect(readings.filter(({ changedFrom }) => changedFrom !== undefined).map(({ state }) => state)).toEqual([
      'partitioned',
      'recovering',
      'connected'
    ])
    await monitor.close()
  })

  it('takes no notice of a wall clock that jumps', async () => {
    const { clock, probes, monitor } = watch()
    await clock.advance(0)
    clock.jumpWallTo(clock.now() + 86_400_000)
    await clock.advance(7_000)
    clock.jumpWallTo(0)
    await clock.advance(400)
    expect(probes).toHaveLength(3)
    await monitor.close()
  })

  it('looks at once when asked, one round for all who ask', async () => {
    const { clock, probes, monitor, all } = watch()
    await clock.advance(5_000)
    all('down')
    const asked = Array.from({ length: 1_000 }, () => monitor.check())
    await clock.advance(0)
    const readings = await Promise.all(asked)
    expect(new Set(readings).size).toBe(1)
    expect(readings[0]).toMatchObject({ reachable: false })
    expect(probes).toHaveLength(6)
    await monitor.close()
  })

  it('keeps a distance of the reconnect base between rounds, however often it is asked', async () => {
    const { clock, probes, monitor } = watch()
    await clock.advance(5_000)
    const asked = monitor.check()
    await clock.advance(0)
    await asked
    const again = monitor.check()
    await clock.advance(249)
    expect(probes).toHaveLength(6)
    await clock.advance(1)
    await again
    expect(probes).toHaveLength(9)
    await monitor.close()
  })

  it('answers whoever asks during a round with the next one, which began after what they saw', async () => {
    const { clock, probes, monitor, all } = watch()
    all('silent')
    await clock.advance(0)
    const asked = monitor.check()
    all('up')
    await clock.advance(5_000)
    await clock.advance(250)
    expect((await asked).reachable).toBe(true)
    expect(probes).toHaveLength(6)
    await monitor.close()
  })

  it('survives probes and listeners that throw, and takes a probe that throws for unreachable', async () => {
    const { clock, monitor, readings } = watch({
      probe: () => {
        throw new Error('no network stack')
      }
    })
    monitor.subscribe(() => {
      throw new Error('a listener of the user’s')
    })
    await clock.advance(0)
    expect(readings).toMatchObject([{ reachable: false }])
    await monitor.close()
  })

  it('is closed for good: probes under way are ended, and whoever asks hears CLOSED', async () => {
    const { clock, probes, monitor, all } = watch()
    all('silent')
    await clock.advance(0)
    const asked = monitor.check()
    await monitor.close()
    await expect(asked).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(monitor.check()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(probes.every(({ signal }) => signal.aborted)).toBe(true)
    expect(clock.pendingTimers).toBe(0)
  })
})
