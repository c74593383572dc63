import { setMaxListeners } from 'node:events'
import { testPlatform } from '@enablement/core/testing'
import type { Limit } from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'
import { settled, stage } from './stage.ts'

describe('spends of one tick', () => {
  it('go to the store together, each quota in a group of its own, in the order they were asked', async () => {
    const { quotas, store } = stage()
    const a = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const b = quotas.bind({ tenant: 'org', path: ['b'], limit: 'llm-tokens' })
    const answers = await Promise.all([a.consume(1), b.consume(2), a.consume(3, { idempotencyKey: 'k' }), a.consume(4)])
    expect(answers.map((answer) => 'remaining' in answer && answer.remaining)).toEqual([9_999, 9_990, 9_996, 9_992])
    expect(store.calls).toMatchObject([
      {
        method: 'consume',
        args: ['org', [{ amounts: [1, 3, 4], keys: [undefined, 'k', undefined] }, { amounts: [2] }]]
      }
    ])
  })

  it('wait while a call of their tenant is under way, and of no other', async () => {
    const { quotas, store } = stage()
    const org = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const other = quotas.bind({ tenant: 'other', limit: 'llm-tokens' })
    const open = store.stall()
    const first = org.consume(1)
    await settled()
    const rest = Array.from({ length: 5 }, () => org.consume(1))
    const elsewhere = other.consume(1)
    await settled()
    expect(store.calls.map(({ args }) => args[0])).toEqual(['org', 'other'])
    open()
    await Promise.all([first, elsewhere, ...rest])
    expect(store.calls).toHaveLength(3)
    expect(store.calls[2]?.args[1]).toMatchObject([{ amounts: [1, 1, 1, 1, 1] }])
  })

  it('are cut to what a store takes at once', async () => {
    const { quotas, store } = stage({ observe: () => undefined })
    const seats = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const answers = await Promise.all(Array.from({ length: 10_001 }, () => seats.consume()))
    expect(answers.filter(({ outcome }) => outcome === 'consumed')).toHaveLength(10_000)
    const sizes = store.calls.map(({ args }) => (args[1] as { amounts: number[] }[])[0]?.amounts.length)
    expect(sizes).toEqual([4_096, 4_096, 1_809])
  })

  it('are not sent for a caller that has given up before, and not taken back for one that gives up after', async () => {
    const { quotas, store } = stage()
    const org = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const before = new AbortController()
    const gone = org.consume(100, { signal: before.signal, idempotencyKey: 'gone' })
    const stays = org.consume(1, { idempotencyKey: 'stays' })
    before.abort(new Error('gone'))
    await expect(gone).rejects.toThrow('gone')
    expect(await stays).toMatchObject({ remaining: 9_999 })
    expect(store.calls[0]?.args[1]).toMatchObject([{ amounts: [1], keys: ['stays'] }])

    const open = store.stall()
    const after = new AbortController()
    const late = org.consume(100, { signal: after.signal })
    const neighbour = org.consume(1)
    await settled()
    after.abort(new Error('too late'))
    await expect(late).rejects.toThrow('too late')
    open()
    expect(await neighbour).toMatchObject({ remaining: 9_898 })
  })

  it('leave no listener on a signal that is shared', async () => {
    const { quotas } = stage()
    const org = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const { signal } = new AbortController()
    let listeners = 0
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1
      remove(...args)
    }
    await Promise.all([org.consume(1, { signal }), org.consume(1, { signal })])
    expect(listeners).toBe(0)
  })

  it('of one tenant are turned away beyond 25,000 that wait, to the next 4,096, with the reason, and leave room for others', async () => {
    const { quotas, store } = stage({ observe: () => undefined })
    const org = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const open = store.stall()
    const first = org.consume()
    await settled()
    const waiting = Array.from({ length: 28_672 }, () => org.consume())
    const overloaded = { outcome: 'unavailable', allowed: false, reason: 'overloaded' }
    expect(await org.consume()).toEqual(overloaded)
    expect(await quotas.bind({ tenant: 'org', path: ['a'], limit: 'llm-tokens' }).consume()).toEqual(overloaded)
    const other = quotas.bind({ tenant: 'other', limit: 'llm-tokens' }).consume()
    open()
    expect(await other).toMatchObject({ outcome: 'consumed' })
    const outcomes = await Promise.all([first, ...waiting])
    expect(outcomes.filter(({ outcome }) => outcome === 'consumed')).toHaveLength(10_000)
    expect(await org.consume()).toMatchObject({ outcome: 'refused' })
  })

  it('of all tenants are turned away beyond 100,000 that wait', async () => {
    const { quotas, store } = stage({ observe: () => undefined })
    const open = store.stall()
    const tenants = Array.from({ length: 5 }, (_, at) => quotas.bind({ tenant: `t${at}`, limit: 'llm-tokens' }))
    const first = tenants.map((tenant) => tenant.consume())
    await settled()
    const waiting = tenants.flatMap((tenant) => Array.from({ length: 20_000 }, () => tenant.consume()))
    expect(await tenants[0]?.consume()).toMatchObject({ reason: 'overloaded' })
    open()
    const outcomes = await Promise.all([...first, ...waiting])
    expect(outcomes.filter(({ outcome }) => outcome === 'consumed')).toHaveLength(50_000)
  })

  it('take their place until they are sent, also when their callers have given up', async () => {
    const { quotas, store } = stage({ observe: () => undefined })
    const org = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const open = store.stall()
    const first = org.consume()
    await settled()
    const reason = new Error('gone')
    for (let caller = 0; caller < 287; caller++) {
      const givenUp = new AbortController()
      setMaxListeners(0, givenUp.signal)
      for (let call = 0; call < 100; call++) org.consume(1, { signal: givenUp.signal }).catch(() => undefined)
      givenUp.abort(reason)
    }
    expect(await org.consume()).toMatchObject({ outcome: 'unavailable', reason: 'overloaded' })
    open()
    await first
    await settled()
    expect(await org.consume()).toMatchObject({ outcome: 'consumed', remaining: 9_998 })
  })

  it('of many tenants leave no lane behind that grows without bound', async () => {
    const { quotas } = stage({ observe: () => undefined })
    const outcomes = await Promise.all(
      Array.from({ length: 12_000 }, (_, at) => quotas.bind({ tenant: `t${at}`, limit: 'seats' }).consume())
    )
    expect(outcomes.every(({ outcome }) => outcome === 'consumed')).toBe(true)
  })

  it('fail with a store that answers something else than it was asked', async () => {
    const { quotas, store } = stage({ onStoreFailure: 'allow' })
    Object.assign(store, { consume: () => Promise.resolve([[]]) })
    const org = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    await expect(org.consume()).rejects.toThrow(TypeError)
  })
})

describe('spends to a store that has use for a second call', () => {
  const pipelined = () => {
    const platform = testPlatform()
    const memory = memoryQuotaStore({ platform })
    const supports = { ...memory.supports, pipelined: true }
    const { quotas, store } = stage({ platform, underlying: { ...memory, supports } })
    const org = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const sizes = () =>
      store.calls.map(({ args }) => (args[1] as { amounts: number[] }[]).map(({ amounts }) => amounts.length))
    return { org, store, sizes }
  }

  it('are divided among two calls when many wait, and wait while both are under way', async () => {
    const { org, store, sizes } = pipelined()
    const open = store.stall()
    const first = Array.from({ length: 600 }, () => org.consume())
    await settled()
    const then = Array.from({ length: 300 }, () => org.consume())
    await settled()
    expect(sizes()).toEqual([[256], [256, 88]])
    open()
    const remaining = (await Promise.all([...first, ...then])).map(
      (answer) => 'remaining' in answer && answer.remaining
    )
    expect(remaining.toSorted((one, other) => Number(other) - Number(one))).toEqual(
      Array.from({ length: 900 }, (_, at) => 9_999 - at)
    )
    expect(
      sizes()
        .flat(2)
        .reduce((sum, size) => sum + size)
    ).toBe(900)
  })

  it('go together when they are few', async () => {
    const { org, store, sizes } = pipelined()
    const open = store.stall()
    const first = Array.from({ length: 127 }, () => org.consume())
    await settled()
    expect(sizes()).toEqual([[127]])
    const more = Array.from({ length: 200 }, () => org.consume())
    await settled()
    expect(sizes()).toEqual([[127], [200]])
    open()
    await Promise.all([...first, ...more])
  })

  it('draw each on the limits of its own call', async () => {
    const platform = testPlatform()
    const memory = memoryQuotaStore({ platform })
    let plan: Limit = { name: 'plan', quantity: 1, period: 'lifetime' }
    const { quotas, store } = stage({
      platform,
      underlying: { ...memory, supports: { ...memory.supports, pipelined: true } },
      limits: () => plan
    })
    const org = quotas.bind({ tenant: 'org', path: ['a'], limit: 'plan' })
    await org.consume()
    const open = store.stall()
    const one = org.consume()
    await settled()
    plan = { ...plan, children: { a: { quantity: 1 } } }
    const other = org.consume()
    await settled()
    open()
    expect([await one, await other]).toMatchObject([
      { outcome: 'refused', level: { limit: 'plan', path: [] } },
      { outcome: 'refused', level: { limit: 'plan', path: [] } }
    ])
  })
})
