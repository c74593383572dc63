import { classifySkew, judgeTime, type Skew } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

const RECEIVED_AT = Date.UTC(2026, 5, 1)
const CONSENSUS_AT = RECEIVED_AT + 7

describe('skew', () => {
  it.each<[number, Skew]>([
    [-60_002, 'future'],
    [-60_001, 'future'],
    [-60_000, 'acceptable'],
    [-59_999, 'acceptable'],
    [-1, 'acceptable'],
    [0, 'acceptable'],
    [1, 'acceptable'],
    [299_999, 'acceptable'],
    [300_000, 'acceptable'],
    [300_001, 'stale'],
    [300_002, 'stale']
  ])('of a drift of %d ms is %s', (driftMs, skew) => {
    expect(classifySkew(driftMs)).toBe(skew)
  })
})

describe('the time of an event', () => {
  const judge = (driftMs: number) =>
    judgeTime({ at: RECEIVED_AT - driftMs, receivedAt: RECEIVED_AT, consensusAt: CONSENSUS_AT })

  it.each([
    [-60_000, 'acceptable'],
    [0, 'acceptable'],
    [300_000, 'acceptable'],
    [300_001, 'stale'],
    [90 * 86_400_000, 'stale']
  ])('is its own with a drift of %d ms, which is %s', (driftMs, skew) => {
    expect(judge(driftMs)).toEqual({ outcome: 'accepted', skew, at: RECEIVED_AT - driftMs, driftMs })
  })

  it.each([-60_001, -299_999, -300_000])('is the consensus with a drift of %d ms', (driftMs) => {
    const reportedAt = RECEIVED_AT - driftMs
    expect(judge(driftMs)).toEqual({ outcome: 'accepted', skew: 'future', at: CONSENSUS_AT, reportedAt, driftMs })
  })

  it.each([-300_001, -86_400_000, -1e15])('is nobody’s with a drift of %d ms: it is quarantined', (driftMs) => {
    expect(judge(driftMs)).toEqual({ outcome: 'quarantined', skew: 'future', driftMs })
  })

  test.prop([fc.integer({ min: -400_000, max: 400_000 })])('always comes with the drift', (driftMs) => {
    expect(judge(driftMs).driftMs).toBe(driftMs)
  })
})
