import { type CircuitBreaker, type CircuitBreakerOptions, createCircuitBreaker } from '@enablement/core'
import { createSharedCircuitBreaker, memoryBreakerStateStore } from '@enablement/core/fleet'
import {
  type CreateCircuitBreaker,
  circuitBreakerConformance,
  conformanceTests,
  testPlatform
} from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { brokenCircuitBreakers } from './broken-circuit-breakers.ts'

const supports = { 'slow-calls': true, ramp: true, overrides: true, snapshots: true }

const creating =
  (make: (options: CircuitBreakerOptions) => CircuitBreaker): CreateCircuitBreaker =>
  async (options) => {
    const platform = testPlatform()
    const breaker = make({ ...options, name: 'examined', platform })
    return { breaker, clock: platform.clock, [Symbol.asyncDispose]: async () => {} }
  }

const exam = (create: CreateCircuitBreaker) => conformanceTests(circuitBreakerConformance, { create, supports })

describe('circuit breaker: the exam', () => {
  for (const { name, run } of exam(creating(createCircuitBreaker))) it(name, run)
})

describe('shared circuit breaker whose store is away: the exam', () => {
  const create: CreateCircuitBreaker = async (options) => {
    const platform = testPlatform()
    const store = memoryBreakerStateStore({ platform })
    const read = () => Promise.reject(new Error('away'))
    const breaker = createSharedCircuitBreaker({
      ...options,
      name: 'examined',
      platform,
      store: { ...store, read },
      // A day of polls is no part of the exam.
      pollMs: 60_000
    })
    await platform.clock.advance(0)
    return { breaker, clock: platform.clock, [Symbol.asyncDispose]: () => breaker.close() }
  }
  for (const { name, run } of exam(create)) it(name, run)
})

describe('the exam of circuit breakers', () => {
  it.for(brokenCircuitBreakers)('fails a breaker that $name', async ({ make, caughtBy }) => {
    const failed: string[] = []
    for (const { name, run } of exam(creating(make))) await run().catch(() => failed.push(name))
    expect(failed).toContain(caughtBy)
  })
})
