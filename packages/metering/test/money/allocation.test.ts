import { allocate } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

describe('allocation by largest remainder', () => {
  it.each([
    ['thirds', 100n, [1n, 1n, 1n], [34n, 33n, 33n]],
    ['thirds of a credit, as in a mirror', -100n, [1n, 1n, 1n], [-34n, -33n, -33n]],
    ['the largest remainders', 10n, [47n, 16n, 15n, 12n, 10n], [5n, 2n, 1n, 1n, 1n]],
    ['equal remainders in their order', 2n, [1n, 1n, 1n, 1n], [1n, 1n, 0n, 0n]],
    ['nothing to weights of nothing', 5n, [0n, 3n, 0n], [0n, 5n, 0n]],
    ['nothing at all', 0n, [1n, 2n], [0n, 0n]],
    ['one part', -7n, [9n], [-7n]],
    ['beyond 64 bits', 10n ** 30n + 1n, [1n, 1n], [10n ** 30n / 2n + 1n, 10n ** 30n / 2n]]
  ])('gives %s', (_what, total, weights, parts) => {
    expect(allocate(total, weights)).toEqual(parts)
  })

  test.prop(
    [
      fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }),
      fc.array(fc.bigInt({ min: 0n, max: 10n ** 12n }), { minLength: 1, maxLength: 12 })
    ],
    {
      numRuns: 500 * inject('scale')
    }
  )('adds up to the total, each part within one of its share', (total, weights) => {
    const sum = weights.reduce((all, weight) => all + weight, 0n)
    fc.pre(sum > 0n)
    const parts = allocate(total, weights)
    expect(parts.reduce((all, part) => all + part, 0n)).toBe(total)
    parts.forEach((part, at) => {
      const apart = part * sum - total * (weights[at] as bigint)
      expect(apart < sum && apart > -sum).toBe(true)
    })
    expect(allocate(-total, weights).map((part) => -part)).toEqual(parts)
  })

  it.each([
    ['no weights', 1n, []],
    ['weights of nothing alone', 1n, [0n, 0n]],
    ['a negative weight', 1n, [1n, -1n]],
    ['a total that is no bigint', 1, [1n]],
    ['a weight that is no bigint', 1n, [Number.NaN]]
  ])('refuses %s', (_what, total, weights) => {
    expect(() => allocate(total as never, weights as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })
})
