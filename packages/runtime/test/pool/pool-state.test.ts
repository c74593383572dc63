import { conformanceTests, virtualClock } from '@enablement/core/testing'
import type { PoolExchange } from '@enablement/runtime'
import { memoryPoolState } from '@enablement/runtime/memory'
import { type CreatePoolState, poolStateConformance } from '@enablement/runtime/testing'
import { describe, expect, it } from 'vitest'

const create: CreatePoolState = async () => {
  const clock = virtualClock()
  let monotonicMs = 0
  const store = memoryPoolState({ clock: { ...clock, monotonic: () => monotonicMs } })
  return {
    store,
    pool: 'pool',
    another: async () => store,
    pass: (durationMs) => {
      monotonicMs += durationMs
    },
    [Symbol.asyncDispose]: async () => undefined
  }
}

describe('the pool state in memory', () => {
  for (const { name, run } of conformanceTests(poolStateConformance, { create, supports: {} })) it(name, run)

  it('tells a member of what another’s exchange has given it or wants of it, until it stops watching', async () => {
    const store = memoryPoolState()
    const told: string[] = []
    const stop = store.watch?.('pool', 'a', () => told.push('a'))
    store.watch?.('pool', 'b', () => told.push('b'))
    const say = (member: string, sequence: number, commands: PoolExchange['commands']) =>
      store.exchange('pool', {
        member,
        sequence,
        leaseMs: 60_000,
        kind: sequence === 1 ? 'join' : 'stay',
        wanted: 0,
        commands,
        rules: {
          capacity: 1,
          coldMax: 0,
          tenantMax: 9,
          queueMax: 9,
          agingMs: 1,
          preemptionsPerMinute: 9,
          cooldownMs: 0
        },
        stock: { ready: 0, starting: 0, closing: 0 }
      })
    const enter = (claim: string, priority: number) => {
      const draft = { claim, tenant: 't', priority, creditMs: 0, preemptible: true, shieldMs: 0 }
      return [{ type: 'enter' as const, ...draft }]
    }
    await say('a', 1, enter('1', 0))
    await say('b', 1, [])
    expect(told).toEqual([])
    await say('b', 2, enter('2', 1))
    expect(told).toEqual(['a'])
    await say('a', 2, [{ type: 'end', claim: '1' }])
    expect(told).toEqual(['a', 'b'])
    stop?.()
    await say('a', 3, enter('3', 1))
    await say('b', 3, [{ type: 'end', claim: '2' }])
    expect(told).toEqual(['a', 'b'])
  })
})
