import {
  createStatistics,
  type SettledRequest,
  type StatisticsReport,
  type StatisticsSnapshot
} from '@enablement/oversight'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { row, taking } from './rows.ts'

const numRuns = Math.ceil(60 * inject('scale'))
/** `npm run soak` has a hundred times the runs, on a machine with other work. */
const SOAK_TIMEOUT_MS = 600_000

const names = fc.constantFrom('ana', 'bo', 'cy')

const rows: fc.Arbitrary<readonly SettledRequest[]> = fc.array(
  fc
    .record({
      action: fc.constantFrom('a', 'b', 'c'),
      risk: fc.constantFrom('low' as const, 'high' as const),
      end: fc.constantFrom<Pick<SettledRequest, 'status' | 'decidedBy'>>(
        { status: 'approved', decidedBy: 'person' },
        { status: 'denied', decidedBy: 'system' },
        { status: 'approved', decidedBy: 'grant' },
        { status: 'timed-out', decidedBy: 'nobody' }
      ),
      openedAt: fc.nat({ max: 100 }),
      settledAt: fc.nat({ max: 1_000_000 }),
      firstViewedAt: fc.nat({ max: 1_000_000 }),
      lateByMs: fc.nat({ max: 3 }),
      tier: fc.integer({ min: -1, max: 2 }),
      asked: fc.array(fc.record({ approver: names, askedAt: fc.nat({ max: 50 }) }), { maxLength: 3 }),
      votes: fc.array(
        fc.record({
          approver: names,
          decision: fc.constantFrom('approve' as const, 'deny' as const),
          votedAt: fc.nat({ max: 1_000 })
        }),
        { maxLength: 2 }
      )
    })
    .map(({ end, ...rest }) => ({ ...rest, ...end })),
  { maxLength: 12 }
)

const options = { targetMs: { low: 500_000 } }

/** As they come back from wherever they were kept. */
function kept(all: readonly SettledRequest[]): StatisticsSnapshot {
  const statistics = createStatistics(options)
  for (const one of all) statistics.add(one)
  return JSON.parse(JSON.stringify(statistics.snapshot())) as StatisticsSnapshot
}

function merged(...parts: readonly (readonly SettledRequest[])[]): StatisticsReport {
  const statistics = createStatistics(options)
  for (const part of parts) statistics.merge(kept(part))
  return statistics.report()
}

/** Durations over six orders of magnitude, so many that they are no longer kept one by one. */
const durations = fc
  .record({
    seed: fc.nat(),
    count: fc.integer({ min: 513, max: 900 }),
    lowest: fc.integer({ min: 0, max: 10 }),
    magnitudes: fc.double({ min: 0.1, max: 9, noNaN: true })
  })
  .map(({ seed, count, lowest, magnitudes }) =>
    Array.from({ length: count }, (_, index) => {
      const share = ((index * 7_919 + seed) % count) / count
      return lowest + Math.floor(10 ** (share * magnitudes)) - 1
    })
  )

describe('statistics that are merged', () => {
  test.prop([rows, rows, rows], { numRuns })(
    'report what they would if everything had been counted in one place, whichever comes first',
    (one, two, three) => {
      const whole = createStatistics(options)
      for (const request of [...one, ...two, ...three]) whole.add(request)
      const expected = whole.report()
      expect(merged(one, two, three)).toEqual(expected)
      expect(merged(three, one, two)).toEqual(expected)
    },
    SOAK_TIMEOUT_MS
  )

  test.prop([durations, fc.nat({ max: 900 })], { numRuns: Math.ceil(numRuns / 6) })(
    'have percentiles within a hundredth of the value of their rank, however they were split',
    (all, split) => {
      const requests = all.map((ms) => taking(ms))
      const { timeToDecide } = merged(requests.slice(0, split), requests.slice(split))
      const sorted = all.toSorted((one, other) => one - other)
      expect(timeToDecide).toMatchObject({ count: all.length, minMs: sorted[0], maxMs: sorted.at(-1) })
      for (const [percent, found] of [
        [50, timeToDecide.p50Ms],
        [95, timeToDecide.p95Ms],
        [99, timeToDecide.p99Ms]
      ] as const) {
        const exact = sorted[Math.ceil((all.length * percent) / 100) - 1] as number
        expect(Math.abs((found as number) - exact)).toBeLessThanOrEqual(exact * 0.010_000_001)
      }
    },
    SOAK_TIMEOUT_MS
  )

  it('do not change what they were taken from, nor change with it', () => {
    const [source, target] = [createStatistics(), createStatistics()]
    source.add(row())
    const snapshot = source.snapshot()
    source.add(row())
    target.merge(snapshot)
    target.add(row())
    expect([source.report().requests, target.report().requests]).toEqual([2, 2])
    target.merge(snapshot)
    expect(target.report().timeToDecide.count).toBe(3)
  })

  it('put what they cannot tell apart with the others', () => {
    const target = createStatistics({ actionsMax: 1, approversMax: 0 })
    target.add(row({ action: 'a' }))
    target.merge(kept([row({ action: 'a' }), row({ action: 'b' })]))
    const report = target.report()
    expect(report.actions.map(({ action, requests }) => [action, requests])).toEqual([['a', 2]])
    expect(report.otherActions?.requests).toBe(1)
    expect(report.otherApprovers).toMatchObject({ asked: 3, approved: 3 })
    const again = createStatistics()
    again.merge(target.snapshot())
    expect(again.report()).toEqual(report)
  })

  it.each<[what: string, spoil: (state: Record<string, never>) => unknown]>([
    ['another version', () => ({ version: 2, state: {} })],
    ['nothing in it', () => ({ version: 1, state: {} })],
    ['a distribution that does not add up', (state) => spoiled(state, { count: 7 })],
    ['a distribution of negative times', (state) => spoiled(state, { values: [-1], min: 0, count: 1 })],
    ['a sketch that is too long', (state) => spoiled(state, { values: [], buckets: Array(2_000).fill(0), count: 0 })],
    ['values beside a sketch', (state) => spoiled(state, { values: [1], buckets: [1], count: 2 })]
  ])('refuse a snapshot with %s, and count nothing of it', (_, spoil) => {
    const target = createStatistics()
    const before = target.report()
    const { state } = kept([row()])
    expect(() => target.merge(spoil(state as Record<string, never>) as StatisticsSnapshot)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: expect.objectContaining({ subject: 'Statistics.merge' })
      })
    )
    expect(target.report()).toEqual(before)
  })
})

function spoiled(state: Record<string, never>, change: object): unknown {
  const totals = state['totals'] as unknown as { all: { timeToDecide: object } }
  Object.assign(totals.all.timeToDecide, change)
  return { version: 1, state }
}
