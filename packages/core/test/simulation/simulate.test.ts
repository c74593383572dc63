import process from 'node:process'
import { type Clock, type CoreError, createCircuitBreaker, sleep } from '@enablement/core'
import { changes } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type SimulatedProcess, type SimulatedWorld, type SimulationOptions, simulate } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

type Options = Partial<SimulationOptions<'a' | 'b', unknown>>

const nobody = (): void => {}
const run = (options: Options & Pick<SimulationOptions<'a' | 'b', unknown>, 'run'>) =>
  simulate({ seed: 1, nodes: { a: nobody, b: nobody }, ...options })

async function failureOf(options: Parameters<typeof run>[0]): Promise<CoreError<'SIMULATION_FAILED'>> {
  const failure = await run(options).then(
    () => undefined,
    (error: CoreError) => error
  )
  expect(failure?.code).toBe('SIMULATION_FAILED')
  return failure as CoreError<'SIMULATION_FAILED'>
}

/** The process that a node has while the simulation runs. */
async function withProcess(
  options: Options,
  body: (given: SimulatedProcess, world: SimulatedWorld<'a' | 'b'>) => Promise<void>
) {
  let given: SimulatedProcess | undefined
  return run({
    ...options,
    nodes: {
      a(process) {
        given = process
      },
      b: nobody
    },
    async run(world) {
      await world.sleep(0)
      await body(given as SimulatedProcess, world)
    }
  })
}

describe('a simulation', () => {
  it('gives what its scenario gives, in no time', async () => {
    const { value, elapsedMs } = await run({
      async run({ sleep: wait }) {
        await wait(30 * 86_400_000)
        return 'a month later'
      }
    })
    expect([value, elapsedMs]).toEqual(['a month later', 30 * 86_400_000])
  })

  it('repeats itself byte by byte from its seed, setImmediate included (§5 Clock/Random/Id)', async () => {
    const lines = async (seed: number): Promise<string[]> => {
      const seen: string[] = []
      const chatter = ({ name, network, platform, newId, note }: SimulatedProcess): void => {
        network.listen({
          async request(message) {
            // Handed over as drivers do.
            await new Promise((resolve) => setImmediate(resolve))
            return { to: message, id: newId() }
          }
        })
        const talk = async (): Promise<void> => {
          for (let count = 0; count < 20; count++) {
            await sleep(platform.clock, platform.random.below(40))
            const answer = await network.request(name === 'a' ? 'b' : 'a', { count, at: platform.clock.now() })
            note(JSON.stringify(answer))
          }
        }
        void talk()
      }
      const { trace } = await run({
        seed,
        nodes: { a: chatter, b: chatter },
        network: { faults: [{ kind: 'latency', latencyMs: 5, jitterMs: 5, ratio: 0.3 }] },
        observe: (line) => seen.push(line),
        run: ({ sleep: wait }) => wait(2_000)
      })
      seen.push(trace.hash)
      return seen
    }
    const one = await lines(11)
    expect(await lines(11)).toEqual(one)
    expect(one.length).toBeGreaterThan(150)
    expect(await lines(12)).not.toEqual(one)
  })

  it('repeats itself with a database in memory, which settles between two events', async () => {
    const history = async (): Promise<string> => {
      const { trace } = await run({
        settleTurns: 4,
        nodes: {
          async a({ platform, note }) {
            const db = sqliteDatabase({ path: ':memory:' })
            await db.run(() => changes('create table t (at integer)'))
            const write = async (): Promise<void> => {
              const at = platform.clock.monotonic()
              await db.run(() => changes('insert into t (at) values (?)', Math.round(at)))
              note(`written after ${platform.clock.monotonic() - at} ms`)
            }
            for (let count = 0; count < 20; count++)
              platform.clock.startTimer(platform.random.below(100), () => void write())
          },
          b: nobody
        },
        run: ({ sleep: wait }) => wait(200)
      })
      const written = trace.tail.filter((line) => line.includes('written'))
      expect(written.length).toBe(20)
      for (const line of written) expect(line).toContain('after 0 ms')
      return trace.hash
    }
    expect(await history()).toBe(await history())
  })

  it('gives every node chance and ids of its own, whoever else there is and draws', async () => {
    const drawn: Record<string, number[]> = {}
    const ids: string[] = []
    const draw = ({ name, platform, newId }: SimulatedProcess): void => {
      drawn[name] = [...(drawn[name] ?? []), platform.random.below(2 ** 32)]
      ids.push(newId(), newId())
    }
    await run({ nodes: { a: draw, b: draw }, run: async () => {} })
    await run({ nodes: { a: nobody, b: draw }, run: async ({ random }) => random.below(5) })
    expect(drawn['b']?.[0]).toBe(drawn['b']?.[1])
    expect(drawn['a']?.[0]).not.toBe(drawn['b']?.[0])
    const [first = '', second = '', ...others] = ids
    expect(first < second).toBe(true)
    expect(new Set([first, second, ...others]).size).toBe(4)
  })

  it('keeps the last 200 lines of its trace, however long it is (pitfall 15)', async () => {
    let lines = 0
    const { trace } = await run({
      observe: () => {
        lines += 1
      },
      async run({ note }) {
        for (let count = 0; count < 5_000; count++) note(`line ${count} ${'x'.repeat(1_000)}`)
      }
    })
    expect(lines).toBeGreaterThan(5_000)
    expect(trace.tail.length).toBe(200)
    expect(trace.tail.at(-1)).toContain('line 4999')
    expect(trace.tail.at(-1)?.length).toBe(500)
  })

  it('plans 100,000 events ahead at most (pitfall 15)', async () => {
    const failure = await failureOf({
      async run({ clock }) {
        for (;;) clock.startTimer(1, nobody).cancel()
      }
    })
    expect(failure.cause).toMatchObject({ code: 'OVERLOADED', detail: { what: 'simulation', limit: 100_000 } })
  })

  it('runs one after the other with others of the process', async () => {
    const order: string[] = []
    const one = (name: string) =>
      run({
        async run({ sleep: wait }) {
          order.push(`${name} begins`)
          await wait(1_000)
          order.push(`${name} ends`)
        }
      })
    await Promise.all([one('first'), one('second')])
    expect(order).toEqual(['first begins', 'first ends', 'second begins', 'second ends'])
  })

  it('waits until something holds, and no longer', async () => {
    const { elapsedMs } = await run({
      async run({ clock, until }) {
        let ready = false
        clock.startTimer(700, () => {
          ready = true
        })
        await until('ready', () => ready, { withinMs: 1_000 })
      }
    })
    expect(elapsedMs).toBe(700)
    const failure = await failureOf({ run: ({ until }) => until('never', () => false, { withinMs: 1_000 }) })
    expect(failure.message).toContain('never: not within 1000 ms')
    const wrong = (): boolean => {
      throw new Error('cannot tell')
    }
    expect((await failureOf({ run: ({ until }) => until('told', wrong, { withinMs: 1 }) })).message).toContain(
      'cannot tell'
    )
  })

  it.each([
    [{ seed: 0.5 }, 'seed'],
    [{ seed: Number.NaN }, 'seed'],
    [{ eventsMax: 0 }, 'eventsMax'],
    [{ settleTurns: 0 }, 'settleTurns'],
    [{ clocks: { driftMaxRatio: 1 } }, 'clocks.driftMaxRatio'],
    [{ clocks: { skew: 1 } }, 'clocks.skew'],
    [{ network: { latencyMinMs: 20 } }, 'network.latencyMaxMs'],
    [{ disk: { syncMinMs: -1 } }, 'disk.syncMinMs'],
    [{ nodes: { a: 'start' } }, 'nodes.a']
  ])('refuses %o', async (options, path) => {
    const refusal = await run({ run: async () => {}, ...(options as object) }).catch((error: CoreError) => error)
    expect(
      (refusal as CoreError).is('INVALID_OPTIONS') &&
        (refusal as CoreError<'INVALID_OPTIONS'>).detail.issues.map((issue) => issue.path)
    ).toEqual([path])
  })
})

describe('a simulation that fails', () => {
  it('has its seed in the message, and what the scenario threw as its cause', async () => {
    const cause = new Error('two were expected')
    const failure = await failureOf({
      seed: 4_711,
      async run({ sleep: wait }) {
        await wait(12.5)
        throw cause
      }
    })
    expect(failure.message).toBe(
      'the simulation with seed 4711 failed after 4 events, at 12.500 ms: the scenario threw: two were expected'
    )
    expect(failure.cause).toBe(cause)
    expect(failure.detail).toMatchObject({ seed: 4_711, reason: 'run', events: 4, elapsedMs: 12.5 })
    expect(failure.detail.trace).toContain('0.000 scenario begins')
  })

  it('tells that a node threw, at its start or in a timer', async () => {
    const starts = await failureOf({
      nodes: {
        a: async () => {
          throw new Error('no start')
        },
        b: nobody
      },
      run: ({ sleep: wait }) => wait(10)
    })
    expect(starts.detail.reason).toBe('node')
    const timer = await failureOf({
      nodes: {
        a: ({ platform }) =>
          void platform.clock.startTimer(5, () => {
            throw new Error('in a timer')
          }),
        b: nobody
      },
      run: ({ sleep: wait }) => wait(10)
    })
    expect(timer.message).toContain('a node threw: in a timer')
  })

  it('tells of a rejection that nobody awaited, and gives the process its own listeners back', async () => {
    const own = (): void => {}
    process.on('unhandledRejection', own)
    const before = process.listeners('unhandledRejection')
    const failure = await failureOf({
      nodes: {
        a({ platform }) {
          void sleep(platform.clock, 5).then(() => {
            throw new Error('nobody looks')
          })
        },
        b: nobody
      },
      run: ({ sleep: wait }) => wait(10)
    })
    expect(failure.detail.reason).toBe('rejection')
    expect(failure.message).toContain('a promise was rejected that nobody awaited: nobody looks')
    expect(process.listeners('unhandledRejection')).toEqual(before)
    process.off('unhandledRejection', own)
  })

  it('tells that nothing can happen any more', async () => {
    const failure = await failureOf({ run: () => new Promise(() => {}) })
    expect(failure.detail.reason).toBe('deadlock')
  })

  it('does not take a timer that never fires for something that can happen', async () => {
    const forever = ({ platform }: SimulatedProcess): void => {
      platform.clock.startTimer(Number.POSITIVE_INFINITY, () => {
        throw new Error('forever is over')
      })
    }
    const failure = await failureOf({ nodes: { a: forever, b: nobody }, run: () => new Promise(() => {}) })
    expect(failure.detail).toMatchObject({ reason: 'deadlock', elapsedMs: 0 })
  })

  it('is not called dead while something is handed over by setImmediate', async () => {
    const turns = async (): Promise<string> => {
      for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve))
      return 'alive'
    }
    expect((await run({ run: turns })).value).toBe('alive')
  })

  it('tells that there is no end to it', async () => {
    const failure = await failureOf({
      nodes: {
        a({ platform }) {
          const again = (): void => void platform.clock.startTimer(0, again)
          again()
        },
        b: nobody
      },
      eventsMax: 5_000,
      run: ({ sleep: wait }) => wait(1)
    })
    expect(failure.detail).toMatchObject({ reason: 'runaway', events: 5_001 })
  })
})

describe("a node's clocks", () => {
  it('are wrong by as much as they may be, differently on each node, and the same way for the same seed', async () => {
    const clocks: Clock[] = []
    const keep = ({ platform }: SimulatedProcess): void => void clocks.push(platform.clock)
    const readings = async (): Promise<number[]> => {
      clocks.length = 0
      const { value } = await run({
        nodes: { a: keep, b: keep },
        clocks: { skewMaxMs: 1_000, driftMaxRatio: 0.01 },
        async run({ sleep: wait, clock }) {
          await wait(0)
          const start = clocks.map((one) => one.now() - clock.now())
          await wait(100_000)
          return [...start, ...clocks.map((one) => one.monotonic() - 100_000)]
        }
      })
      return value as number[]
    }
    const [skewA = 0, skewB = 0, driftA = 0, driftB = 0] = await readings()
    expect(Math.abs(skewA)).toBeLessThanOrEqual(1_000)
    expect(skewA).not.toBe(skewB)
    expect(Math.abs(driftA)).toBeLessThanOrEqual(1_000)
    expect(Math.abs(driftA)).toBeGreaterThan(0)
    expect(driftA).not.toBe(driftB)
    expect(await readings()).toEqual([skewA, skewB, driftA, driftB])
  })

  it('jump on the wall, and durations do not notice', async () => {
    await withProcess({}, async ({ platform: { clock } }, world) => {
      const [wall, monotonic] = [clock.now(), clock.monotonic()]
      const slept = sleep(clock, 500)
      world.node('a').jumpWall(-3_600_000)
      expect([clock.now() - wall, clock.monotonic() - monotonic]).toEqual([-3_600_000, 0])
      expect(world.node('a').now()).toBe(clock.now())
      await slept
      expect(world.clock.monotonic()).toBeCloseTo(500, 0)
    })
  })

  it('measure delays as they run', async () => {
    await withProcess({ clocks: { driftMaxRatio: 0.3 } }, async ({ platform: { clock } }, world) => {
      await world.sleep(100_000)
      const rate = clock.monotonic() / world.clock.monotonic()
      expect(Math.abs(rate - 1)).toBeGreaterThan(0.01)
      const startedAt = world.clock.monotonic()
      await sleep(clock, 1_000)
      expect((world.clock.monotonic() - startedAt) * rate).toBeCloseTo(1_000, 6)
    })
  })

  it('never fire a timer before its time, whatever their drift', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      await withProcess({ seed, clocks: { driftMaxRatio: 0.3 } }, async ({ platform: { clock } }) => {
        for (const delayMs of [0, 0.1, 1 / 3, 7, 1_000.7, 1 / 7, 99.9]) {
          const endsAt = clock.monotonic() + delayMs
          await sleep(clock, delayMs)
          expect(clock.monotonic()).toBeGreaterThanOrEqual(endsAt)
        }
      })
    }
  })

  it('let a break end when somebody looks, and not before (pitfall 18)', async () => {
    const seen: string[] = []
    await withProcess({ clocks: { driftMaxRatio: 0 } }, async ({ platform }) => {
      const breaker = createCircuitBreaker({
        name: 'callee',
        breakMs: 1_000,
        platform,
        observe: ({ type }) => seen.push(type)
      })
      breaker.trip()
      const endsAt = platform.clock.monotonic() + 1_000
      expect([breaker.stateAt(endsAt - 1), breaker.stateAt(endsAt)]).toEqual(['open', 'half-open'])
      await sleep(platform.clock, 5_000)
      // Nothing has happened: no timer ran while nobody asked.
      expect(seen).toEqual(['breaker.opened'])
      expect(breaker.state).toBe('half-open')
      expect(seen).toEqual(['breaker.opened', 'breaker.half-opened'])
    })
  })
})

describe("a node's process", () => {
  it('is told nothing and does nothing any more once it has crashed', async () => {
    for (const kind of ['kill', 'power-cut'] as const) {
      const did: string[] = []
      const { value } = await withProcess({}, async ({ platform, network, disk }, world) => {
        const folder = await disk.openFolder('f')
        const file = await folder.create('a')
        const calls = [sleep(platform.clock, 10), network.request('b', 1), file.sync(), disk.openFolder('g')]
        for (const call of calls)
          void call.then(
            () => did.push('answered'),
            () => did.push('refused')
          )
        const node = world.node('a')
        // What is answered at once is answered before.
        await world.sleep(0)
        did.length = 0
        node.crash(kind)
        expect(node.running).toBe(false)
        void network.request('b', 2).finally(() => did.push('asked'))
        platform.clock.startTimer(5, () => did.push('woke'))
        void file.write(Buffer.from('x'), 0).finally(() => did.push('wrote'))
        network.send('b', 3)
        await world.sleep(60_000)
        expect(did).toEqual([])
      })
      expect(value).toBeUndefined()
    }
  })

  it('leaves what it wrote when it is killed, and what it synced when the power goes', async () => {
    for (const [kind, expected] of [
      ['kill', 'synced and not'],
      ['power-cut', 'synced']
    ] as const) {
      let found = ''
      await run({
        nodes: {
          async a({ disk, incarnation }) {
            const folder = await disk.openFolder('f')
            if (incarnation > 1) {
              found = disk.files.read('f', 'a').toString('latin1')
              return
            }
            const file = await folder.create('a')
            await file.write(Buffer.from('synced'), 0)
            await file.sync()
            await folder.sync()
            await file.write(Buffer.from(' and not'), 6)
          },
          b: nobody
        },
        async run(world) {
          await world.sleep(1_000)
          const node = world.node('a')
          node.crash('kill')
          node.crash(kind)
          await world.sleep(1_000)
          node.restart()
          await world.sleep(1_000)
        }
      })
      expect(found.startsWith(expected)).toBe(true)
    }
  })

  it('ends itself, and begins anew with clocks, chance and calls of its own', async () => {
    const born: { incarnation: number; at: number; drawn: number }[] = []
    await run({
      nodes: {
        a({ incarnation, platform, exit }) {
          born.push({ incarnation, at: platform.clock.monotonic(), drawn: platform.random.below(2 ** 32) })
          platform.clock.startTimer(100, exit)
        },
        b: nobody
      },
      async run(world) {
        await world.sleep(1_000)
        expect(world.node('a').running).toBe(false)
        world.node('a').restart()
        await world.sleep(10)
      }
    })
    expect(born.map(({ incarnation, at }) => [incarnation, at])).toEqual([
      [1, 0],
      [2, 0]
    ])
    expect(born[0]?.drawn).not.toBe(born[1]?.drawn)
  })

  it('stands still while others go on, and then does what has come meanwhile, in order', async () => {
    const did: [string, number][] = []
    await withProcess({ clocks: { driftMaxRatio: 0 } }, async ({ platform: { clock }, network }, world) => {
      const note = (what: string): void => void did.push([what, Math.round(world.clock.monotonic())])
      network.listen({ message: () => note('message') })
      clock.startTimer(100, () => note('first'))
      clock.startTimer(200, () => note('second'))
      const cancelled = clock.startTimer(300, () => note('cancelled'))
      world.clock.startTimer(50, () => world.node('a').pause(1_000))
      world.clock.startTimer(350, () => cancelled.cancel())
      await world.sleep(5_000)
      expect(clock.monotonic()).toBe(5_000)
    })
    expect(did).toEqual([
      ['first', 1_050],
      ['second', 1_050]
    ])
  })

  it('stands still until the last of the pauses that overlap has ended', async () => {
    const fired: number[] = []
    await withProcess({ clocks: { driftMaxRatio: 0 } }, async ({ platform: { clock } }, world) => {
      clock.startTimer(100, () => fired.push(Math.round(world.clock.monotonic())))
      world.node('a').pause(1_000)
      await world.sleep(500)
      world.node('a').pause(5_000)
      await world.sleep(100)
      world.node('a').pause(10)
      await world.sleep(10_000)
    })
    expect(fired).toEqual([5_500])
  })

  it('has no clock that stands still for less than nothing, or jumps by no number', async () => {
    await run({
      async run(world) {
        const node = world.node('a')
        for (const ms of [Number.NaN, Number.POSITIVE_INFINITY]) {
          expect(() => node.jumpWall(ms)).toThrow(expect.objectContaining({ code: 'INVALID_DURATION' }))
          expect(() => node.pause(ms)).toThrow(expect.objectContaining({ code: 'INVALID_DURATION' }))
        }
        expect(() => node.pause(-1)).toThrow(expect.objectContaining({ code: 'INVALID_DURATION' }))
      }
    })
  })

  it('is one that exists', async () => {
    const failure = await failureOf({
      run: async (world) => {
        world.node('nobody' as 'a')
      }
    })
    expect(failure.cause).toMatchObject({ code: 'INVALID_OPTIONS' })
  })
})
