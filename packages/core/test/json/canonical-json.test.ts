import { canonicalJson, isJson, type JsonValue } from '@enablement/core'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, expectTypeOf, it } from 'vitest'

const jsonValue = fc.jsonValue({ maxDepth: 5, noUnicodeString: false }) as fc.Arbitrary<JsonValue>

/** The same value with the members of every object in another order. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reordered(member)])
  )
}

describe('canonical JSON', () => {
  // RFC 8785 §3.2.2 and §3.2.3: the input and the output of the RFC's own example.
  it('is that of the example in RFC 8785', () => {
    const input = JSON.parse(`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/",
      "literals": [null, true, false]
    }`)
    expect(canonicalJson(input)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
  })

  it('sorts keys by UTF-16 code units, as RFC 8785 §3.2.3 has it', () => {
    const input = JSON.parse(`{
      "\\u20ac": "Euro Sign",
      "\\r": "Carriage Return",
      "\\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One",
      "\\ud83d\\ude00": "Emoji: Grinning Face",
      "\\u0080": "Control",
      "\\u00f6": "Latin Small Letter O With Diaeresis"
    }`)
    expect(Object.values(JSON.parse(canonicalJson(input))).join(', ')).toBe(
      'One, Carriage Return, Control, Latin Small Letter O With Diaeresis, Euro Sign, Emoji: Grinning Face, ' +
        'Hebrew Letter Dalet With Dagesh'
    )
  })

  // RFC 8785 appendix B: IEEE 754 bits and their text.
  it.each([
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['ffefffffffffffff', '-1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['c340000000000000', '-9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['44b52d02c7e14af7', '1.0000000000000001e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef4f', '999999999999999900000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555554', '333333333.33333325'],
    ['41b3de4355555555', '333333333.3333333'],
    ['41b3de4355555556', '333333333.3333334'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
    ['43143ff3c1cb0959', '1424953923781206.2']
  ])('writes the number with the bits %s as %s', (bits, text) => {
    const view = new DataView(new ArrayBuffer(8))
    view.setBigUint64(0, BigInt(`0x${bits}`))
    expect(canonicalJson(view.getFloat64(0))).toBe(text)
  })

  test.prop([jsonValue])('says the value and nothing else', (value) => {
    // JSON has one zero.
    expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
  })

  test.prop([jsonValue])('does not depend on the order of members', (value) => {
    expect(canonicalJson(reordered(value))).toBe(canonicalJson(value))
  })

  test.prop([jsonValue, jsonValue])('differs for values that differ', (one, other) => {
    expect(canonicalJson(one) === canonicalJson(other)).toBe(
      JSON.stringify(reorderedFully(one)) === JSON.stringify(reorderedFully(other))
    )
  })

  it('leaves undefined members out, as JSON.stringify does', () => {
    expect(canonicalJson({ b: undefined, a: 1 })).toBe('{"a":1}')
  })

  it('takes objects without a prototype, and own members with dangerous names', () => {
    expect(canonicalJson(Object.assign(Object.create(null), { a: 1 }))).toBe('{"a":1}')
    expect(canonicalJson(JSON.parse('{"__proto__":{"x":1},"constructor":2}'))).toBe(
      '{"__proto__":{"x":1},"constructor":2}'
    )
  })

  const cycle: Record<string, unknown> = { a: {} }
  ;(cycle['a'] as Record<string, unknown>)['b'] = cycle
  it.each<[string, unknown, string]>([
    ['undefined', undefined, ''],
    ['NaN', { a: [0, Number.NaN] }, 'a[1]'],
    ['infinity', { a: Number.NEGATIVE_INFINITY }, 'a'],
    ['a bigint', [1n], '[0]'],
    ['a function', { a: { b: () => 1 } }, 'a.b'],
    ['a symbol', { a: Symbol('s') }, 'a'],
    ['a date', { at: new Date(0) }, 'at'],
    ['a map', { a: new Map() }, 'a'],
    ['bytes', { a: new Uint8Array(2) }, 'a'],
    ['an instance of a class', [new (class {})()], '[0]'],
    ['a hole in an array', Object.assign([1], { 2: 3 }), '[1]'],
    ['undefined in an array', [undefined], '[0]'],
    ['a lone surrogate', { a: '\ud800' }, 'a'],
    ['a lone surrogate in a key', { 'x\udfff': 1 }, 'x\udfff']
  ])('does not exist for %s', (_what, value, path) => {
    expect(() => canonicalJson(value)).toThrow(
      expect.objectContaining({ code: 'NOT_JSON', detail: { path, reason: expect.any(String) } })
    )
    expect(isJson(value)).toBe(false)
  })

  it('does not exist for a cycle', () => {
    expect(() => canonicalJson(cycle)).toThrow(expect.objectContaining({ code: 'NOT_JSON' }))
  })

  it('goes 64 deep and no deeper', () => {
    const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
    expect(canonicalJson(nested(64))).toBe(`${'['.repeat(64)}1${']'.repeat(64)}`)
    expect(() => canonicalJson(nested(65))).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ reason: 'nested deeper than 64' }) })
    )
  })

  it('ends early on a small value that refers to itself many times over', () => {
    let lol: unknown = 'lol'
    for (let level = 0; level < 60; level++) lol = [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]
    expect(() => canonicalJson(lol)).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ reason: 'longer than 1048576 characters' }) })
    )
  })

  test.prop([jsonValue])('may be exactly as long as allowed, and not one character longer', (value) => {
    const text = canonicalJson(value)
    expect(canonicalJson(value, { lengthMax: text.length })).toBe(text)
    expect(() => canonicalJson(value, { lengthMax: text.length - 1 })).toThrow(
      expect.objectContaining({ code: 'NOT_JSON' })
    )
  })

  it('narrows what it exists for', () => {
    const value: unknown = { a: [1, 'x', null, true] }
    expect(isJson(value)).toBe(true)
    if (isJson(value)) expectTypeOf(value).toEqualTypeOf<JsonValue>()
  })
})

/** One order of members for all: what two equal values have in common. */
function reorderedFully(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reorderedFully)
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  // Inside an object, or the empty object would be the empty array.
  return { members: members.map(([key, member]) => [key, reorderedFully(member)]) }
}
