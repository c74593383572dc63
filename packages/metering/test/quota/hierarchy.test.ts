import { createQuotas, type Limit, type LimitNode, limitConflicts, restrictLimit } from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { HOUR_MS, stage } from './stage.ts'

const scale = inject('scale')

const tokens = (members: Omit<LimitNode, 'quantity'> & { quantity?: number; period?: Limit['period'] }): Limit => ({
  name: 'tokens',
  quantity: 100,
  period: 'lifetime',
  ...members
})

describe('the conflicts of a limit', () => {
  const limit = 'tokens'
  it.each<[string, Limit, unknown[]]>([
    ['a pool that is given out twice over', tokens({ children: { a: { quantity: 100 }, b: { quantity: 100 } } }), []],
    [
      'reserved parts that fit exactly',
      tokens({ share: 'reserved', children: { a: { quantity: 60 }, b: { quantity: 40 } } }),
      []
    ],
    [
      'reserved parts that are one too many',
      tokens({ share: 'reserved', children: { a: { quantity: 60 }, b: { quantity: 41 } } }),
      [{ conflict: 'reserved-above-parent', limit, path: [], quantity: 100, reserved: 101 }]
    ],
    [
      'a child above its parent, in a pool too',
      tokens({ children: { a: { quantity: 101 } } }),
      [{ conflict: 'child-above-parent', limit, path: ['a'], quantity: 101, parentQuantity: 100 }]
    ],
    [
      'children that are not listed',
      tokens({ eachChild: { quantity: 200, eachChild: { quantity: 201 } } }),
      [
        { conflict: 'child-above-parent', limit, path: ['*'], quantity: 200, parentQuantity: 100 },
        { conflict: 'child-above-parent', limit, path: ['*', '*'], quantity: 201, parentQuantity: 200 }
      ]
    ],
    [
      'every level, from the top',
      tokens({
        share: 'reserved',
        children: {
          a: { quantity: 90, share: 'reserved', children: { x: { quantity: 50 }, y: { quantity: 50 } } },
          b: { quantity: 20, children: { z: { quantity: 21 } } }
        }
      }),
      [
        { conflict: 'reserved-above-parent', limit, path: [], quantity: 100, reserved: 110 },
        { conflict: 'reserved-above-parent', limit, path: ['a'], quantity: 90, reserved: 100 },
        { conflict: 'child-above-parent', limit, path: ['b', 'z'], quantity: 21, parentQuantity: 20 }
      ]
    ],
    [
      'levels that are apart, where those between have no quantity',
      { name: limit, period: 'lifetime', quantity: 100, children: { a: { eachChild: { quantity: 101 } } } },
      [{ conflict: 'child-above-parent', limit, path: ['a', '*'], quantity: 101, parentQuantity: 100 }]
    ],
    [
      'reserved parts beside children that have no quantity',
      tokens({ share: 'reserved', children: { a: { quantity: 100 }, b: { children: { x: { quantity: 50 } } } } }),
      []
    ],
    ['levels that have nothing above them', { name: limit, period: 'lifetime', eachChild: { quantity: 9e15 } }, []],
    ['nothing left to share', tokens({ quantity: 0, share: 'reserved', children: { a: { quantity: 0 } } }), []],
    [
      'sums beyond 2^53',
      tokens({ quantity: 9e15, share: 'reserved', children: { a: { quantity: 9e15 }, b: { quantity: 1 } } }),
      [{ conflict: 'reserved-above-parent', limit, path: [], quantity: 9e15, reserved: 9_000_000_000_000_001 }]
    ]
  ])('are found in %s', (_what, given, conflicts) => {
    expect(limitConflicts(given)).toEqual(conflicts)
  })

  it('are refused at construction, all of them, with their numbers', () => {
    const limits = [
      tokens({ children: { a: { quantity: 101 } } }),
      { ...tokens({ eachChild: { quantity: 102 } }), name: 'calls' }
    ]
    expect(() => createQuotas({ store: memoryQuotaStore(), limits, onStoreFailure: 'refuse' })).toThrow(
      expect.objectContaining({
        name: 'MeteringError',
        code: 'LIMIT_CONFLICT',
        message: expect.stringContaining('tokens of a is 101, and 100 above it; calls of * is 102'),
        detail: { conflicts: limits.flatMap(limitConflicts) }
      })
    )
  })

  it('of what a lookup returns are thrown by the call, and mended by the next limit', async () => {
    let plan = tokens({ children: { a: { quantity: 101 } } })
    const { quotas, store } = stage({ limits: () => plan })
    const team = quotas.bind({ tenant: 'org', path: ['a'], limit: 'tokens' })
    const conflict = { code: 'LIMIT_CONFLICT', detail: { conflicts: [{ path: ['a'], quantity: 101 }] } }
    await expect(team.consume()).rejects.toMatchObject(conflict)
    await expect(team.hold(1, { ttlMs: 1_000 })).rejects.toMatchObject(conflict)
    expect(store.calls).toEqual([])
    plan = tokens({ children: { a: { quantity: 99 } } })
    expect(await team.consume()).toMatchObject({ outcome: 'consumed', remaining: 98 })
  })
})

describe('levels', () => {
  it('are charged from the innermost outwards, and the first that has too little refuses', async () => {
    const children = { a: { quantity: 50, children: { x: { quantity: 10 } } } }
    const { quotas, store } = stage({ limits: [tokens({ children })] })
    const agent = quotas.bind({ tenant: 'org', path: ['a', 'x'], limit: 'tokens' })
    const team = quotas.bind({ tenant: 'org', path: ['a'], limit: 'tokens' })
    const org = quotas.bind({ tenant: 'org', limit: 'tokens' })
    expect(await agent.consume(11)).toMatchObject({ level: { path: ['a', 'x'] }, remaining: 10 })
    expect(await team.consume(45)).toMatchObject({ outcome: 'consumed', remaining: 5 })
    expect(await agent.consume(6)).toMatchObject({ outcome: 'refused', level: { path: ['a'] }, remaining: 5 })
    expect(await org.consume(52)).toMatchObject({ outcome: 'consumed', remaining: 3 })
    expect(await agent.consume(4)).toMatchObject({ outcome: 'refused', level: { path: [] }, remaining: 3 })
    expect(await agent.consume(3)).toMatchObject({ outcome: 'consumed', remaining: 0 })
    const groups = store.calls[0]?.args[1] as { charges: { path: string[] }[] }[] | undefined
    expect(groups?.[0]?.charges.map(({ path }) => path)).toEqual([['a', 'x'], ['a'], []])
  })

  it('that are not listed have the quantity of eachChild, each for itself', async () => {
    const { quotas } = stage({ limits: [tokens({ children: { vip: { quantity: 80 } }, eachChild: { quantity: 5 } })] })
    const at = (...path: string[]) => quotas.bind({ tenant: 'org', path, limit: 'tokens' })
    expect(await at('anna').consume(6)).toMatchObject({ level: { path: ['anna'] }, remaining: 5 })
    expect(await at('anna').consume(5)).toMatchObject({ remaining: 0 })
    expect(await at('ben').consume(5)).toMatchObject({ remaining: 0 })
    expect(await at('vip').consume(6)).toMatchObject({ remaining: 74 })
    // Below anna nobody has a limit of their own: only those above count.
    expect(await at('anna', 'phone').consume(1)).toMatchObject({ level: { path: ['anna'] }, remaining: 0 })
  })

  it('that are not listed have no limit of their own without eachChild', async () => {
    const { quotas } = stage({ limits: [tokens({ children: { vip: { quantity: 80 } } })] })
    const other = quotas.bind({ tenant: 'org', path: ['other'], limit: 'tokens' })
    expect(await other.consume(100)).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('that have no quantity only group: each user has 1,000, and all of them no total', async () => {
    const users: Limit = { name: 'tokens', period: 'lifetime', eachChild: { quantity: 1_000 } }
    const { quotas, store } = stage({ limits: [users, { ...tokens({}), name: 'calls' }] })
    const at = (path: string[], limit: string | string[] = 'tokens') => quotas.bind({ tenant: 'org', path, limit })
    for (const user of ['anna', 'ben']) expect(await at([user]).consume(1_000)).toMatchObject({ remaining: 0 })
    expect(await at(['anna']).consume()).toMatchObject({ outcome: 'refused', level: { path: ['anna'] } })
    const groups = store.calls[0]?.args[1] as { charges: { path: string[] }[] }[] | undefined
    expect(groups?.[0]?.charges.map(({ path }) => path)).toEqual([['anna']])
    // Where no level of the path has a quantity nothing is limited, and so nothing is let through.
    const unknown = { outcome: 'unknown-limit', limit: 'tokens' }
    expect(await at([]).consume()).toEqual(unknown)
    expect(await at([], ['calls', 'tokens']).hold(1, { ttlMs: 1_000 })).toEqual(unknown)
    expect(await at([]).remaining()).toEqual(unknown)
    expect(at([]).tryConsume()).toBe('ask')
    expect(await at(['anna'], ['calls', 'tokens']).consume()).toMatchObject({ level: { limit: 'tokens' } })
  })

  it('that are listed without a quantity are free of what each other child has', async () => {
    const { quotas } = stage({ limits: [tokens({ children: { vip: {} }, eachChild: { quantity: 5 } })] })
    const at = (...path: string[]) => quotas.bind({ tenant: 'org', path, limit: 'tokens' })
    expect(await at('vip').consume(90)).toMatchObject({ outcome: 'consumed', remaining: 10 })
    expect(await at('anna').consume(6)).toMatchObject({ outcome: 'refused', level: { path: ['anna'] } })
  })

  it.each(['constructor', '__proto__', 'toString'])('may be named %s', async (name) => {
    const { quotas } = stage({ limits: [tokens({ children: { a: { quantity: 1 } } })] })
    const odd = quotas.bind({ tenant: 'org', path: [name], limit: 'tokens' })
    expect(await odd.consume(100)).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('with reserved parts get theirs, whoever comes first', async () => {
    const children = { a: { quantity: 60 }, b: { quantity: 30 } }
    const { quotas } = stage({ limits: [tokens({ share: 'reserved', children })] })
    const at = (...path: string[]) => quotas.bind({ tenant: 'org', path, limit: 'tokens' })
    expect(await at('other').consume(11)).toMatchObject({ outcome: 'refused', level: { path: [] }, remaining: 10 })
    expect(await at('other').consume(10)).toMatchObject({ outcome: 'consumed' })
    expect(await at('b').consume(31)).toMatchObject({ outcome: 'refused', level: { path: ['b'] }, remaining: 30 })
    expect(await at('a').consume(60)).toMatchObject({ outcome: 'consumed', remaining: 0 })
    expect(await at('b').consume(30)).toMatchObject({ outcome: 'consumed', remaining: 0 })
    expect(await at().consume(1)).toMatchObject({ outcome: 'refused', remaining: 0 })
  })

  it('keep what was used when a limit changes: lowered below it leaves 0, raised gives nothing twice', async () => {
    let plan = tokens({})
    const { quotas } = stage({ limits: () => plan })
    const org = quotas.bind({ tenant: 'org', limit: 'tokens' })
    await org.consume(80)
    plan = tokens({ quantity: 10 })
    expect(await org.consume(1)).toMatchObject({ outcome: 'refused', remaining: 0 })
    plan = tokens({ quantity: 90 })
    expect(await org.consume(11)).toMatchObject({ outcome: 'refused', remaining: 10 })
    expect(await org.consume(10)).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('count what was used out of a pool against the part that is reserved later', async () => {
    let plan = tokens({ children: { a: { quantity: 60 } } })
    const { quotas } = stage({ limits: () => plan })
    const at = (...path: string[]) => quotas.bind({ tenant: 'org', path, limit: 'tokens' })
    await at('a').consume(20)
    plan = tokens({ share: 'reserved', children: { a: { quantity: 60 } } })
    expect(await at().consume(41)).toMatchObject({ outcome: 'refused', remaining: 40 })
    expect(await at().consume(40)).toMatchObject({ outcome: 'consumed' })
    expect(await at('a').consume(40)).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('change although another limit of the quota was not to be found meanwhile', async () => {
    const plans = new Map([
      ['tokens', tokens({})],
      ['calls', { ...tokens({}), name: 'calls' }]
    ])
    const { quotas } = stage({ limits: (_tenant, name) => plans.get(name) })
    const both = quotas.bind({ tenant: 'org', limit: ['tokens', 'calls'] })
    expect(await both.consume()).toMatchObject({ outcome: 'consumed' })
    const calls = plans.get('calls') as Limit
    plans.set('tokens', tokens({ quantity: 10 }))
    plans.delete('calls')
    expect(await both.consume()).toEqual({ outcome: 'unknown-limit', limit: 'calls' })
    plans.set('calls', calls)
    expect(await both.consume(10)).toMatchObject({ outcome: 'refused', remaining: 9 })
  })

  it('are not counted under the name of another limit, and fail no call but their own', async () => {
    const { quotas } = stage({ limits: (_tenant, name) => (name === 'odd' ? tokens({}) : { ...tokens({}), name }) })
    const odd = quotas.bind({ tenant: 'org', limit: ['odd', 'tokens'] }).consume()
    const sound = quotas.bind({ tenant: 'org', limit: 'tokens' }).consume()
    await expect(odd).rejects.toMatchObject({ code: 'INVALID_OPTIONS', detail: { issues: [{ path: 'name' }] } })
    expect(await sound).toMatchObject({ outcome: 'consumed' })
  })

  it('are compiled once for as long as the lookup returns the same object', async () => {
    const plan = tokens({ eachChild: { quantity: 10 } })
    let asked = 0
    const { quotas, store } = stage({
      limits: () => {
        asked += 1
        return plan
      }
    })
    const team = quotas.bind({ tenant: 'org', path: ['a'], limit: 'tokens' })
    for (let call = 0; call < 3; call++) await team.consume()
    const charges = store.calls.map(({ args }) => (args[1] as { charges: unknown }[])[0]?.charges)
    expect(asked).toBe(3)
    expect(new Set(charges).size).toBe(1)
  })
})

const leaf = fc.record({ quantity: fc.nat(1_000) }, { requiredKeys: [] })
const node = fc.record({
  quantity: fc.nat(1_000),
  share: fc.constantFrom('pool', 'reserved'),
  children: fc.dictionary(fc.constantFrom('a', 'b', 'c'), leaf),
  eachChild: leaf
}) as fc.Arbitrary<LimitNode>
const limit = fc
  .tuple(node, node, node)
  .map(([top, a, b]): Limit => ({ ...top, name: 'tokens', period: 'lifetime', children: { a, b } }))
const ratio = fc.tuple(fc.nat(1_000), fc.constant(1_000)).map(([part, whole]) => (part / whole).toFixed(3))

describe('a restricted limit', () => {
  it.each([
    [100, '0.1', 10],
    [99, '0.1', 9],
    [9, '0.1', 0],
    [10, '1', 10],
    [10, '0', 0],
    [9e15, '0.1', 9e14],
    [8_999_999_999_999_999, '0.1', 899_999_999_999_999],
    // 0.29 * 100 is 28.999999999999996 in floats.
    [100, '0.29', 29]
  ])('has floor(quantity x ratio) of %d at %s: %d', (quantity, by, expected) => {
    expect(restrictLimit(tokens({ quantity }), by).quantity).toBe(expected)
  })

  it('has it at every level, and a bucket fills slower', () => {
    const given = tokens({
      share: 'pool',
      children: { a: { quantity: 55 } },
      eachChild: { quantity: 9 },
      period: { refill: 50, perMs: 1_000 }
    })
    expect(restrictLimit(given, '0.1')).toEqual({
      name: 'tokens',
      quantity: 10,
      share: 'pool',
      period: { refill: 5, perMs: 1_000 },
      children: { a: { quantity: 5 } },
      eachChild: { quantity: 0 }
    })
    const slow = restrictLimit(tokens({ period: { refill: 3, perMs: 1_000 } }), '0.1')
    expect(slow.period).toEqual({ refill: 1, perMs: 3_334 })
    expect(restrictLimit(tokens({ period: { refill: 3, perMs: 1_000 } }), '0').quantity).toBe(0)
  })

  it('has no quantity where the plan has none', () => {
    const plan: Limit = { name: 'tokens', period: 'lifetime', eachChild: { quantity: 1_000 } }
    expect(restrictLimit(plan, '0.1')).toEqual({ ...plan, eachChild: { quantity: 100 } })
  })

  it.each(['1.1', '-0.1', '1e-1', '10%', '', 0.1])('is refused with a ratio of %o', (by) => {
    expect(() => restrictLimit(tokens({}), by as string)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })

  test.prop([limit, ratio], { numRuns: Math.ceil(100 * scale) })(
    'has no conflict that the plan has not',
    (plan, by) => {
      const places = (given: Limit) =>
        limitConflicts(given).map(({ conflict, path }) => `${conflict} ${path.join('/')}`)
      expect(places(plan)).toEqual(expect.arrayContaining(places(restrictLimit(plan, by))))
    }
  )

  it('restores exactly: what was used stays used', async () => {
    const plan = tokens({ period: { everyMs: HOUR_MS } })
    const restricted = restrictLimit(plan, '0.1')
    let current = plan
    const { quotas } = stage({ limits: () => current })
    const org = quotas.bind({ tenant: 'org', limit: 'tokens' })
    await org.consume(7)
    current = restricted
    expect(await org.consume(4)).toMatchObject({ outcome: 'refused', remaining: 3 })
    await org.consume(3)
    current = plan
    expect(await org.remaining()).toMatchObject({ remaining: 90 })
  })
})
