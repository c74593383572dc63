import { createRateCard, priceUsage, type Rate } from '@enablement/metering'
import { describe, expect, it } from 'vitest'

const minorUnits = (rate: Rate, quantity: number | bigint, more = {}): bigint =>
  priceUsage({ quantity, rate, rounding: 'half-up', ...more }).minorUnits

describe('a graduated rate', () => {
  const rate: Rate = {
    currency: 'EUR',
    graduated: [
      { upTo: 100, unitPrice: '1' },
      { above: 100, upTo: 1_000n, unitPrice: '0.5', flatPrice: '10' },
      { above: 1_000n, unitPrice: '1', per: 10 }
    ]
  }
  it.each([
    [0, 0n],
    [1, 100n],
    [100, 10_000n],
    [101, 11_050n],
    [1_000, 56_000n],
    [1_001, 56_010n],
    [9_000_000_000_000_000, 56_000n + (9_000_000_000_000_000n - 1_000n) * 10n]
  ])('prices %d units, each in its tier, at %d', (quantity, expected) => {
    expect(minorUnits(rate, quantity)).toBe(expected)
  })

  it('is rounded once, however many tiers', () => {
    const thirds: Rate = {
      currency: 'EUR',
      graduated: [
        { upTo: 1, unitPrice: '0.01', per: 2 },
        { unitPrice: '0.01', per: 2 }
      ]
    }
    expect(priceUsage({ quantity: 2, rate: thirds, rounding: 'up' })).toMatchObject({ minorUnits: 1n, exact: '0.01' })
  })
})

describe('a volume rate', () => {
  const rate: Rate = {
    currency: 'EUR',
    volume: [{ upTo: 100, unitPrice: '1' }, { upTo: 1_000, unitPrice: '0.5', flatPrice: '10' }, { unitPrice: '0.1' }]
  }
  it.each([
    [0, 0n],
    [100, 10_000n],
    [101, 6_050n],
    [1_000, 51_000n],
    [1_001, 10_010n]
  ])('prices all of %d units by the tier of the last, at %d', (quantity, expected) => {
    expect(minorUnits(rate, quantity)).toBe(expected)
  })
})

describe('a stairstep rate', () => {
  const rate: Rate = {
    currency: 'JPY',
    stairstep: [{ upTo: 10, price: '900' }, { upTo: 25, price: '2000' }, { price: '5000' }]
  }
  it.each([
    [0, 0n],
    [1, 900n],
    [10, 900n],
    [11, 2_000n],
    [25, 2_000n],
    [26, 5_000n]
  ])('prices %d units by the step, at %d', (quantity, expected) => {
    expect(minorUnits(rate, quantity)).toBe(expected)
  })
})

describe('a flat rate', () => {
  it('costs the same whatever is used', () => {
    const rate: Rate = { currency: 'BHD', flatPrice: '1.2345' }
    expect([0, 1, 1_000].map((quantity) => minorUnits(rate, quantity))).toEqual([1_235n, 1_235n, 1_235n])
  })
})

describe('the terms around a rate', () => {
  const rate: Rate = { currency: 'EUR', unitPrice: '0.10' }
  it.each([
    ['included units are free', 1_000, { included: 1_000 }, 0n],
    ['the next one is not', 1_001, { included: 1_000n }, 10n],
    [
      'included units come before the tiers',
      15,
      { included: 10, rate: { currency: 'EUR', graduated: [{ upTo: 5, unitPrice: '1' }, { unitPrice: '0' }] } },
      500n
    ],
    ['a minimum holds for nothing', 0, { minimum: '5' }, 500n],
    ['a minimum holds below it', 49, { minimum: '5' }, 500n],
    ['and not above it', 51, { minimum: '5' }, 510n],
    ['a maximum holds above it', 1_000, { maximum: '20.005' }, 2_001n],
    ['and not below it', 199, { maximum: '20' }, 1_990n]
  ] as const)('say that %s', (_what, quantity, terms, expected) => {
    expect(minorUnits(rate, quantity, terms)).toBe(expected)
  })
})

const issuesOf = (build: () => unknown): readonly { readonly path: string; readonly message: string }[] => {
  try {
    build()
  } catch (error) {
    expect(error).toMatchObject({ name: 'CoreError', code: 'INVALID_OPTIONS' })
    return (error as { detail: { issues: { path: string; message: string }[] } }).detail.issues
  }
  throw new Error('nothing was refused')
}

describe('a rate card', () => {
  const card = (metrics: object, more = {}) =>
    createRateCard({ currency: 'EUR', rounding: 'half-up', metrics, onUnratedMetric: 'refuse', ...more } as never)

  it('prices each metric by its terms, and knows what costs something unused', () => {
    const made = card({
      tokens: { rate: { currency: 'EUR', unitPrice: '0.002' }, included: 10 },
      seats: { rate: { currency: 'EUR', flatPrice: '9' } },
      calls: { rate: { currency: 'EUR', unitPrice: '1' }, minimum: '2' }
    })
    expect(made.price('tokens', 15)).toMatchObject({ minorUnits: 1n, exact: '0.01' })
    expect(made.standing).toEqual(['calls', 'seats'])
  })

  it('refuses a metric that it does not name, or bills it at nothing, as it was told', () => {
    expect(() => card({}).price('tokens', 1)).toThrow(
      expect.objectContaining({ code: 'UNRATED_METRIC', detail: { metric: 'tokens' } })
    )
    expect(() => card({}).price('__proto__', 1)).toThrow(expect.objectContaining({ code: 'UNRATED_METRIC' }))
    expect(card({}, { onUnratedMetric: 'bill-at-zero' }).price('tokens', 7)).toMatchObject({
      minorUnits: 0n,
      quantity: 7n
    })
  })

  const tiers = (graduated: readonly object[]) => ({ tokens: { rate: { currency: 'EUR', graduated } } })
  it.each([
    ['a gap', tiers([{ upTo: 10 }, { above: 11 }]), 'metrics.tokens.rate.graduated.1.above', 'gap'],
    ['an overlap', tiers([{ upTo: 10 }, { above: 9 }]), 'metrics.tokens.rate.graduated.1.above', 'overlaps'],
    ['a first tier that begins late', tiers([{ above: 1 }]), 'metrics.tokens.rate.graduated.0.above', 'gap'],
    [
      'tiers out of order',
      tiers([{ upTo: 10 }, { upTo: 10n }, {}]),
      'metrics.tokens.rate.graduated.1.upTo',
      'above 10'
    ],
    ['a last tier with an end', tiers([{ upTo: 10 }]), 'metrics.tokens.rate.graduated.0.upTo', 'unbounded'],
    ['an unbounded tier before the last', tiers([{}, {}]), 'metrics.tokens.rate.graduated.0.upTo', 'unbounded'],
    ['no tiers', tiers([]), 'metrics.tokens.rate.graduated', ''],
    ['a bound of a fraction', tiers([{ upTo: 1.5 }, {}]), 'metrics.tokens.rate.graduated.0.upTo', ''],
    ['a bound of NaN', tiers([{ upTo: Number.NaN }, {}]), 'metrics.tokens.rate.graduated.0.upTo', ''],
    ['a misspelt tier', tiers([{ unitprice: '1' }]), 'metrics.tokens.rate.graduated.0.unitprice', 'no such option'],
    ['a price as a float', tiers([{ unitPrice: 0.1 }]), 'metrics.tokens.rate.graduated.0.unitPrice', ''],
    ['no price', { tokens: { rate: { currency: 'EUR' } } }, 'metrics.tokens.rate', 'one of'],
    [
      'another currency',
      { tokens: { rate: { currency: 'USD', unitPrice: '1' } } },
      'metrics.tokens.rate.currency',
      'EUR'
    ],
    [
      'a minimum above the maximum',
      { tokens: { rate: { currency: 'EUR', unitPrice: '1' }, minimum: '2', maximum: '1.99' } },
      'metrics.tokens.maximum',
      'minimum'
    ]
  ])('with %s is refused where it is', (_what, metrics, path, message) => {
    const issues = issuesOf(() => card(metrics))
    expect(issues.map((issue) => issue.path)).toEqual([path])
    expect(issues[0]?.message).toContain(message)
  })

  it.each(['XXX', 'ZZZ'])('in %s is refused', (currency) => {
    expect(() => card({}, { currency })).toThrow(expect.objectContaining({ code: 'UNKNOWN_CURRENCY' }))
  })

  it.each([-1, 0.5, Number.NaN, 9e15 + 2, '1', -1n])('refuses a quantity of %s', (quantity) => {
    const made = card({ tokens: { rate: { currency: 'EUR', unitPrice: '1' } } })
    expect(() => made.price('tokens', quantity as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
