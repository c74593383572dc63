import type { JsonValue } from '@enablement/core'
import { type FaultRule, type NodeNetwork, type SimulatedWorld, simulate } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

interface Wire {
  readonly network: NodeNetwork
  readonly world: SimulatedWorld<'a' | 'b'>
  /** What b was asked, in the order of arrival. */
  readonly asked: JsonValue[]
  /** What has become of a request: its answer, an error's code or status, or undefined while there is nothing. */
  ask(message: JsonValue): { end: JsonValue | undefined }
}

/** `body` as it asks from a; b answers `[message]`, after a second when it is asked `slow`. */
async function onWire(faults: readonly FaultRule[], body: (wire: Wire) => Promise<void>): Promise<void> {
  const asked: JsonValue[] = []
  let network: NodeNetwork | undefined
  await simulate({
    seed: 3,
    nodes: {
      a: (process) => {
        network = process.network
      },
      b: ({ network: own, platform }) =>
        own.listen({
          async request(message) {
            asked.push(message)
            if (message === 'throw') throw new Error('b is wrong')
            if (message === 'slow') {
              await new Promise<void>((resolve) => void platform.clock.startTimer(1_000, resolve))
            }
            return [message]
          },
          message: (message) => void asked.push(message)
        })
    },
    network: { faults },
    async run(world) {
      await world.sleep(0)
      const own = network as NodeNetwork
      await body({
        network: own,
        world,
        asked,
        ask(message) {
          const asking: { end: JsonValue | undefined } = { end: undefined }
          own.request('b', message).then(
            (answer) => {
              asking.end = answer
            },
            (error: { readonly code?: string; readonly status?: number }) => {
              asking.end = error.code ?? error.status ?? 'thrown'
            }
          )
          return asking
        }
      })
    }
  })
}

/** Asks once, and gives what became of it and how often b was asked. */
async function once(fault: FaultRule, message: JsonValue = 'x'): Promise<[JsonValue | undefined, number]> {
  let found: [JsonValue | undefined, number] = [undefined, 0]
  await onWire([fault], async ({ ask, world, asked }) => {
    const asking = ask(message)
    await world.sleep(10_000)
    found = [asking.end, asked.length]
  })
  return found
}

describe('the simulated network', () => {
  it('brings a copy of a message there, and the answer back', async () => {
    await onWire([], async ({ network, asked }) => {
      const message = { deep: [1, { at: null }] }
      expect(await network.request('b', message)).toEqual([message])
      expect(asked[0]).toEqual(message)
      expect(asked[0]).not.toBe(message)
    })
  })

  it('takes a time of its own for each, so that they overtake each other', async () => {
    await onWire([], async ({ network, world, asked }) => {
      for (let count = 0; count < 50; count++) network.send('b', count)
      await world.sleep(10)
      expect(asked.length).toBe(50)
      expect(asked).not.toEqual(asked.toSorted((one, other) => (one as number) - (other as number)))
    })
  })

  it('answers 500 for a handler that throws', async () => {
    expect(await once({ kind: 'latency', latencyMs: 1 }, 'throw')).toEqual([500, 1])
  })

  it.each<[FaultRule, JsonValue | undefined, number]>([
    [{ kind: 'drop', lose: 'request' }, undefined, 0],
    [{ kind: 'drop', lose: 'reply' }, undefined, 1],
    [{ kind: 'hang' }, undefined, 0],
    [{ kind: 'partition' }, undefined, 0],
    [{ kind: 'reset', times: 1 }, 'ECONNRESET', 0],
    [{ kind: 'error', code: 'EPIPE' }, 'EPIPE', 0],
    [{ kind: 'duplicate' }, ['x'], 2],
    [{ kind: 'latency', latencyMs: 2_000 }, ['x'], 1],
    [{ kind: 'latency', latencyMs: 6_000 }, undefined, 1],
    [{ kind: 'reset', only: ['b->a'] }, ['x'], 1],
    [{ kind: 'partition', only: ['a->b'], fromMs: 5_000 }, ['x'], 1]
  ])('has faults: %o', async (fault, end, asked) => {
    expect(await once(fault)).toEqual([end, asked])
  })

  it('refuses to cut off, or to strike, what is not there', async () => {
    await onWire([], async ({ world: { network } }) => {
      for (const call of [
        () => network.partition(['c']),
        () => network.partition(['a'], ['c']),
        () => network.faults.add({ kind: 'hang', only: ['a>b'] })
      ]) {
        expect(call).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
      }
      network.faults.add({ kind: 'hang', only: ['b', 'a->b'] })
    })
  })

  it('refuses a fault that messages cannot have', async () => {
    await expect(once({ kind: 'slice', sliceMaxBytes: 1 })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
  })

  it('lets nothing through a partition, nor what was under way, until it heals', async () => {
    await onWire([], async ({ network, world, ask, asked }) => {
      const slow = ask('slow')
      const early = ask('early')
      const heal = world.network.partition(['b'])
      network.send('b', 'lost')
      const during = ask('during')
      await world.sleep(5_000)
      expect([slow.end, early.end, during.end, asked]).toEqual([undefined, undefined, undefined, []])
      heal()
      expect(await network.request('b', 'after')).toEqual(['after'])
      world.network.partition(['a'], ['a'])
      expect(await network.request('b', 'not about b')).toEqual(['not about b'])
    })
  })

  it('loses the answer to a request that arrived before the partition', async () => {
    await onWire([], async ({ world, ask, asked }) => {
      const slow = ask('slow')
      await world.sleep(100)
      world.network.partition(['a'])
      await world.sleep(5_000)
      expect([slow.end, asked]).toEqual([undefined, ['slow']])
    })
  })

  it('loses an answer that was on its way when the partition came', async () => {
    await onWire([{ kind: 'latency', latencyMs: 1_000 }], async ({ world, ask, asked }) => {
      const asking = ask('x')
      await world.sleep(1_500)
      expect(asked).toEqual(['x'])
      const heal = world.network.partition(['a'])
      await world.sleep(2_000)
      heal()
      await world.sleep(5_000)
      expect(asking.end).toBeUndefined()
    })
  })

  it('heals everything at once', async () => {
    await onWire([{ kind: 'hang' }], async ({ network, world }) => {
      world.network.partition(['a'])
      world.network.heal()
      expect(await network.request('b', 'x')).toEqual(['x'])
    })
  })

  it('tells callers that a process has ended or is not there, and nothing when its machine has lost power', async () => {
    for (const [kind, expected] of [
      ['kill', ['ECONNRESET', 'ECONNREFUSED']],
      ['power-cut', [undefined, undefined]]
    ] as const) {
      await onWire([], async ({ world, ask }) => {
        const slow = ask('slow')
        await world.sleep(100)
        world.node('b').crash(kind)
        await world.sleep(100)
        const refused = ask('x')
        await world.sleep(5_000)
        expect([slow.end, refused.end]).toEqual(expected)
        world.node('b').restart()
        await world.sleep(1)
        const again = ask('again')
        await world.sleep(100)
        expect(again.end).toEqual(['again'])
      })
    }
  })

  it('ends a request with the reason of its signal, and leaves no listener', async () => {
    await onWire([{ kind: 'hang', times: 1 }], async ({ network }) => {
      const controller = new AbortController()
      const { signal } = controller
      let listeners = 0
      const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
      signal.addEventListener = (...args: Parameters<typeof add>) => {
        listeners += 1
        add(...args)
      }
      signal.removeEventListener = (...args: Parameters<typeof remove>) => {
        listeners -= 1
        remove(...args)
      }
      const hung = network.request('b', 'x', { signal })
      expect(await network.request('b', 'y', { signal })).toEqual(['y'])
      await expect(network.request('c', 'x', { signal })).rejects.toMatchObject({ code: 'ENOTFOUND' })
      expect(listeners).toBe(1)
      const reason = new Error('enough')
      controller.abort(reason)
      await expect(hung).rejects.toBe(reason)
      await expect(network.request('b', 'z', { signal })).rejects.toBe(reason)
    })
  })

  it('asks a listener that is an object with a state of its own', async () => {
    class Counter {
      count = 0
      request() {
        this.count += 1
        return this.count
      }
    }
    const answers: JsonValue[] = []
    await simulate({
      seed: 1,
      nodes: {
        b: ({ network }) => network.listen(new Counter()),
        async a({ network }) {
          for (const message of ['x', 'y']) answers.push(await network.request('b', message))
        }
      },
      run: (world) => world.until('both are answered', () => answers.length === 2, { withinMs: 1_000 })
    })
    expect(answers).toEqual([1, 2])
  })

  it('refuses what is no JSON, and a node that there is not', async () => {
    await onWire([], async ({ network }) => {
      await expect(network.request('b', Number.NaN)).rejects.toMatchObject({ code: 'NOT_JSON' })
      expect(() => network.send('b', undefined as never)).toThrow(expect.objectContaining({ code: 'NOT_JSON' }))
      await expect(network.request('c', 1)).rejects.toMatchObject({ code: 'ENOTFOUND' })
      expect(() => network.send('c', 1)).toThrow(expect.objectContaining({ code: 'ENOTFOUND' }))
    })
  })
})
