import { getEventListeners } from 'node:events'
import {
  createBulkhead,
  createCircuitBreaker,
  createPipeline,
  createRetry,
  createTimeout,
  createTokenBucket,
  type Policy
} from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

function traced(name: string, trace: string[]): Policy {
  return {
    async execute(work, options) {
      trace.push(`${name} in`)
      try {
        return await work(options as never)
      } finally {
        trace.push(`${name} out`)
      }
    }
  }
}

function standard() {
  const platform = testPlatform()
  const retry = createRetry({
    effects: 'repeatable',
    attemptsMax: 5,
    backoff: { jitter: 'none', baseMs: 10, maxMs: 10 },
    deadlineMs: 5_000,
    platform
  })
  const bucket = createTokenBucket({ perSecond: 1, burst: 100, platform })
  const breaker = createCircuitBreaker({ name: 'api', window: { kind: 'consecutive', failures: 3 }, platform })
  const bulkhead = createBulkhead({ name: 'api', runningMax: 1 })
  const timeout = createTimeout({ timeoutMs: 100, platform })
  const pipeline = createPipeline([retry, bucket, breaker, bulkhead, timeout])
  return { platform, bucket, breaker, bulkhead, pipeline }
}

describe('pipeline', () => {
  it('puts the first policy outermost', async () => {
    const trace: string[] = []
    const pipeline = createPipeline([traced('a', trace), traced('b', trace), traced('c', trace)])
    expect(await pipeline.execute(() => trace.push('work'))).toBe(4)
    expect(trace).toEqual(['a in', 'b in', 'c in', 'work', 'c out', 'b out', 'a out'])
  })

  it('is a policy, and can be one of a pipeline', async () => {
    const trace: string[] = []
    const inner = createPipeline([traced('b', trace), traced('c', trace)])
    await createPipeline([traced('a', trace), inner]).execute(() => 1)
    expect(trace.slice(0, 3)).toEqual(['a in', 'b in', 'c in'])
  })

  it('in the documented order: every attempt is bounded, counts against the rate and is evidence to the breaker', async () => {
    const { platform, bucket, breaker, bulkhead, pipeline } = standard()
    const signals: AbortSignal[] = []
    const ended = pipeline
      .execute(({ signal }) => {
        signals.push(signal)
        return new Promise(() => {})
      })
      .catch((error: unknown) => error)
    await platform.clock.advance(1_000)
    // The third timeout opened the breaker, and the fourth attempt was told so.
    expect(await ended).toMatchObject({ code: 'CIRCUIT_OPEN' })
    expect(signals.map((signal) => signal.aborted)).toEqual([true, true, true])
    expect(Math.round(bucket.tokens)).toBe(97)
    expect([breaker.state, bulkhead.running, platform.clock.pendingTimers]).toEqual(['open', 0, 0])
  })

  it('passes the abort of the caller on to the work, and leaves no listener', async () => {
    const { platform, breaker, pipeline } = standard()
    const caller = new AbortController()
    let seen: unknown
    const ended = pipeline
      .execute(
        ({ signal }) => {
          signal.addEventListener('abort', () => {
            seen = signal.reason
          })
          return new Promise(() => {})
        },
        { signal: caller.signal }
      )
      .catch((error: unknown) => error)
    await platform.clock.advance(50)
    const reason = new Error('the user left')
    caller.abort(reason)
    expect(await ended).toBe(reason)
    expect(seen).toBe(reason)
    await platform.clock.advance(0)
    expect(breaker.stats()).toMatchObject({ ignored: 1, window: { failures: 0 } })
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('gives what the work gives, and throws what it throws', async () => {
    const { pipeline } = standard()
    expect(await pipeline.execute(() => 'fine')).toBe('fine')
    await expect(pipeline.execute(() => Promise.reject(new Error('bug')))).rejects.toThrow('bug')
  })

  it.each([[[]], [[{}]], [[null]]])('refuses %j', (policies) => {
    expect(() => createPipeline(policies as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
