import process from 'node:process'
import { z } from 'zod'
import type { Random } from '../../chance/random.ts'
import { CoreError } from '../../failure/core-error.ts'
import { parseOptions } from '../../failure/options.ts'
import type { Clock } from '../../time/clock.ts'
import { sleep } from '../../time/sleep.ts'
import type { FaultRule } from '../faults/fault.ts'
import { noNode, type SimulatedNetwork, Wires } from '../network/simulated-network.ts'
import { Machine, type SimulatedNode, type StartProcess } from './simulated-node.ts'
import { Trace } from './trace.ts'
import { TrueTime } from './true-time.ts'

export interface SimulationOptions<Name extends string, Result> {
  /** Decides everything that chance decides: any safe integer. */
  readonly seed: number
  /** What each node's process does. They are started in this order. */
  readonly nodes: { readonly [name in Name]: StartProcess }
  /** What is done to them, and what is expected of them. The simulation ends when it does. */
  run(world: SimulatedWorld<Name>): Promise<Result>
  /** How wrong the nodes' clocks are at most: 250 ms and 200 ppm unless given, which is twice what quartz allows itself. */
  readonly clocks?: { readonly skewMaxMs?: number; readonly driftMaxRatio?: number }
  /** What a message takes, 1 to 10 ms unless given, and faults of the network from the beginning. */
  readonly network?: {
    readonly latencyMinMs?: number
    readonly latencyMaxMs?: number
    readonly faults?: readonly FaultRule[]
  }
  /** What a sync takes: 0.5 to 5 ms unless given. */
  readonly disk?: { readonly syncMinMs?: number; readonly syncMaxMs?: number }
  /** Where true wall time begins, in epoch milliseconds; 2026-01-01T00:00:00Z unless given. */
  readonly startAt?: number
  /** More events than this are a loop; 1,000,000 unless given. */
  readonly eventsMax?: number
  /**
   * How often the event loop turns after each event; 2 unless given. What a node hands over through `setImmediate` takes a
   * turn each time, a unit of the SQLite driver one or two. What is not done by then is done after a later event.
   */
  readonly settleTurns?: number
  /** Is given every line of the trace. */
  readonly observe?: (line: string) => void
}

/** What a scenario has of the world. Its clock shows true time. */
export interface SimulatedWorld<Name extends string> {
  readonly clock: Clock
  /** Chance of the scenario's own: what it draws changes no node. */
  readonly random: Random
  readonly network: SimulatedNetwork
  node(name: Name): SimulatedNode
  sleep(durationMs: number): Promise<void>
  /**
   * Resolves as soon as `condition` holds, which is asked after each event; rejects when it does not within `withinMs`, and
   * with what it throws. `what` says what was waited for.
   */
  until(what: string, condition: () => boolean, options: { readonly withinMs: number }): Promise<void>
  /** Writes a line in the trace. */
  note(text: string): void
}

/** What happened. Equal seeds give equal ones, for the same program on the same version of Node. */
export interface SimulationResult<Result> {
  readonly value: Result
  readonly events: number
  /** True time that passed. */
  readonly elapsedMs: number
  readonly trace: {
    /** SHA-256 of all lines. */
    readonly hash: string
    /** The last 200 at most. */
    readonly tail: readonly string[]
  }
}

/** Where true wall time begins: 2026-01-01T00:00:00Z. */
const START_AT = 1_767_225_600_000

const EVENTS_MAX = 1_000_000
const SETTLE_TURNS = 2
/** Turns before the world is declared dead: more than any hand-over through `setImmediate` takes. */
const LAST_TURNS = 64

const isFunction = (value: unknown): boolean => typeof value === 'function'
const lengthMs = z.number().min(0).max(86_400_000)

const simulationOptions = z.strictObject({
  seed: z.number().refine(Number.isSafeInteger, 'must be a safe integer'),
  nodes: z.record(z.string().min(1), z.custom<StartProcess>(isFunction, 'must be a function')),
  run: z.custom<(world: SimulatedWorld<string>) => Promise<unknown>>(isFunction, 'must be a function'),
  clocks: z
    .strictObject({ skewMaxMs: lengthMs.default(250), driftMaxRatio: z.number().min(0).max(0.5).default(0.0002) })
    .prefault({}),
  network: z
    .strictObject({
      latencyMinMs: lengthMs.default(1),
      latencyMaxMs: lengthMs.default(10),
      faults: z.custom<readonly FaultRule[]>(Array.isArray).default([])
    })
    .refine(({ latencyMinMs, latencyMaxMs }) => latencyMinMs <= latencyMaxMs, {
      path: ['latencyMaxMs'],
      message: 'must be at least latencyMinMs'
    })
    .prefault({}),
  disk: z
    .strictObject({ syncMinMs: lengthMs.default(0.5), syncMaxMs: lengthMs.default(5) })
    .refine(({ syncMinMs, syncMaxMs }) => syncMinMs <= syncMaxMs, {
      path: ['syncMaxMs'],
      message: 'must be at least syncMinMs'
    })
    .prefault({}),
  startAt: z.int().min(0).default(START_AT),
  eventsMax: z.int().min(1).max(1_000_000_000).default(EVENTS_MAX),
  settleTurns: z.int().min(1).max(1_000).default(SETTLE_TURNS),
  observe: z.custom<(line: string) => void>(isFunction).optional()
})

/**
 * Runs nodes and what happens between them in virtual time, so that a seed decides everything and gives it again: clocks,
 * chance, messages, disks, crashes. Waits cost nothing.
 *
 * One event happens at a time: a timer, a message, an answer of a disk. After each the event loop turns `settleTurns`
 * times, so that all promises that can settle do, in the order in which they always do. What a node does repeats itself as
 * long as it takes time, chance, messages and bytes from what it was given, and is a matter of promises and `setImmediate`
 * otherwise. Real timers, files, sockets, threads, `crypto` and the system's clocks do not: they answer when they like.
 * The trace tells: run a seed twice and compare the hashes.
 *
 * Simulations of one process run one after the other. Throws `INVALID_OPTIONS`, and `SIMULATION_FAILED`, which has the seed
 * in its message and what went wrong as its cause: `run` or a node threw, a promise was rejected that nobody awaited,
 * nothing could happen any more although `run` had not ended, or there was no end to it.
 */
export async function simulate<Name extends string, Result>(
  options: SimulationOptions<Name, Result>
): Promise<SimulationResult<Result>> {
  const parsed = parseOptions(simulationOptions, 'simulate', options)
  const before = last
  let release = (): void => {}
  last = new Promise((resolve) => {
    release = resolve
  })
  await before
  try {
    return (await play(parsed)) as SimulationResult<Result>
  } finally {
    release()
  }
}

/** The simulation before the next one: rejections that nobody awaits are the process's, and cannot be told apart. */
let last: Promise<void> = Promise.resolve()

type Parsed = z.output<typeof simulationOptions>
type FailureReason = 'run' | 'node' | 'rejection' | 'deadlock' | 'runaway'

async function play(options: Parsed): Promise<SimulationResult<unknown>> {
  const { seed, nodes, run, clocks, network, disk, startAt, eventsMax, settleTurns, observe } = options
  const trace = new Trace(observe)
  const time = new TrueTime({ seed, startAt, trace })
  let events = 0
  let failure: CoreError | undefined

  const fail = (reason: FailureReason, cause?: unknown): void => {
    failure ??= simulationFailed({ seed, reason, events, elapsedMs: time.nowMs, trace: trace.tail() }, cause)
  }
  const onRejection = (cause: unknown): void => fail('rejection', cause)
  const wires = new Wires({
    time,
    nodes: Object.keys(nodes),
    latency: { minMs: network.latencyMinMs, maxMs: network.latencyMaxMs },
    faults: network.faults
  })
  const machines = new Map(
    Object.entries(nodes).map(([name, start]) => {
      const syncMs = { minMs: disk.syncMinMs, maxMs: disk.syncMaxMs }
      const onFailed = (cause: unknown): void => fail('node', cause)
      return [name, new Machine({ name, start, time, wires, clocks, syncMs, onFailed })]
    })
  )

  const expectations = new Set<{ met(): boolean }>()
  const clock = time.clock()
  const world: SimulatedWorld<string> = {
    clock,
    random: time.chance('scenario'),
    network: wires,
    node(name) {
      const machine = machines.get(name)
      if (machine === undefined) throw noNode('world.node', name)
      return machine
    },
    sleep: (durationMs) => sleep(clock, durationMs),
    until: (what, condition, { withinMs }) =>
      new Promise((resolve, reject) => {
        const timer = clock.startTimer(withinMs, () => {
          expectations.delete(expectation)
          reject(new Error(`${what}: not within ${withinMs} ms`))
        })
        const expectation = {
          /** Whether it is one no longer. */
          met() {
            try {
              if (!condition()) return false
              resolve()
            } catch (error) {
              reject(error)
            }
            timer.cancel()
            return true
          }
        }
        expectations.add(expectation)
      }),
    note: (text) => time.note(`scenario ${text}`)
  }

  let ended: { readonly value: unknown } | undefined
  time.plan(0, 'scenario begins', () => {
    void (async () => run(world))().then(
      (value) => {
        ended = { value }
      },
      (cause: unknown) => fail('run', cause)
    )
  })

  const settle = async (turns: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => nextTurn(resolve))
    for (const expectation of expectations) {
      if (!expectation.met()) continue
      expectations.delete(expectation)
      // What was waited for may end the scenario.
      await settle(turns)
      return
    }
  }

  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', onRejection)
  try {
    let event = time.next()
    for (;;) {
      if (event === undefined) {
        fail('deadlock')
        break
      }
      events += 1
      if (events > eventsMax) {
        fail('runaway')
        break
      }
      time.nowMs = Math.max(time.nowMs, event.dueAt)
      time.note(event.label)
      try {
        event.run()
      } catch (cause) {
        fail('node', cause)
      }
      await settle(settleTurns)
      if (ended !== undefined || failure !== undefined) break
      event = time.next()
      if (event !== undefined) continue
      await settle(LAST_TURNS)
      if (ended !== undefined || failure !== undefined) break
      event = time.next()
    }
    for (const machine of machines.values()) machine.end()
    // What was rejected last is reported after this turn.
    await settle(1)
  } finally {
    process.off('unhandledRejection', onRejection)
    for (const listener of others) process.on('unhandledRejection', listener)
  }
  if (failure !== undefined) throw failure
  return {
    value: ended?.value,
    events,
    elapsedMs: time.nowMs,
    trace: { hash: trace.hash(), tail: trace.tail() }
  }
}

/** Taken when the module loads, so that a test framework's fake timers cannot hold a simulation up. */
const nextTurn = setImmediate

const REASONS: { readonly [reason in FailureReason]: string } = {
  run: 'the scenario threw',
  node: 'a node threw',
  rejection: 'a promise was rejected that nobody awaited',
  deadlock: 'nothing can happen any more in virtual time, and the scenario has not ended',
  runaway: 'there is no end to it'
}

function simulationFailed(
  detail: {
    readonly seed: number
    readonly reason: FailureReason
    readonly events: number
    readonly elapsedMs: number
    readonly trace: readonly string[]
  },
  cause: unknown
): CoreError<'SIMULATION_FAILED'> {
  const { seed, reason, events, elapsedMs } = detail
  const why = cause === undefined ? '' : `: ${cause instanceof Error ? cause.message : 'what was thrown is no Error'}`
  const when = `after ${events} events, at ${elapsedMs.toFixed(3)} ms`
  const message = `the simulation with seed ${seed} failed ${when}: ${REASONS[reason]}${why}`
  return new CoreError('SIMULATION_FAILED', message, detail, cause === undefined ? {} : { cause })
}
