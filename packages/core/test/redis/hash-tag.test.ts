import { hashTagged, hashTagOf } from '@enablement/core/redis'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

/** Text that tries to break out of its place: separators, braces, escapes, and anything else that is well-formed. */
const hostile = fc.oneof(
  fc.string({ minLength: 1, unit: fc.constantFrom('{', '}', ':', '%', '\0', '3', 'A', 'a', ' ', '%3A', '%7B') }),
  fc.string({ minLength: 1, unit: 'grapheme', maxLength: 8 })
)
const tuple = fc.record({
  prefix: fc.constantFrom('quota', 'quota:a', 'a', 'a:b'),
  tag: hostile,
  parts: fc.array(hostile, { maxLength: 3 })
})

describe('hash-tagged key', () => {
  it('puts the tag in braces between prefix and parts', () => {
    expect(hashTagged({ prefix: 'metering:quota', tag: 'org_42', parts: ['team_a', 'llm-tokens'] })).toBe(
      'metering:quota:{org_42}:team_a:llm-tokens'
    )
    expect(hashTagged({ prefix: 'pool', tag: 'p' })).toBe('pool:{p}')
  })

  it('encodes what separates parts, ends the tag or escapes', () => {
    expect(hashTagged({ prefix: 'k', tag: 'a}b{', parts: ['x:y', '100%', '\0\n'] })).toBe(
      'k:{a%7Db%7B}:x%3Ay:100%25:%00%0A'
    )
  })

  test.prop([tuple, tuple], { numRuns: 2_000 })('differs for distinct tuples', (one, other) => {
    expect(hashTagged(one) === hashTagged(other)).toBe(JSON.stringify(one) === JSON.stringify(other))
  })

  test.prop([tuple], { numRuns: 1_000 })('carries exactly one tag, which depends on the tag alone', (key) => {
    const tag = hashTagOf(hashTagged(key))
    expect(tag).toBeDefined()
    expect(tag).toBe(hashTagOf(hashTagged({ prefix: 'other', tag: key.tag })))
  })

  it.each([
    ['an empty tag', { prefix: 'k', tag: '' }, 'tag'],
    ['an empty part', { prefix: 'k', tag: 't', parts: ['a', ''] }, 'parts.1'],
    ['a lone surrogate in the tag', { prefix: 'k', tag: '\ud800' }, 'tag'],
    ['a lone surrogate in a part', { prefix: 'k', tag: 't', parts: ['\udc00x'] }, 'parts.0'],
    ['a part that is no string', { prefix: 'k', tag: 't', parts: [undefined as never] }, 'parts.0'],
    ['an empty prefix', { prefix: '', tag: 't' }, 'prefix'],
    ['a prefix with a brace', { prefix: 'k{x}', tag: 't' }, 'prefix'],
    ['a key longer than 2,048 characters', { prefix: 'k', tag: 'x'.repeat(2_048) }, '']
  ])('refuses %s', (_what, key, path) => {
    expect(() => hashTagged(key)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'hashTagged', issues: [expect.objectContaining({ path })] }
      })
    )
  })
})

describe('hash tag of a key', () => {
  // The examples of the Redis Cluster specification, "Hash tags".
  it.each([
    ['{user1000}.following', 'user1000'],
    ['foo{}{bar}', undefined],
    ['foo{{bar}}zap', '{bar'],
    ['foo{bar}{zap}', 'bar'],
    ['foo', undefined],
    ['foo}bar{', undefined]
  ])('of %s is %s', (key, tag) => {
    expect(hashTagOf(key)).toBe(tag)
  })
})
