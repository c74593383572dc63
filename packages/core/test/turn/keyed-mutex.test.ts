import { getEventListeners } from 'node:events'
import { createKeyedMutex } from '@enablement/core'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

describe('keyed mutex', () => {
  it('lets one caller at a time through per key, in the order they came', async () => {
    const mutex = createKeyedMutex()
    const trace: string[] = []
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const runs = gates.map((gate, at) =>
      mutex.run('a', async () => {
        trace.push(`${at} in`)
        await gate.promise
        trace.push(`${at} out`)
        return at
      })
    )
    for (const gate of gates.toReversed()) gate.resolve()
    expect(await Promise.all(runs)).toEqual([0, 1, 2])
    expect(trace).toEqual(['0 in', '0 out', '1 in', '1 out', '2 in', '2 out'])
  })

  it('lets callers of other keys pass meanwhile', async () => {
    const mutex = createKeyedMutex()
    const gate = Promise.withResolvers<string>()
    const held = mutex.run('a', () => gate.promise)
    expect(await mutex.run('b', () => 'b')).toBe('b')
    gate.resolve('a')
    expect(await held).toBe('a')
  })

  it('passes the turn on when work throws, synchronously or later', async () => {
    const mutex = createKeyedMutex()
    const runs = [
      mutex.run('a', () => {
        throw new Error('at once')
      }),
      mutex.run('a', () => Promise.reject(new Error('later'))),
      mutex.run('a', () => 'fine')
    ]
    expect(await Promise.allSettled(runs)).toEqual([
      { status: 'rejected', reason: new Error('at once') },
      { status: 'rejected', reason: new Error('later') },
      { status: 'fulfilled', value: 'fine' }
    ])
  })

  it('drops a caller whose signal aborts while it waits, and keeps the order of the others', async () => {
    const mutex = createKeyedMutex()
    const gate = Promise.withResolvers<void>()
    const abort = new AbortController()
    const ran: string[] = []
    const holder = mutex.run('a', () => gate.promise)
    const first = mutex.run('a', () => void ran.push('first'))
    const aborted = mutex.run('a', () => void ran.push('aborted'), { signal: abort.signal })
    const last = mutex.run('a', () => void ran.push('last'))
    await Promise.resolve()
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    gate.resolve()
    await Promise.all([holder, first, last])
    expect(ran).toEqual(['first', 'last'])
  })

  it('leaves no listener on a signal, however the wait ends', async () => {
    const mutex = createKeyedMutex()
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 5 }, () => mutex.run('a', async () => {}, { signal })))
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('does not begin for a signal that has aborted, nor abort work that has begun', async () => {
    const mutex = createKeyedMutex()
    const abort = new AbortController()
    const gate = Promise.withResolvers<string>()
    const begun = mutex.run('a', () => gate.promise, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(mutex.run('b', () => 'never', { signal: abort.signal })).rejects.toThrow('enough')
    gate.resolve('done')
    expect(await begun).toBe('done')
  })

  it('refuses a caller when waitingMax already wait for its key, and takes it when they have gone', async () => {
    const mutex = createKeyedMutex({ waitingMax: 2 })
    const gate = Promise.withResolvers<void>()
    const runs = [1, 2, 3].map(() => mutex.run('a', () => gate.promise))
    await expect(mutex.run('a', () => {})).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { waiting: 2, limit: 2 }
    })
    expect(await mutex.run('b', () => 'b')).toBe('b')
    gate.resolve()
    await Promise.all(runs)
    expect(await mutex.run('a', () => 'a')).toBe('a')
  })

  it('does not show the key of an overloaded queue, which may be a name', async () => {
    const mutex = createKeyedMutex({ waitingMax: 0 })
    const held = mutex.run('alice@example.org', () => new Promise<void>((resolve) => setImmediate(resolve)))
    const error = await mutex.run('alice@example.org', () => {}).catch((thrown: unknown) => thrown)
    expect(JSON.stringify(error)).not.toContain('alice')
    await held
  })

  test.prop([
    fc.array(
      fc.record({ key: fc.constantFrom('a', 'b'), turns: fc.nat(3), fails: fc.boolean(), aborts: fc.boolean() }),
      {
        maxLength: 30
      }
    )
  ])('never lets two in at once and never loses a turn', async (calls) => {
    const mutex = createKeyedMutex()
    const inside = new Map<string, number>()
    let entered = 0
    const settled = await Promise.allSettled(
      calls.map(async ({ key, turns, fails, aborts }) => {
        const abort = new AbortController()
        if (aborts) setImmediate(() => abort.abort(new Error('aborted')))
        await mutex.run(
          key,
          async () => {
            entered += 1
            inside.set(key, (inside.get(key) ?? 0) + 1)
            expect(inside.get(key)).toBe(1)
            for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
            inside.set(key, 0)
            if (fails) throw new Error('failed')
          },
          { signal: abort.signal }
        )
      })
    )
    const abortedOutside = settled.filter((one) => one.status === 'rejected' && one.reason.message === 'aborted').length
    expect(entered + abortedOutside).toBe(calls.length)
  })

  it.each([{ waitingMax: -1 }, { waitingMax: 0.5 }, { waitingMax: Number.NaN }, { waiting: 5 }])(
    'refuses %j',
    (options) => {
      expect(() => createKeyedMutex(options as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    }
  )
})
