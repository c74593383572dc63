import {
  createStatistics,
  type SettledRequest,
  type StatisticsOptions,
  type StatisticsReport
} from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { row, taking } from './rows.ts'

function reportOf(rows: readonly SettledRequest[], options?: StatisticsOptions): StatisticsReport {
  const statistics = createStatistics(options)
  for (const one of rows) statistics.add(one)
  return statistics.report()
}

describe('statistics', () => {
  it('of nothing are empty', () => {
    const none = { count: 0, minMs: undefined, p50Ms: undefined, p95Ms: undefined, p99Ms: undefined, maxMs: undefined }
    const nothing = { ...none, relativeErrorMax: 0 }
    expect(reportOf([])).toEqual({
      requests: 0,
      outcomes: { approved: 0, denied: 0, 'timed-out': 0, cancelled: 0, revoked: 0 },
      timeToDecide: nothing,
      target: { met: 0, breached: 0 },
      automatic: { byGrant: 0, bySystem: 0 },
      timeFromView: nothing,
      unviewed: 0,
      lateness: nothing,
      risks: [],
      tiers: [],
      actions: [],
      otherActions: undefined,
      approvers: [],
      otherApprovers: undefined
    })
  })

  it('count requests by how they ended, and what nobody decided apart from what people did', () => {
    const report = reportOf([
      row(),
      row({ status: 'denied' }),
      row({ status: 'revoked' }),
      row({ status: 'timed-out', decidedBy: 'nobody' }),
      row({ status: 'cancelled', decidedBy: 'nobody' }),
      row({ status: 'approved', decidedBy: 'grant' }),
      row({ status: 'approved', decidedBy: 'system' }),
      row({ status: 'denied', decidedBy: 'system' })
    ])
    expect(report.requests).toBe(8)
    expect(report.outcomes).toEqual({ approved: 3, denied: 2, 'timed-out': 1, cancelled: 1, revoked: 1 })
    expect(report.automatic).toEqual({ byGrant: 1, bySystem: 2 })
    expect(report.timeToDecide.count).toBe(3)
    expect(report.unviewed).toBe(3)
  })

  it('give percentiles by nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => taking(100 - index))
    expect(reportOf(hundred).timeToDecide).toEqual({
      count: 100,
      minMs: 1,
      p50Ms: 50,
      p95Ms: 95,
      p99Ms: 99,
      maxMs: 100,
      relativeErrorMax: 0
    })
    expect(reportOf([taking(7)]).timeToDecide).toMatchObject({ minMs: 7, p50Ms: 7, p95Ms: 7, p99Ms: 7, maxMs: 7 })
    expect(reportOf([3, 1, 2].map((ms) => taking(ms))).timeToDecide).toMatchObject({ p50Ms: 2, p95Ms: 3 })
    expect(reportOf([0, 0].map((ms) => taking(ms))).timeToDecide).toMatchObject({ minMs: 0, p99Ms: 0, maxMs: 0 })
  })

  it('are exact up to 512 values, and within a hundredth beyond', () => {
    const of = (count: number): StatisticsReport =>
      reportOf(Array.from({ length: count }, (_, index) => taking((index + 1) * 1_000)))
    expect(of(512).timeToDecide).toMatchObject({ relativeErrorMax: 0, p50Ms: 256_000, p95Ms: 487_000, p99Ms: 507_000 })
    const { timeToDecide } = of(513)
    expect(timeToDecide).toMatchObject({ count: 513, relativeErrorMax: 0.01, minMs: 1_000, maxMs: 513_000 })
    for (const [found, exact] of [
      [timeToDecide.p50Ms, 257_000],
      [timeToDecide.p95Ms, 488_000],
      [timeToDecide.p99Ms, 508_000]
    ] as const) {
      expect(Math.abs((found ?? 0) - exact)).toBeLessThanOrEqual(exact / 100)
    }
  })

  it('know the ends of what they can no longer know one by one', () => {
    const same = reportOf(Array.from({ length: 600 }, () => taking(1_000)))
    expect(same.timeToDecide).toMatchObject({ relativeErrorMax: 0.01, p50Ms: 1_000, p99Ms: 1_000 })
    const mostlyAtOnce = reportOf(Array.from({ length: 600 }, (_, index) => taking(index < 590 ? 0 : 1_000)))
    expect(mostlyAtOnce.timeToDecide).toMatchObject({ relativeErrorMax: 0.01, p50Ms: 0, p95Ms: 0, p99Ms: 1_000 })
  })

  it('that were reported do not change any more', () => {
    const statistics = createStatistics()
    const before = statistics.report()
    statistics.add(row())
    expect(before).toEqual(reportOf([]))
  })

  it('take a time that runs backwards for none, and ten years for the longest', () => {
    const report = reportOf([row({ openedAt: 2_000, settledAt: 1_000 }), taking(1e15)])
    expect(report.timeToDecide).toMatchObject({ minMs: 0, maxMs: 3_653 * 86_400_000 })
  })

  const targetMs = { medium: 1_000 }
  it.each<[what: string, request: SettledRequest, met: number, breached: number]>([
    ['decided at the very end', taking(1_000), 1, 0],
    ['decided a millisecond late', taking(1_001), 0, 1],
    ['denied in time', taking(1_000, { status: 'denied' }), 1, 0],
    ['approved in time and revoked later', taking(1_000, { status: 'revoked' }), 1, 0],
    ['of a risk without a target', taking(9_999, { risk: 'low' }), 0, 0],
    ['timed out, however early', taking(5, { status: 'timed-out', decidedBy: 'nobody' }), 0, 1],
    ['decided by the chain for want of people', taking(5, { status: 'denied', decidedBy: 'system' }), 0, 1],
    ['allowed by a grant', taking(9_999, { decidedBy: 'grant' }), 0, 0],
    ['cancelled in time', taking(1_000, { status: 'cancelled', decidedBy: 'nobody' }), 0, 0],
    ['cancelled when it was late already', taking(1_001, { status: 'cancelled', decidedBy: 'nobody' }), 0, 1]
  ])('hold one that was %s against its target', (_, request, met, breached) => {
    const report = reportOf([request], { targetMs })
    expect(report.target).toEqual({ met, breached })
    expect(report.risks[0]?.target).toEqual({ met, breached })
    expect(report.tiers[0]?.target).toEqual({ met, breached })
    expect(report.actions[0]?.target).toEqual({ met, breached })
  })

  it('tell risks, tiers and actions apart, each in its order', () => {
    const report = reportOf([
      row({ risk: 'critical', tier: 2, action: 'b' }),
      row({ risk: 'low', tier: -1, action: 'c', decidedBy: 'grant' }),
      row({ risk: 'low', tier: 10, action: 'a', settledAt: 4_000 }),
      row({ risk: 'high', tier: 2, action: 'c' })
    ])
    expect(report.risks.map(({ risk, requests }) => [risk, requests])).toEqual([
      ['low', 2],
      ['high', 1],
      ['critical', 1]
    ])
    expect(report.tiers.map(({ tier, requests }) => [tier, requests])).toEqual([
      [-1, 1],
      [2, 2],
      [10, 1]
    ])
    expect(report.actions.map(({ action, requests }) => [action, requests])).toEqual([
      ['c', 2],
      ['a', 1],
      ['b', 1]
    ])
    expect(report.tiers.at(-1)?.timeToDecide.maxMs).toBe(3_000)
  })

  it('count what approvers were asked and answered, each request once', () => {
    const report = reportOf([
      row({
        asked: [
          { approver: 'ana', askedAt: 1_200 },
          { approver: 'bo', askedAt: 1_000 },
          { approver: 'ana', askedAt: 1_500 }
        ],
        votes: [
          { approver: 'ana', decision: 'approve', votedAt: 2_000 },
          { approver: 'eve', decision: 'deny', votedAt: 2_000 }
        ]
      }),
      row({ votes: [{ approver: 'ana', decision: 'deny', votedAt: 1_100 }] }),
      row({ asked: [{ approver: 'bo', askedAt: 1_000 }], votes: [] })
    ])
    expect(
      report.approvers.map(({ approver, asked, approved, denied, response }) => ({
        approver,
        asked,
        approved,
        denied,
        response: [response.count, response.minMs, response.p50Ms, response.maxMs]
      }))
    ).toEqual([
      { approver: 'ana', asked: 2, approved: 1, denied: 1, response: [2, 100, 100, 800] },
      { approver: 'bo', asked: 2, approved: 0, denied: 0, response: [0, undefined, undefined, undefined] },
      { approver: 'eve', asked: 0, approved: 0, denied: 1, response: [0, undefined, undefined, undefined] }
    ])
  })

  it('show who decided without having looked, and how late the chains were', () => {
    const report = reportOf([
      row({ firstViewedAt: 1_400, lateByMs: 0 }),
      row({ firstViewedAt: 2_000, lateByMs: 70 }),
      row({ firstViewedAt: 2_001, lateByMs: 30 }),
      row(),
      row({ status: 'timed-out', decidedBy: 'nobody', firstViewedAt: 1_000 })
    ])
    expect(report.unviewed).toBe(2)
    expect(report.timeFromView).toMatchObject({ count: 2, minMs: 0, maxMs: 600 })
    expect(report.lateness).toMatchObject({ count: 2, minMs: 30, maxMs: 70 })
  })

  it('tell so many actions and approvers apart, and count the others together', () => {
    const names = ['a', 'b', 'c', 'b', 'd']
    const rows = names.map((name) => row({ action: name, asked: [{ approver: name, askedAt: 1_900 }], votes: [] }))
    const report = reportOf(rows, { actionsMax: 2, approversMax: 1 })
    expect(report.actions.map(({ action, requests }) => [action, requests])).toEqual([
      ['b', 2],
      ['a', 1]
    ])
    expect(report.otherActions).toMatchObject({ requests: 2, outcomes: { approved: 2 } })
    expect(report.approvers.map(({ approver, asked }) => [approver, asked])).toEqual([['a', 1]])
    expect(report.otherApprovers).toMatchObject({ asked: 4, approved: 0 })
    expect(report.requests).toBe(5)
    const unasked = reportOf([row({ asked: [] })], { approversMax: 0 })
    expect(unasked.otherApprovers).toMatchObject({ asked: 0, approved: 1, denied: 0 })
  })

  it('stay within a bound that the number of requests has no part in', () => {
    const statistics = createStatistics({ actionsMax: 3, approversMax: 3 })
    const size = (from: number, to: number): number => {
      for (let index = from; index < to; index++) {
        const [approver, at] = [`approver ${index}`, (index * 7_919) % 1_000_003]
        const asked = [{ approver, askedAt: 0 }]
        const votes = [{ approver, decision: 'approve' as const, votedAt: at }]
        statistics.add(taking(at, { action: `action ${index}`, asked, votes }))
      }
      return JSON.stringify(statistics.snapshot()).length
    }
    const many = size(0, 2_000)
    // What grows is the digits of the counts.
    expect(size(2_000, 6_000) / many).toBeLessThan(1.25)
  })

  it.each<[what: string, change: object, path: string]>([
    ['no action', { action: '' }, 'action'],
    ['a risk that is none', { risk: 'extreme' }, 'risk'],
    ['a status that is none', { status: 'pending' }, 'status'],
    ['an instant of NaN', { settledAt: Number.NaN }, 'settledAt'],
    ['an instant before all', { openedAt: -1 }, 'openedAt'],
    ['a tier that cannot be', { tier: -2 }, 'tier'],
    ['a tier beyond all', { tier: 64 }, 'tier'],
    ['people who let it time out', { status: 'timed-out' }, 'decidedBy'],
    ['nobody who approved it', { decidedBy: 'nobody' }, 'decidedBy'],
    ['a vote that is none', { votes: [{ approver: 'ana', decision: 'maybe', votedAt: 1 }] }, 'votes.0.decision'],
    ['no instant of asking', { asked: [{ approver: 'ana' }] }, 'asked.0.askedAt'],
    ['a member that there is not', { tenant: 'org_42' }, 'tenant']
  ])('refuse a row with the path for %s, and do not count it', (_, change, path) => {
    const statistics = createStatistics()
    expect(() => statistics.add(row(change as Partial<SettledRequest>))).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'Statistics.add', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    )
    expect(statistics.report()).toEqual(reportOf([]))
  })

  it.each<[what: string, options: object, path: string]>([
    ['a target of nothing', { targetMs: { low: 0 } }, 'targetMs.low'],
    ['a target beyond a year', { targetMs: { low: 366 * 86_400_000 + 1 } }, 'targetMs.low'],
    ['a target for a risk that is none', { targetMs: { extreme: 1 } }, 'targetMs.extreme'],
    ['too many actions', { actionsMax: 2_001 }, 'actionsMax'],
    ['too many approvers', { approversMax: 10_001 }, 'approversMax'],
    ['an option that there is not', { target: 1 }, 'target']
  ])('are not made with %s', (_, options, path) => {
    expect(() => createStatistics(options)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createStatistics', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
      })
    )
  })
})
