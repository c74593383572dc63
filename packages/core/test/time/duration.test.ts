import { days, hours, minutes, seconds } from '@enablement/core'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

const units = [
  ['seconds', seconds, 1_000],
  ['minutes', minutes, 60_000],
  ['hours', hours, 3_600_000],
  ['days', days, 86_400_000]
] as const

describe.each(units)('a number of %s', (unit, of, unitMs) => {
  it('is so many milliseconds', () => {
    expect([of(0), of(1), of(2.5)]).toEqual([0, unitMs, 2.5 * unitMs])
  })

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, Number.MAX_VALUE])('cannot be %d', (count) => {
    expect(() => of(count)).toThrow(expect.objectContaining({ code: 'INVALID_DURATION', detail: { count, unit } }))
  })

  test.prop([fc.double({ min: 0, max: 1e9, noNaN: true })])('is finite and never negative', (count) => {
    expect(of(count)).toBeGreaterThanOrEqual(0)
    expect(Number.isFinite(of(count))).toBe(true)
  })
})
