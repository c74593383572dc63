import { getEventListeners } from 'node:events'
import { createBulkhead } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('bulkhead', () => {
  it('runs runningMax at once, lets waitingMax wait in order, and refuses the rest (pitfall 15)', async () => {
    const bulkhead = createBulkhead({ name: 'db', runningMax: 2, waitingMax: 2 })
    const gates = Array.from({ length: 4 }, () => Promise.withResolvers<number>())
    const begun: number[] = []
    const runs = gates.map((gate, at) =>
      bulkhead.execute(() => {
        begun.push(at)
        return gate.promise
      })
    )
    await turn()
    expect([begun, bulkhead.running, bulkhead.waiting]).toEqual([[0, 1], 2, 2])
    await expect(bulkhead.execute(() => 5)).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { what: 'bulkhead db', waiting: 2, limit: 2 }
    })
    gates[1]?.resolve(1)
    await turn()
    expect(begun).toEqual([0, 1, 2])
    for (const [at, gate] of gates.entries()) gate.resolve(at)
    expect(await Promise.all(runs)).toEqual([0, 1, 2, 3])
    expect([bulkhead.running, bulkhead.waiting]).toEqual([0, 0])
  })

  it('gives up on a wait after waitMaxMs', async () => {
    const platform = testPlatform()
    const bulkhead = createBulkhead({ name: 'db', runningMax: 1, waitingMax: 5, waitMaxMs: 100, platform })
    const gate = Promise.withResolvers<void>()
    const held = bulkhead.execute(() => gate.promise)
    const waiting = bulkhead.execute(() => 'never').catch((error: unknown) => error)
    await platform.clock.advance(100)
    expect(await waiting).toMatchObject({ code: 'OVERLOADED' })
    expect([bulkhead.waiting, platform.clock.pendingTimers]).toEqual([0, 0])
    gate.resolve()
    await held
    expect(await bulkhead.execute(() => 'free')).toBe('free')
  })

  it('drops a caller whose signal aborts while it waits, and leaves no listener however a wait ends (pitfall 14)', async () => {
    const platform = testPlatform()
    const bulkhead = createBulkhead({ name: 'db', runningMax: 1, waitingMax: 5, waitMaxMs: 1_000, platform })
    const gate = Promise.withResolvers<void>()
    const held = bulkhead.execute(() => gate.promise)
    const caller = new AbortController()
    const left = bulkhead.execute(() => 'never', { signal: caller.signal })
    const other = new AbortController()
    const next = bulkhead.execute(() => 'next', { signal: other.signal })
    caller.abort(new Error('the user left'))
    await expect(left).rejects.toThrow('the user left')
    gate.resolve()
    await held
    expect(await next).toBe('next')
    expect(platform.clock.pendingTimers).toBe(0)
    expect([caller, other].flatMap(({ signal }) => getEventListeners(signal, 'abort'))).toEqual([])
  })

  test.prop([
    fc.integer({ min: 1, max: 3 }),
    fc.array(fc.record({ turns: fc.nat(3), fails: fc.boolean(), aborts: fc.boolean() }), { maxLength: 25, size: 'max' })
  ])('never runs more than it may, and loses no place', async (runningMax, calls) => {
    const bulkhead = createBulkhead({ name: 'any', runningMax, waitingMax: 100 })
    let inside = 0
    await Promise.allSettled(
      calls.map(({ turns, fails, aborts }) => {
        const caller = new AbortController()
        if (aborts) setImmediate(() => caller.abort(new Error('left')))
        return bulkhead.execute(
          async () => {
            inside += 1
            expect(inside).toBeLessThanOrEqual(runningMax)
            for (let at = 0; at < turns; at++) await turn()
            inside -= 1
            if (fails) throw new Error('failed')
          },
          { signal: caller.signal }
        )
      })
    )
    expect([bulkhead.running, bulkhead.waiting]).toEqual([0, 0])
  })

  it.each([{ runningMax: 0 }, { runningMax: 1, waitingMax: -1 }, { runningMax: 1, waitMaxMs: 0 }])(
    'refuses %j',
    (options) => {
      expect(() => createBulkhead({ name: 'db', ...options })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS' })
      )
    }
  )
})
