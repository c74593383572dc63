import { prorate, type Rounding } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { Decimal } from 'decimal.js'
import { describe, expect, inject, it } from 'vitest'

const modes = {
  up: Decimal.ROUND_UP,
  down: Decimal.ROUND_DOWN,
  ceiling: Decimal.ROUND_CEIL,
  floor: Decimal.ROUND_FLOOR,
  'half-up': Decimal.ROUND_HALF_UP,
  'half-down': Decimal.ROUND_HALF_DOWN,
  'half-even': Decimal.ROUND_HALF_EVEN
} satisfies Record<Rounding, number>
const names = Object.keys(modes) as Rounding[]
const Exact = Decimal.clone({ precision: 120 })

describe('proration', () => {
  // On a tie, and one unit to each side of it: amount * part / whole, and what each mode makes of it.
  const ties: readonly (readonly [minorUnits: number, part: number, whole: number, expected: readonly number[]])[] = [
    [1, 1, 2, [1, 0, 1, 0, 1, 0, 0]],
    [3, 1, 2, [2, 1, 2, 1, 2, 1, 2]],
    [5, 1, 2, [3, 2, 3, 2, 3, 2, 2]],
    [-1, 1, 2, [-1, 0, 0, -1, -1, 0, 0]],
    [-3, 1, 2, [-2, -1, -1, -2, -2, -1, -2]],
    [-5, 1, 2, [-3, -2, -2, -3, -3, -2, -2]],
    [999, 15, 30, [500, 499, 500, 499, 500, 499, 500]],
    [999, 14, 30, [467, 466, 467, 466, 466, 466, 466]],
    [999, 16, 30, [533, 532, 533, 532, 533, 533, 533]],
    [1_001, 1_339_200, 2_678_400, [501, 500, 501, 500, 501, 500, 500]],
    [1_001, 1_339_199, 2_678_400, [501, 500, 501, 500, 500, 500, 500]],
    [1_001, 1_339_201, 2_678_400, [501, 500, 501, 500, 501, 501, 501]],
    // The product does not fit a safe integer.
    [
      8_999_999_999_999_999,
      1,
      2,
      [
        4_500_000_000_000_000, 4_499_999_999_999_999, 4_500_000_000_000_000, 4_499_999_999_999_999,
        4_500_000_000_000_000, 4_499_999_999_999_999, 4_500_000_000_000_000
      ]
    ],
    [
      8_999_999_999_999_999,
      1_000,
      2_000,
      [
        4_500_000_000_000_000, 4_499_999_999_999_999, 4_500_000_000_000_000, 4_499_999_999_999_999,
        4_500_000_000_000_000, 4_499_999_999_999_999, 4_500_000_000_000_000
      ]
    ],
    // Twice the rest does not fit one either.
    [8_000_000_000_000_001, 1, 9_000_000_000_000_000, [1, 0, 1, 0, 1, 1, 1]],
    [4_500_000_000_000_000, 1, 9_000_000_000_000_000, [1, 0, 1, 0, 1, 0, 0]],
    [4_499_999_999_999_999, 1, 9_000_000_000_000_000, [1, 0, 1, 0, 0, 0, 0]],
    [4_500_000_000_000_001, 1, 9_000_000_000_000_000, [1, 0, 1, 0, 1, 1, 1]]
  ]
  const cases = ties.flatMap(([minorUnits, part, whole, expected]) =>
    names.map((rounding, at) => [minorUnits, part, whole, rounding, expected[at] as number] as const)
  )
  it.each(cases)('of %d for %d of %d is, rounded %s, %d', (minorUnits, part, whole, rounding, expected) => {
    expect(prorate(minorUnits, part, whole, rounding)).toBe(expected)
  })

  const large = fc.oneof(
    fc.nat(10_000),
    fc.integer({ min: 0, max: 9e15 }),
    fc.integer({ min: 9e15 - 1_000, max: 9e15 })
  )
  const spans = fc
    .tuple(
      fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 9e15 })),
      fc.double({ min: 0, max: 1, noNaN: true })
    )
    .map(([whole, share]) => [Math.floor(whole * share), whole] as const)

  test.prop([large, fc.boolean(), spans, fc.constantFrom(...names)], { numRuns: 3_000 * inject('scale') })(
    'agrees with decimal.js at 120 digits',
    (size, isNegative, [part, whole], rounding) => {
      const minorUnits = isNegative && size > 0 ? -size : size
      const expected = new Exact(minorUnits).times(part).div(whole).toDecimalPlaces(0, modes[rounding])
      const found = prorate(minorUnits, part, whole, rounding)
      expect(expected.eq(found)).toBe(true)
      expect(Object.is(found, -0)).toBe(false)
    },
    600_000
  )

  test.prop([large, spans, fc.constantFrom('up', 'down', 'half-up', 'half-down', 'half-even')], {
    numRuns: 500 * inject('scale')
  })('is symmetric about nothing, which Math.round is not', (size, [part, whole], rounding) => {
    expect(prorate(-size, part, whole, rounding) + 0).toBe(-prorate(size, part, whole, rounding) + 0)
  })

  it.each([
    [1.5, 1, 2, 'minorUnits'],
    [Number.NaN, 1, 2, 'minorUnits'],
    [9e15 + 2, 1, 2, 'minorUnits'],
    [Number.POSITIVE_INFINITY, 1, 2, 'minorUnits'],
    ['1', 1, 2, 'minorUnits'],
    [1, -1, 2, 'part'],
    [1, 3, 2, 'part'],
    [1, 0.5, 2, 'part'],
    [1, Number.NaN, 2, 'part'],
    [1, 0, 0, 'whole'],
    [1, 0, -1, 'whole'],
    [1, 0, Number.NaN, 'whole'],
    [1, 0, 9e15 + 2, 'whole']
  ])('of %s for %s of %s is refused for its %s', (minorUnits, part, whole, path) => {
    expect(() => prorate(minorUnits as never, part, whole, 'half-even')).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] })
      })
    )
  })

  it.each([
    [4, 1, 2],
    [5, 1, 2],
    [9e15 - 1, 999, 1_000]
  ])('of %d for %d of %d is refused an unknown rounding, whether or not it matters', (minorUnits, part, whole) => {
    expect(() => prorate(minorUnits, part, whole, 'half' as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })
})
