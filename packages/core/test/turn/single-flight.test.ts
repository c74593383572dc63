import { getEventListeners } from 'node:events'
import { createSingleFlight } from '@enablement/core'
import { describe, expect, it } from 'vitest'

describe('single flight', () => {
  it('starts work once for the callers of one key and gives all of them its result', async () => {
    const flight = createSingleFlight<number>()
    const gate = Promise.withResolvers<number>()
    let started = 0
    const calls = Array.from({ length: 5 }, () =>
      flight.run('a', () => {
        started += 1
        return gate.promise
      })
    )
    const other = flight.run('b', async () => 7)
    gate.resolve(42)
    expect(await Promise.all(calls)).toEqual([42, 42, 42, 42, 42])
    expect([await other, started]).toEqual([7, 1])
  })

  it('gives a failure to those who waited for it and does not remember it', async () => {
    const flight = createSingleFlight<string>()
    const gate = Promise.withResolvers<string>()
    const calls = [flight.run('a', () => gate.promise), flight.run('a', () => gate.promise)]
    gate.reject(new Error('down'))
    expect((await Promise.allSettled(calls)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await flight.run('a', async () => 'up')).toBe('up')
  })

  it('does not remember work that throws before it starts', async () => {
    const flight = createSingleFlight<string>()
    const thrown = flight.run('a', () => {
      throw new Error('at once')
    })
    await expect(thrown).rejects.toThrow('at once')
    expect(await flight.run('a', async () => 'fine')).toBe('fine')
  })

  it('lets a caller stop waiting without stopping the work for the others, the first caller included', async () => {
    const flight = createSingleFlight<string>()
    const gate = Promise.withResolvers<string>()
    const abort = new AbortController()
    const leader = flight.run('a', () => gate.promise, { signal: abort.signal })
    const follower = flight.run('a', () => Promise.reject(new Error('started twice')))
    abort.abort(new Error('enough'))
    await expect(leader).rejects.toThrow('enough')
    gate.resolve('result')
    expect(await follower).toBe('result')
  })

  it('leaves no listener and no unhandled rejection when everyone has stopped waiting', async () => {
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', note)
    const flight = createSingleFlight<string>()
    const gate = Promise.withResolvers<string>()
    const abort = new AbortController()
    const call = flight.run('a', () => gate.promise, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    gate.reject(new Error('too late'))
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  })

  it('leaves no listener on a signal when the work ends first', async () => {
    const flight = createSingleFlight<string>()
    const { signal } = new AbortController()
    await Promise.all([flight.run('a', async () => 'a', { signal }), flight.run('a', async () => 'a', { signal })])
    await Promise.resolve()
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('refuses new keys when flightsMax are under way, and still joins the ones that are', async () => {
    const flight = createSingleFlight<string>({ flightsMax: 1 })
    const gate = Promise.withResolvers<string>()
    const first = flight.run('a', () => gate.promise)
    await expect(flight.run('b', async () => 'b')).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { what: 'single flight', waiting: 1, limit: 1 }
    })
    const joined = flight.run('a', async () => 'never')
    gate.resolve('a')
    expect([await first, await joined, await flight.run('b', async () => 'b')]).toEqual(['a', 'a', 'b'])
  })

  it.each([{ flightsMax: 0 }, { flightsMax: Number.NaN }, { flights: 5 }])('refuses %j', (options) => {
    expect(() => createSingleFlight(options as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
