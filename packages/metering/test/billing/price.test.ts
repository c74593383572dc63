import { type MeteringError, minorUnitDigits, priceUsage, type Rounding } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { Decimal } from 'decimal.js'
import { describe, expect, inject, it } from 'vitest'

const EUR = (unitPrice: string, per = 1) => ({ unitPrice, per, currency: 'EUR' })

describe('a price by the unit', () => {
  it('is exact, then rounded once to the minor unit', () => {
    const rate = EUR('0.0004', 1_000)
    expect(priceUsage({ quantity: 1_054_000, rate, rounding: 'half-even' })).toEqual({
      amount: '0.42',
      minorUnits: 42n,
      exact: '0.4216',
      currency: 'EUR',
      quantity: 1_054_000n,
      packages: undefined
    })
  })

  it.each([
    ['a million tenths, which floats make 100000.00000133', 1_000_000, '0.1', undefined, '100000.00', '100000'],
    ['nothing', 0, '0.0004', 1_000, '0.00', '0'],
    ['a price per minute of seconds', 7, '1', 60, '0.12', '7/60'],
    ['a whole number of minutes', 120, '0.02', 60, '0.04', '0.04'],
    [
      'the largest quantity',
      9_000_000_000_000_000,
      '999999999999999999.999999999999999999',
      undefined,
      '8999999999999999999999999999999999.99',
      '8999999999999999999999999999999999.991'
    ],
    ['a total beyond 64 bits', 10n ** 20n, '0.01', undefined, '1000000000000000000.00', '1000000000000000000'],
    ['a rebate', 3, '-0.005', undefined, '-0.02', '-0.015']
  ] as const)('prices %s', (_what, quantity, unitPrice, per, amount, exact) => {
    expect(priceUsage({ quantity, rate: EUR(unitPrice, per), rounding: 'half-even' })).toMatchObject({ amount, exact })
  })
})

describe('a price by the package', () => {
  it.each([
    [0, 0n, '0.00'],
    [1, 1n, '0.50'],
    [1_000, 1n, '0.50'],
    [1_001, 2n, '1.00'],
    [2_000, 2n, '1.00'],
    [9_000_000_000_000_000, 9_000_000_000_000n, '4500000000000.00']
  ])('charges %d units as %d packages', (quantity, packages, amount) => {
    const rate = { packagePrice: '0.50', packageSize: 1_000, currency: 'EUR' }
    expect(priceUsage({ quantity, rate, rounding: 'half-up' })).toMatchObject({ packages, amount })
  })
})

describe('rounding', () => {
  // Amounts in thousandths of a euro, which lie on a tie or next to one, and the cents of each mode.
  const table: readonly (readonly [mills: number, cents: Readonly<Record<Rounding, number>>])[] = [
    [5, { up: 1, down: 0, ceiling: 1, floor: 0, 'half-up': 1, 'half-down': 0, 'half-even': 0 }],
    [15, { up: 2, down: 1, ceiling: 2, floor: 1, 'half-up': 2, 'half-down': 1, 'half-even': 2 }],
    [25, { up: 3, down: 2, ceiling: 3, floor: 2, 'half-up': 3, 'half-down': 2, 'half-even': 2 }],
    [24, { up: 3, down: 2, ceiling: 3, floor: 2, 'half-up': 2, 'half-down': 2, 'half-even': 2 }],
    [26, { up: 3, down: 2, ceiling: 3, floor: 2, 'half-up': 3, 'half-down': 3, 'half-even': 3 }],
    [20, { up: 2, down: 2, ceiling: 2, floor: 2, 'half-up': 2, 'half-down': 2, 'half-even': 2 }],
    [-5, { up: -1, down: 0, ceiling: 0, floor: -1, 'half-up': -1, 'half-down': 0, 'half-even': 0 }],
    [-15, { up: -2, down: -1, ceiling: -1, floor: -2, 'half-up': -2, 'half-down': -1, 'half-even': -2 }],
    [-25, { up: -3, down: -2, ceiling: -2, floor: -3, 'half-up': -3, 'half-down': -2, 'half-even': -2 }],
    [-24, { up: -3, down: -2, ceiling: -2, floor: -3, 'half-up': -2, 'half-down': -2, 'half-even': -2 }],
    [-26, { up: -3, down: -2, ceiling: -2, floor: -3, 'half-up': -3, 'half-down': -3, 'half-even': -3 }]
  ]
  const cases = table.flatMap(([mills, cents]) =>
    (Object.keys(cents) as Rounding[]).map((rounding) => [mills, rounding, cents[rounding]] as const)
  )

  it.each(cases)('takes %d thousandths %s to %d cents', (mills, rounding, cents) => {
    const rate = EUR(mills < 0 ? '-0.001' : '0.001')
    const priced = priceUsage({ quantity: Math.abs(mills), rate, rounding })
    expect(priced.minorUnits).toBe(BigInt(cents))
    expect(priced.amount).toBe((cents / 100).toFixed(2))
  })

  const modes = {
    up: Decimal.ROUND_UP,
    down: Decimal.ROUND_DOWN,
    ceiling: Decimal.ROUND_CEIL,
    floor: Decimal.ROUND_FLOOR,
    'half-up': Decimal.ROUND_HALF_UP,
    'half-down': Decimal.ROUND_HALF_DOWN,
    'half-even': Decimal.ROUND_HALF_EVEN
  } satisfies Record<Rounding, number>
  const Exact = Decimal.clone({ precision: 200 })
  const digits = (max: number) => fc.bigInt({ min: 0n, max: 10n ** BigInt(max) - 1n }).map(String)
  const price = fc
    .tuple(fc.constantFrom('', '-'), digits(9), fc.option(digits(9)))
    .map(([sign, whole, fraction]) => `${sign}${whole}${fraction === null ? '' : `.${fraction}`}`)

  test.prop(
    [
      fc.oneof(fc.nat(100), fc.integer({ min: 0, max: 9e15 })),
      price,
      fc.constantFrom(1, 2, 8, 10, 100, 1_000, 3_600, 7, 1_000_000),
      fc.constantFrom('JPY', 'EUR', 'BHD'),
      fc.constantFrom(...(Object.keys(modes) as Rounding[]))
    ],
    { numRuns: 2_000 * inject('scale') }
  )(
    'agrees with decimal.js at 200 digits',
    (quantity, unitPrice, per, currency, rounding) => {
      const priced = priceUsage({ quantity, rate: { unitPrice, per, currency }, rounding })
      const expected = new Exact(unitPrice).times(quantity).div(per)
      const places = minorUnitDigits(currency)
      expect(new Exact(priced.amount).eq(expected.toDecimalPlaces(places, modes[rounding]))).toBe(true)
      expect(priced.amount).toMatch(places === 0 ? /^-?\d+$/ : new RegExp(`^-?\\d+\\.\\d{${places}}$`))
      expect(priced.minorUnits.toString()).toBe(priced.amount.replace('.', '').replace(/^(-?)0+(?=\d)/, '$1'))
      const [top, bottom = '1'] = priced.exact.split('/') as [string, string?]
      expect(new Exact(top).times(per).eq(new Exact(unitPrice).times(quantity).times(bottom))).toBe(true)
    },
    600_000
  )
})

describe('a currency', () => {
  it.each([
    ['JPY', 0, '124', 124n],
    ['EUR', 2, '123.50', 12_350n],
    ['BHD', 3, '123.500', 123_500n]
  ])('%s has %d digits', (currency, digits, amount, minorUnits) => {
    expect(minorUnitDigits(currency)).toBe(digits)
    const priced = priceUsage({ quantity: 247, rate: { unitPrice: '0.5', currency }, rounding: 'half-even' })
    expect(priced).toMatchObject({ amount, minorUnits, exact: '123.5' })
  })

  it.each(['XXX', 'XAU', 'EUX'])('%s is unknown, which is said and not guessed', (currency) => {
    let thrown: unknown
    try {
      priceUsage({ quantity: 1, rate: { unitPrice: '1', currency }, rounding: 'half-even' })
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ name: 'MeteringError', code: 'UNKNOWN_CURRENCY', detail: { currency } })
    expect((thrown as MeteringError).is('UNKNOWN_CURRENCY')).toBe(true)
  })
})

describe('a pricing request', () => {
  const request = { quantity: 1, rate: EUR('1'), rounding: 'half-even' }
  it.each([
    ['a negative quantity', { quantity: -1 }],
    ['a fraction of a unit', { quantity: 0.5 }],
    ['NaN units', { quantity: Number.NaN }],
    ['a quantity above 9e15', { quantity: 9e15 + 1 }],
    ['a negative bigint', { quantity: -1n }],
    ['an endless bigint', { quantity: 10n ** 31n }],
    ['a price as a float', { rate: { unitPrice: 0.1, currency: 'EUR' } }],
    ['a price with an exponent', { rate: EUR('1e3') }],
    ['a price that is no number', { rate: EUR('NaN') }],
    ['a price without end', { rate: EUR('1'.repeat(19)) }],
    ['a price with a comma', { rate: EUR('1,5') }],
    ['a price per nothing', { rate: EUR('1', 0) }],
    ['a package of nothing', { rate: { packagePrice: '1', packageSize: 0, currency: 'EUR' } }],
    ['two prices at once', { rate: { ...EUR('1'), packagePrice: '1', packageSize: 1 } }],
    ['a currency in small letters', { rate: { unitPrice: '1', currency: 'eur' } }],
    ['no rounding', { rounding: undefined }],
    ['an unknown rounding', { rounding: 'half' }],
    ['an unknown option', { round: 'up' }]
  ])('is refused with %s', (_what, wrong) => {
    expect(() => priceUsage({ ...request, ...wrong } as never)).toThrow(
      expect.objectContaining({ name: 'CoreError', code: 'INVALID_OPTIONS' })
    )
  })
})
