import assert from 'node:assert/strict'
import { canonicalJson } from '@enablement/core'
import { parseUsageEvent } from '@enablement/metering'
import { usageEventIssues } from '@enablement/metering/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const AT = Date.UTC(2026, 0, 15)

const event = {
  tenant: 'org',
  subscription: 'sub',
  transactionId: 'call-1',
  metric: 'tokens',
  quantity: 5,
  at: AT,
  properties: { model: 'small', cached: true }
}

/** The paths that are refused in the event with `changed` fields. */
const refusedPaths = (changed: object): readonly string[] => {
  const parsed = parseUsageEvent({ ...event, ...changed })
  return parsed.outcome === 'accepted' ? [] : parsed.issues.map(({ path }) => path)
}

const nested = (levels: number): unknown => (levels === 0 ? 1 : { in: nested(levels - 1) })

describe('parsing a usage event', () => {
  it('accepts an event and keeps a copy, also of nested properties', () => {
    const given = { ...event, source: 'host-1', properties: { b: 1, a: [true, null] } }
    const parsed = parseUsageEvent(given)
    given.properties.a.push(null)
    expect(parsed).toEqual({
      outcome: 'accepted',
      usage: {
        tenant: 'org',
        subscription: 'sub',
        transactionId: 'call-1',
        metric: 'tokens',
        quantity: 5,
        at: AT,
        source: 'host-1',
        properties: { a: [true, null], b: 1 }
      }
    })
  })

  it.each([
    ['no properties', { properties: undefined }],
    ['no source', { source: undefined }],
    ['properties without a prototype', { properties: Object.assign(Object.create(null), { a: 1 }) }],
    ['a property named as a prototype', { properties: JSON.parse('{"__proto__":{"a":1}}') }],
    ['the largest quantity', { quantity: 9e15 }],
    ['a quantity of nothing', { quantity: 0 }],
    ['the first instant', { at: Date.UTC(2000, 0, 1) }],
    ['the last instant', { at: Date.UTC(10_000, 0, 1) - 1 }],
    ['an id of 255 characters', { transactionId: 'x'.repeat(255) }],
    ['an id of 480 bytes', { transactionId: '億'.repeat(160) }],
    ['an id in another script', { tenant: 'организация 7' }],
    ['an id beyond the basic plane', { tenant: '💶' }],
    ['256 members', { properties: Object.fromEntries(Array.from({ length: 256 }, (_, at) => [`k${at}`, 1])) }],
    ['8 levels', { properties: nested(8) }],
    ['8,192 characters', { properties: { a: 'x'.repeat(8_192 - '{"a":""}'.length) } }]
  ])('accepts %s', (_what, changed) => {
    expect(refusedPaths(changed)).toEqual([])
  })

  it.each([
    ['tenant', { tenant: '' }],
    ['tenant', { tenant: '   ' }],
    ['tenant', { tenant: 7 }],
    ['source', { source: '' }],
    ['source', { source: null }],
    ['tenant', { tenant: undefined }],
    ['subscription', { subscription: 'x'.repeat(256) }],
    ['subscription', { subscription: '億'.repeat(161) }],
    ['source', { source: `${'é'.repeat(240)}x` }],
    ['transactionId', { transactionId: 'a\u0000b' }],
    ['transactionId', { transactionId: 'a\nb' }],
    ['transactionId', { transactionId: 'a\u007Fb' }],
    ['metric', { metric: 'a\uD800' }],
    ['quantity', { quantity: -1 }],
    ['quantity', { quantity: 1.5 }],
    ['quantity', { quantity: Number.NaN }],
    ['quantity', { quantity: Number.POSITIVE_INFINITY }],
    ['quantity', { quantity: 9e15 + 1 }],
    ['quantity', { quantity: '5' }],
    ['quantity', { quantity: 5n }],
    ['at', { at: 1_768_435_200 }],
    ['at', { at: 1_768_435_200_000_000 }],
    ['at', { at: -1 }],
    ['at', { at: AT + 0.5 }],
    ['at', { at: new Date(AT) }],
    ['properties', { properties: null }],
    ['properties', { properties: [] }],
    ['properties', { properties: new Map() }],
    ['properties', { properties: { a: 'x\uD800' } }],
    ['properties', { properties: { 'x\uD800': 1 } }],
    ['properties', { properties: new (class Properties {})() }],
    ['properties', { properties: { at: new Date(AT) } }],
    ['properties', { properties: { big: 1n } }],
    ['properties', { properties: { nan: Number.NaN } }],
    ['properties', { properties: nested(9) }],
    ['properties', { properties: { all: Array(256).fill(0) } }],
    ['properties', { properties: { a: 'x'.repeat(8_193 - '{"a":""}'.length) } }],
    ['properties', { properties: { a: 'x'.repeat(10_000_000) } }],
    ['quantitty', { quantitty: 5 }]
  ])('refuses %s in %o, also the next time and after good ones', (path, changed) => {
    for (const given of [changed, changed, {}, changed])
      expect(refusedPaths(given)).toEqual(given === changed ? [path] : [])
  })

  it('refuses an id of zero width and names every refused field', () => {
    expect(refusedPaths({ tenant: '', quantity: -1, at: 0, extra: 1 })).toEqual(['tenant', 'quantity', 'at', 'extra'])
  })

  it.each([[undefined], [null], ['event'], [5], [[event]], [() => event]])('refuses %o', (input) => {
    const parsed = parseUsageEvent(input)
    expect(parsed).toMatchObject({ outcome: 'rejected', issues: [{ path: '' }] })
  })

  it('does not repeat a refused value in an issue', () => {
    const parsed = parseUsageEvent({ ...event, tenant: 'secret\n', quantity: 'secret', properties: 'secret' })
    expect(JSON.stringify(parsed)).not.toContain('secret')
  })

  it('answers for an input with very many fields, a name of a million characters, or one that refers to itself', () => {
    const wide = Object.fromEntries(Array.from({ length: 100_000 }, (_, at) => [`f${at}`, at]))
    expect(parseUsageEvent(wide)).toMatchObject({ outcome: 'rejected', issues: [{ path: '' }] })
    expect(refusedPaths({ properties: wide })).toEqual(['properties'])
    expect(refusedPaths({ ['x'.repeat(1_000_000)]: 1 })).toEqual(['x'.repeat(64)])
    const loop: Record<string, unknown> = {}
    loop['self'] = loop
    expect(refusedPaths({ properties: loop })).toEqual(['properties'])
  })

  it('answers for an input that throws or changes while it is read', () => {
    const throwing = Object.defineProperty({ ...event }, 'tenant', {
      enumerable: true,
      get: () => {
        throw new Error('hostile')
      }
    })
    const proxy = new Proxy(event, {
      ownKeys: () => {
        throw new Error('hostile')
      }
    })
    let reads = 0
    const changing = Object.defineProperty({ ...event }, 'quantity', {
      enumerable: true,
      get: () => {
        reads += 1
        return reads === 1 ? -1 : 1
      }
    })
    for (const hostile of [throwing, proxy, changing, { ...event, properties: proxy }]) {
      expect(parseUsageEvent(hostile)).toMatchObject({ outcome: 'rejected' })
    }
  })

  it('keeps the properties that it checked, whatever a getter gives the next time', () => {
    let reads = 0
    const properties = Object.defineProperty({}, 'model', {
      enumerable: true,
      get: () => {
        reads += 1
        return reads === 1 ? 'small' : new Map()
      }
    })
    const parsed = parseUsageEvent({ ...event, properties })
    expect(parsed).toMatchObject({ outcome: 'accepted', usage: { properties: { model: 'small' } } })
    expect(parsed).toMatchObject({ usage: { properties: { model: 'small' } } })
  })

  it('takes nothing from a prototype that somebody polluted, and pollutes none', () => {
    const prototype = Object.prototype as Record<string, unknown>
    try {
      prototype['polluted'] = 'x'.repeat(10)
      expect(refusedPaths({})).toEqual(['polluted'])
    } finally {
      delete prototype['polluted']
    }
    const hostile = JSON.parse('{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}')
    const parsed = parseUsageEvent({ ...event, properties: hostile })
    expect(parsed).toMatchObject({ outcome: 'accepted' })
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined()
    expect(parsed.outcome === 'accepted' && Object.hasOwn(parsed.usage.properties, '__proto__')).toBe(true)
  })
})

const id = fc.oneof(
  { weight: 5, arbitrary: fc.string({ minLength: 1, maxLength: 20 }) },
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom(
    '',
    ' ',
    '\u00a0',
    '\u2028',
    '\ufeff',
    '\u200b',
    '\ud800',
    'x'.repeat(255),
    'x'.repeat(256),
    '億'.repeat(160),
    '億'.repeat(161)
  ),
  fc.anything()
)
const number = fc.oneof(
  fc.integer({ min: 0 }),
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(0, -0, 9e15, 9e15 + 1, 946_684_799_999, 946_684_800_000, 253_402_300_799_999, 253_402_300_800_000),
  fc.anything()
)
const at = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 946_684_800_000, max: 253_402_300_799_999 }) }, number)
const properties = fc.oneof(
  { weight: 3, arbitrary: fc.dictionary(fc.string(), fc.jsonValue()) },
  fc.dictionary(fc.string(), fc.anything()),
  fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true })
)
const nearly = fc.record(
  {
    tenant: id,
    subscription: id,
    transactionId: id,
    metric: id,
    quantity: number,
    at,
    source: id,
    properties,
    extra: fc.anything()
  },
  { requiredKeys: [] }
)
const whole = fc.record(
  {
    tenant: fc.string({ minLength: 1 }),
    subscription: fc.string({ minLength: 1 }),
    transactionId: id,
    metric: fc.constant('tokens'),
    quantity: fc.oneof({ weight: 5, arbitrary: fc.nat() }, number),
    at,
    source: fc.option(id, { nil: undefined }),
    properties
  },
  { requiredKeys: ['tenant', 'subscription', 'transactionId', 'metric', 'quantity', 'at'] }
)
const inputs = fc.oneof(
  { weight: 6, arbitrary: whole },
  { weight: 3, arbitrary: nearly },
  fc.anything({ withBigInt: true, withSparseArray: true, withTypedArray: true, withMap: true })
)

describe('arbitrary input', () => {
  test.prop([inputs], { numRuns: 2_000 * inject('scale') })(
    'is parsed as the declared schema says, and never throws',
    (input) => {
      const parsed = parseUsageEvent(input)
      const declared = usageEventIssues(input)
      if (parsed.outcome === 'accepted') {
        assert.deepEqual(declared, [])
        const { tenant, subscription, transactionId, metric } = parsed.usage
        for (const accepted of [tenant, subscription, transactionId, metric]) assert.notEqual(accepted.trim(), '')
        assert.equal(Object.prototype.toString.call(parsed.usage.properties), '[object Object]')
        assert.notEqual(canonicalJson(parsed.usage.properties, { lengthMax: 8_192 }), '')
      } else {
        assert.notEqual(declared.length, 0)
        assert.deepEqual(parsed.issues, declared)
        for (const { message } of parsed.issues) assert.notEqual(message, '')
      }
    },
    600_000
  )
})
