import { stripeAmount } from '@enablement/metering'
import { describe, expect, it } from 'vitest'

describe('an amount for Stripe', () => {
  it.each([
    ['EUR', 1_234n, 1_234n, 0n],
    ['JPY', 500n, 500n, 0n],
    ['KRW', -500n, -500n, 0n],
    ['ISK', 500n, 50_000n, 0n],
    ['UGX', -5n, -500n, 0n],
    ['MGA', 12_349n, 123n, 49n],
    ['MGA', 12_350n, 124n, -50n],
    ['BHD', 1_234n, 1_230n, 4n],
    ['KWD', 1_235n, 1_240n, -5n],
    ['OMR', -1_235n, -1_240n, 5n],
    ['TND', 1_230n, 1_230n, 0n]
  ])('in %s of %d is %d, and %d are left', (currency, minorUnits, amount, remainder) => {
    expect(stripeAmount(minorUnits, currency, 'half-up')).toEqual({ amount, remainder })
  })

  it('in an unknown currency is refused', () => {
    expect(() => stripeAmount(1n, 'XXX', 'half-up')).toThrow(expect.objectContaining({ code: 'UNKNOWN_CURRENCY' }))
  })
})
