import { getEventListeners } from 'node:events'
import { createSemaphore } from '@enablement/core'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('semaphore', () => {
  test.prop([
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.record({ turns: fc.nat(3), fails: fc.boolean() }), { maxLength: 30 })
  ])('lets as many work at a time as it has places, and never fewer than it could', async (places, calls) => {
    const semaphore = createSemaphore({ places, waitingMax: 100 })
    let working = 0
    let peak = 0
    await Promise.allSettled(
      calls.map(({ turns, fails }) =>
        semaphore.run(async () => {
          working += 1
          peak = Math.max(peak, working)
          for (let at = 0; at <= turns; at++) await turn()
          working -= 1
          if (fails) throw new Error('failed')
        })
      )
    )
    expect(peak).toBe(Math.min(places, calls.length))
    expect(working).toBe(0)
  })

  it('serves those who wait in the order they came, before any newcomer', async () => {
    const semaphore = createSemaphore({ places: 1, waitingMax: 10 })
    const order: string[] = []
    const gate = Promise.withResolvers<void>()
    const holder = semaphore.run(() => gate.promise)
    const waiting = ['a', 'b'].map((name) => semaphore.run(() => void order.push(name)))
    const newcomer = holder.then(() => semaphore.run(() => void order.push('newcomer')))
    gate.resolve()
    await Promise.all([...waiting, newcomer])
    expect(order).toEqual(['a', 'b', 'newcomer'])
  })

  it('drops a caller whose signal aborts while it waits, without losing the place', async () => {
    const semaphore = createSemaphore({ places: 1, waitingMax: 10 })
    const abort = new AbortController()
    const gate = Promise.withResolvers<void>()
    const holder = semaphore.run(() => gate.promise)
    const aborted = semaphore.run(() => 'never', { signal: abort.signal })
    const next = semaphore.run(() => 'next')
    await turn()
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    gate.resolve()
    await holder
    expect(await next).toBe('next')
    expect(await semaphore.run(() => 'free again')).toBe('free again')
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  })

  it('refuses a caller when waitingMax already wait', async () => {
    const semaphore = createSemaphore({ places: 1, waitingMax: 1 })
    const gate = Promise.withResolvers<void>()
    const runs = [semaphore.run(() => gate.promise), semaphore.run(() => gate.promise)]
    await expect(semaphore.run(() => {})).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { what: 'semaphore', waiting: 1, limit: 1 }
    })
    gate.resolve()
    await Promise.all(runs)
    expect(await semaphore.run(() => 'free')).toBe('free')
  })

  it.each([
    ['no places, on which all would wait for ever', { places: 0, waitingMax: 1 }, 'places'],
    ['NaN places', { places: Number.NaN, waitingMax: 1 }, 'places'],
    ['no bound on those who wait', { places: 1 }, 'waitingMax'],
    ['an infinite bound', { places: 1, waitingMax: Number.POSITIVE_INFINITY }, 'waitingMax']
  ])('is refused with %s', (_what, options, path) => {
    expect(() => createSemaphore(options as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createSemaphore', issues: [expect.objectContaining({ path })] }
      })
    )
  })
})
