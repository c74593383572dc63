import { inspect } from 'node:util'
import { CoreError, type CoreErrorTable, type Issue, isSuiteError, SuiteError } from '@enablement/core'
import { describe, expect, expectTypeOf, it } from 'vitest'

/** How a sister package builds its own. */
type PaymentErrorTable = {
  readonly CARD_REFUSED: { readonly issuer: string }
  readonly LIMIT_REACHED: { readonly limit: number }
}
class PaymentError<Code extends keyof PaymentErrorTable = keyof PaymentErrorTable> extends SuiteError<
  PaymentErrorTable,
  Code
> {
  override readonly name = 'PaymentError'
}

const refused = new PaymentError('CARD_REFUSED', 'the bank refused the card', { issuer: 'bank-7' })

describe('suite error', () => {
  it('is an Error with a name, a code, a detail and its cause', () => {
    const cause = new Error('below')
    const error = new CoreError('CLOSED', 'the pool was closed', { what: 'pool' }, { cause })
    expect(error).toBeInstanceOf(Error)
    expect({ ...error, message: error.message, cause: error.cause }).toEqual({
      name: 'CoreError',
      code: 'CLOSED',
      detail: { what: 'pool' },
      message: 'the pool was closed',
      cause
    })
    expect(String(error)).toBe('CoreError: the pool was closed')
    expect('cause' in refused).toBe(false)
  })

  it('narrows its detail by code', () => {
    const error: PaymentError = refused
    expect(error.is('CARD_REFUSED')).toBe(true)
    expect(error.is('LIMIT_REACHED')).toBe(false)
    if (error.is('CARD_REFUSED')) expectTypeOf(error.detail.issuer).toEqualTypeOf<string>()
    if (error.is('LIMIT_REACHED')) expectTypeOf(error.detail.limit).toEqualTypeOf<number>()
    expectTypeOf<Parameters<CoreError['is']>[0]>().toEqualTypeOf<keyof CoreErrorTable>()
    const core = new CoreError('OVERLOADED', 'full', { what: 'queue', waiting: 2, limit: 2 }) as CoreError
    if (core.is('INVALID_OPTIONS')) expectTypeOf(core.detail.issues).toEqualTypeOf<readonly Issue[]>()
    // @ts-expect-error: the table has no such code.
    core.is('LIMIT_REACHED')
    // @ts-expect-error: the detail belongs to another code.
    new CoreError('CLOSED', 'closed', { waiting: 1 })
  })

  it('is recognised across packages, with its code or without', () => {
    expect(isSuiteError(refused)).toBe(true)
    expect(isSuiteError(refused, 'CARD_REFUSED')).toBe(true)
    expect(isSuiteError(refused, 'LIMIT_REACHED')).toBe(false)
  })

  it('is recognised when it comes from another copy of core in the process', () => {
    // What another copy's constructor leaves on its errors: none of our classes, the same mark.
    const stranger = Object.assign(new Error('from elsewhere'), { code: 'CLOSED', detail: { what: 'pool' } })
    Object.defineProperty(stranger, Symbol.for('@enablement/error'), { value: true })
    expect(stranger).not.toBeInstanceOf(SuiteError)
    expect(isSuiteError(stranger, 'CLOSED')).toBe(true)
  })

  it.each([
    ['a plain error', new Error('CLOSED')],
    ['an error with a code of its own', Object.assign(new Error('x'), { code: 'CLOSED' })],
    ['what it shows in JSON', JSON.parse(JSON.stringify(refused))],
    ['nothing', undefined],
    ['null', null],
    ['text', 'CLOSED'],
    ['an object with the mark that is no error', { [Symbol.for('@enablement/error')]: true }]
  ])('is not %s', (_what, value) => {
    expect(isSuiteError(value)).toBe(false)
  })

  it('shows name, code, message and detail in JSON, and neither stack nor cause', () => {
    const error = new CoreError(
      'STORE_UNAVAILABLE',
      'redis is down',
      { store: 'redis', operation: 'consume' },
      {
        cause: new Error('connect to redis://:hunter2@host failed')
      }
    )
    expect(JSON.parse(JSON.stringify({ error }))).toEqual({
      error: {
        name: 'CoreError',
        code: 'STORE_UNAVAILABLE',
        message: 'redis is down',
        detail: { store: 'redis', operation: 'consume' }
      }
    })
    expect(JSON.stringify(error)).not.toContain('hunter2')
  })

  it('shows its name, code and detail in inspect, and not the mark', () => {
    const shown = inspect(refused)
    expect(shown).toContain('PaymentError')
    expect(shown).toContain('CARD_REFUSED')
    expect(shown).toContain('bank-7')
    expect(shown).not.toContain('@enablement/error')
  })
})
