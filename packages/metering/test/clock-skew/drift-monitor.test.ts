import { type ClockEvent, createDriftMonitor, type DriftMonitorOptions } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

const START_AT = Date.UTC(2026, 5, 1)
const MINUTE_MS = 60_000

function stage(options: DriftMonitorOptions = {}) {
  const events: ClockEvent[] = []
  const monitor = createDriftMonitor({ observe: (event) => events.push(event), ...options })
  let receivedAt = START_AT
  /** An event every 10 s for `minutes`, with the drift that `driftOf` says. */
  const send = (minutes: number, driftOf: (event: number) => number, source = 'host', tenant = 'org') => {
    for (let event = 0; event < minutes * 6; event++) {
      monitor.note({ tenant, source, driftMs: driftOf(event), receivedAt })
      receivedAt += 10_000
    }
  }
  return { monitor, events, send, at: () => receivedAt, pause: (ms: number) => (receivedAt += ms) }
}

describe('drift that persists', () => {
  it('is told once, however long it lasts', () => {
    const { monitor, events, send } = stage()
    send(60, () => -90_000)
    const drifted = { tenant: 'org', source: 'host', skew: 'future', driftMs: -90_000 }
    expect(events).toEqual([{ type: 'clock.drifted', ...drifted }])
    expect(monitor.drifting()).toEqual([drifted])
  })

  it('is told also after the receiver took a moment far ahead for the present', () => {
    const { monitor, events, send } = stage()
    send(10, () => 0)
    monitor.note({ tenant: 'org', source: 'host', driftMs: 0, receivedAt: START_AT + 365 * 86_400_000 })
    send(10, () => -90_000)
    expect(events).toMatchObject([{ type: 'clock.drifted', driftMs: -90_000 }])
  })

  it('is told for a clock that is behind, too', () => {
    const { events, send } = stage()
    send(10, () => 400_000)
    expect(events).toEqual([{ type: 'clock.drifted', tenant: 'org', source: 'host', skew: 'stale', driftMs: 400_000 }])
  })

  it('recovers once, at half the limit and not before', () => {
    const { monitor, events, send } = stage()
    send(10, () => -90_000)
    send(30, (event) => (event % 2 === 0 ? -59_000 : -30_001))
    expect(events).toHaveLength(1)
    send(60, () => -30_000)
    expect(events.slice(1)).toEqual([{ type: 'clock.recovered', tenant: 'org', source: 'host', driftMs: -30_000 }])
    expect(monitor.drifting()).toEqual([])
    send(10, () => -90_000)
    expect(events).toHaveLength(3)
  })

  it.each([
    [-60_000, 0],
    [-60_001, 1],
    [300_000, 0],
    [300_001, 1]
  ])('of %d ms is told %d times', (driftMs, times) => {
    const { events, send } = stage()
    send(20, () => driftMs)
    expect(events).toHaveLength(times)
  })

  it('is told anew when it goes to the other side', () => {
    const { events, send } = stage()
    send(10, () => -90_000)
    send(20, () => 400_000)
    expect(events.map((event) => 'skew' in event && event.skew)).toEqual(['future', 'stale'])
  })

  it('is of the clock, not of a queue: the quickest event of each half-minute counts', () => {
    const { events, send } = stage()
    send(60, (event) => (event % 3 === 0 ? 50 : 900_000))
    expect(events).toEqual([])
  })

  it('is not one bad half-minute', () => {
    const { events, send } = stage()
    send(5, () => 20)
    send(0.5, () => -3_600_000)
    send(60, () => 20)
    expect(events).toEqual([])
  })

  it('is not a burst, nor a few events', () => {
    const { monitor, events, send, at } = stage()
    for (let event = 0; event < 1_000; event++) {
      monitor.note({ tenant: 'org', source: 'burst', driftMs: -90_000, receivedAt: at() })
    }
    send(10, () => 0)
    monitor.note({ tenant: 'org', source: 'burst', driftMs: -90_000, receivedAt: at() })
    for (let event = 0; event < 9; event++) {
      monitor.note({ tenant: 'org', source: 'few', driftMs: -90_000, receivedAt: at() + event * 40_000 })
    }
    expect(events).toEqual([])
  })

  it('is known by tenant and source apart, whatever their names', () => {
    const { monitor, send } = stage()
    send(10, () => -90_000, 'b', 'a')
    send(10, () => 0, '', 'ab')
    send(10, () => 0, 'ab', '')
    expect(monitor.drifting()).toMatchObject([{ tenant: 'a', source: 'b' }])
  })

  it('of a source that made room for others is said to be forgotten', () => {
    const { monitor, events, send, at } = stage({ sourcesMax: 2 })
    send(10, () => -90_000)
    for (const source of ['x', 'y', 'z']) monitor.note({ tenant: 'org', source, driftMs: 0, receivedAt: at() })
    expect(events.slice(1)).toEqual([{ type: 'clock.forgotten', tenant: 'org', source: 'host' }])
    expect(monitor.drifting()).toEqual([])
  })

  it('is judged although the receiver’s clock is set back', () => {
    const { events, send, pause } = stage()
    send(2, () => -90_000)
    pause(-3_600_000)
    send(2, () => -90_000)
    pause(3_600_000)
    send(5, () => -90_000)
    expect(events).toHaveLength(1)
  })

  test.prop([fc.array(fc.integer({ min: -200_000, max: 600_000 }), { maxLength: 60 })])(
    'alerts and recovers in turn',
    (minutes) => {
      const { events, send } = stage({ windowMs: MINUTE_MS, eventsMin: 3 })
      for (const driftMs of minutes) send(1, () => driftMs)
      let skew: string | undefined
      for (const event of events) {
        if (event.type === 'clock.drifted') {
          expect(event.skew).not.toBe(skew)
          skew = event.skew
        } else {
          expect(event.type).toBe('clock.recovered')
          expect(skew).toBeDefined()
          skew = undefined
        }
      }
    }
  )

  it.each([
    ['windowMs', 1],
    ['eventsMin', 0],
    ['sourcesMax', 1.5],
    ['observe', 'console']
  ])('is not watched with a wrong %s', (path, value) => {
    expect(() => createDriftMonitor({ [path]: value })).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })
})
