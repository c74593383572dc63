import { optionalReplyInteger, optionalReplyText, replyInteger, replyList, replyText } from '@enablement/core/redis'
import { describe, expect, it } from 'vitest'

const damaged = expect.objectContaining({ code: 'STORE_DAMAGED' })

describe('script reply', () => {
  it.each([
    ['0', 0],
    ['-7', -7],
    ['9000000000000000', 9e15],
    ['-9000000000000000', -9e15],
    [12, 12]
  ])('reads %s as an integer', (reply, value) => {
    expect(replyInteger(reply)).toBe(value)
    expect(optionalReplyInteger(reply)).toBe(value)
  })

  it.each(
    [
      [
        '',
        '-0',
        '00',
        '01',
        '+1',
        ' 1',
        '1 ',
        '1.0',
        '1e3',
        '9e15',
        '0x10',
        'NaN',
        '9000000000000001',
        '99999999999999999'
      ]
    ].flat()
  )('refuses the text %j as an integer', (reply) => {
    expect(() => replyInteger(reply)).toThrow(damaged)
  })

  it.each([3.5, Number.NaN, 2 ** 53, null, undefined, ['1']])('refuses %j as an integer', (reply) => {
    expect(() => replyInteger(reply)).toThrow(damaged)
  })

  it('reads nil only where it may be', () => {
    expect(optionalReplyText(null)).toBeUndefined()
    expect(optionalReplyInteger(null)).toBeUndefined()
    expect(() => replyText(null)).toThrow(damaged)
    expect(() => optionalReplyText(undefined)).toThrow(damaged)
    expect(() => optionalReplyInteger(undefined)).toThrow(damaged)
  })

  it('reads a list, and text, and nothing else as such', () => {
    expect(replyList(['a', 1, null])).toEqual(['a', 1, null])
    expect(replyText('')).toBe('')
    expect(() => replyList('a')).toThrow(damaged)
    expect(() => replyText(1)).toThrow(damaged)
  })

  it('does not repeat what it refuses', () => {
    expect(() => replyInteger('a secret')).toThrow(/^(?!.*a secret)/)
  })
})
