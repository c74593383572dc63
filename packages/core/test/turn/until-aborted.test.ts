import { getEventListeners } from 'node:events'
import { untilAborted } from '@enablement/core'
import { describe, expect, it } from 'vitest'

describe('waiting until a signal aborts', () => {
  it('gives what the work comes to, and leaves no listener behind', async () => {
    const { signal } = new AbortController()
    expect(await untilAborted(Promise.resolve(7), signal)).toBe(7)
    await expect(untilAborted(Promise.reject(new Error('down')), signal)).rejects.toThrow('down')
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('ends with the reason of the signal, whatever the work comes to later', async () => {
    const abort = new AbortController()
    const work = Promise.withResolvers<number>()
    const waiting = untilAborted(work.promise, abort.signal)
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    work.reject(new Error('late'))
    await expect(waiting).rejects.toBe(reason)
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  })
})
