import type { Random } from '../../chance/random.ts'
import { CoreError } from '../../failure/core-error.ts'
import { canonicalJson } from '../../json/canonical-json.ts'
import type { JsonValue } from '../../json/json.ts'
import type { FaultRule } from '../faults/fault.ts'
import { createFaultPlan, type FaultPlan, type FaultTarget, type Strike, systemError } from '../faults/fault-plan.ts'
import type { Incarnation } from '../simulation/incarnation.ts'
import { between, type TrueTime } from '../simulation/true-time.ts'

/** What a node does with what it is sent. */
export interface NetworkListener {
  /** Answers a request. What it throws reaches the caller as an error with `status` 500. */
  request?(message: JsonValue, from: string): JsonValue | Promise<JsonValue>
  /** Takes a message that nobody waits for an answer to. */
  message?(message: JsonValue, from: string): void | Promise<void>
}

/**
 * The network as a node has it. Messages are JSON: what arrives is a copy. Each takes its own time, so that they overtake
 * each other.
 */
export interface NodeNetwork {
  /**
   * Resolves with the answer. Rejects with `ECONNREFUSED` when nobody listens there, with `ECONNRESET` when the process
   * there ends before it has answered, with the signal's reason, and with `NOT_JSON`. When request or answer is lost, or
   * the machine there is without power, it does not settle: use a timeout.
   */
  request(to: string, message: JsonValue, options?: { readonly signal?: AbortSignal | undefined }): Promise<JsonValue>
  /** Sends a message that may arrive. Throws `NOT_JSON`. */
  send(to: string, message: JsonValue): void
  /** Replaces what the process did with what it is sent until now. */
  listen(listener: NetworkListener): void
}

/** The network as the scenario has it. */
export interface SimulatedNetwork {
  /** Faults to come; `only` names nodes, or `from->to` with the direction that a request takes. */
  readonly faults: FaultPlan
  /**
   * Lets nothing through between a group of nodes and another one, everybody else unless given; what is under way is lost.
   * The result heals it. Throws `INVALID_OPTIONS` for a node that there is not.
   */
  partition(group: readonly string[], others?: readonly string[]): () => void
  /** Ends all partitions and takes all faults back. */
  heal(): void
}

const NETWORK: FaultTarget = {
  what: 'a simulated network',
  request: ['latency', 'error', 'reset', 'hang', 'drop', 'duplicate', 'partition'],
  reply: ['latency', 'reset', 'drop', 'partition']
}

interface Caller {
  readonly from: Incarnation
  readonly id: number
  resolve(text: string): void
  reject(error: Error): void
}

interface Arrival {
  readonly to: string
  readonly from: Incarnation
  readonly text: string
  /** Undefined when nobody waits for an answer. */
  readonly caller: Caller | undefined
}

/** The wires between the nodes of a simulation. */
export class Wires implements SimulatedNetwork {
  readonly faults: FaultPlan
  readonly #time: TrueTime
  readonly #random: Random
  readonly #latency: { readonly minMs: number; readonly maxMs: number }
  readonly #nodes: readonly string[]
  readonly #listeners = new Map<string, { readonly process: Incarnation; readonly listener: NetworkListener }>()
  readonly #partitions = new Set<(from: string, to: string) => boolean>()
  /** Requests that a process is at work on, whose callers hear of its end. */
  readonly #underWay = new Map<Incarnation, Set<Caller>>()
  /** Machines without power, which do not even refuse. */
  readonly #dark = new Set<string>()
  #ids = 0

  constructor(options: {
    readonly time: TrueTime
    readonly nodes: readonly string[]
    readonly latency: { readonly minMs: number; readonly maxMs: number }
    readonly faults: readonly FaultRule[]
  }) {
    const { time, nodes, latency, faults } = options
    this.#time = time
    this.#nodes = nodes
    this.#latency = latency
    this.#random = time.chance('network')
    const platform = { clock: time.clock(), random: time.chance('network faults') }
    const links = nodes.flatMap((from) => nodes.map((to) => `${from}->${to}`))
    this.faults = createFaultPlan({ platform, faults, target: { ...NETWORK, names: [...nodes, ...links] } })
  }

  partition(group: readonly string[], others?: readonly string[]): () => void {
    const unknown = [...group, ...(others ?? [])].find((name) => !this.#nodes.includes(name))
    if (unknown !== undefined) throw noNode('network.partition', unknown)
    const isOther = (name: string): boolean => others?.includes(name) ?? !group.includes(name)
    const parts = (from: string, to: string): boolean =>
      (group.includes(from) && isOther(to)) || (group.includes(to) && isOther(from))
    this.#partitions.add(parts)
    this.#time.note(`network partition ${group.join()} | ${others?.join() ?? 'others'}`)
    return () => {
      if (this.#partitions.delete(parts)) this.#time.note(`network heal ${group.join()}`)
    }
  }

  heal(): void {
    this.#partitions.clear()
    this.faults.clear()
    this.#time.note('network heal')
  }

  /** The network as a process has it. */
  of(process: Incarnation): NodeNetwork {
    return {
      request: (to, message, { signal } = {}) => this.#request(process, to, message, signal),
      send: (to, message) => {
        const text = canonicalJson(message)
        if (process.alive) this.#send({ to: this.#known(to), from: process, text, caller: undefined })
      },
      listen: (listener) => {
        if (process.alive) this.#listeners.set(process.node, { process, listener })
      }
    }
  }

  /** A machine has power. */
  started(node: string): void {
    this.#dark.delete(node)
  }

  /** A process has ended; `dark` when its machine lost power, and nobody is there to say so. */
  ended(process: Incarnation, dark: boolean): void {
    if (this.#listeners.get(process.node)?.process === process) this.#listeners.delete(process.node)
    const callers = this.#underWay.get(process) ?? []
    this.#underWay.delete(process)
    if (dark) {
      this.#dark.add(process.node)
      return
    }
    for (const caller of callers) this.#fail(caller, process.node, 'ECONNRESET', 0)
  }

  #request(from: Incarnation, to: string, message: JsonValue, signal: AbortSignal | undefined): Promise<JsonValue> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const text = canonicalJson(message)
      // The process is gone: nothing of it goes on.
      if (!from.alive) return
      const known = this.#known(to)
      const onAbort = (): void => reject(signal?.reason as Error)
      signal?.addEventListener('abort', onAbort, { once: true })
      const ended = (): void => signal?.removeEventListener('abort', onAbort)
      const caller: Caller = {
        from,
        id: this.#ids++,
        resolve(answer) {
          ended()
          resolve(JSON.parse(answer) as JsonValue)
        },
        reject(error) {
          ended()
          reject(error)
        }
      }
      this.#send({ to: known, from, text, caller })
    })
  }

  #known(name: string): string {
    if (this.#nodes.includes(name)) return name
    throw systemError('ENOTFOUND', 'getaddrinfo')
  }

  #send(arrival: Arrival): void {
    const { to, from, text, caller } = arrival
    const link = `${from.node}->${to}`
    const strike = this.#strike(from.node, to, 'request')
    const what = `${link}${caller === undefined ? '' : ` #${caller.id}`}`
    const lost = this.#isParted(from.node, to) ? 'partition' : strike.end?.kind
    this.#time.note(`${what} ${text}${lost === undefined ? '' : ` lost: ${lost}`}`)
    if (lost !== undefined) {
      if (caller === undefined || this.#isParted(from.node, to)) return
      if (strike.end?.kind === 'reset') this.#fail(caller, to, 'ECONNRESET', strike.delayMs)
      if (strike.end?.kind === 'error') this.#fail(caller, to, strike.end.code, strike.delayMs)
      return
    }
    for (let copy = strike.duplicate ? 2 : 1; copy > 0; copy--) {
      this.#time.plan(this.#latencyMs() + strike.delayMs, what, () => this.#arrive(arrival, what))
    }
  }

  #arrive({ to, from, text, caller }: Arrival, what: string): void {
    if (this.#isParted(from.node, to)) return this.#time.note(`${what} lost: partition`)
    if (this.#dark.has(to)) return this.#time.note(`${what} lost: no power`)
    const target = this.#listeners.get(to)
    if (target === undefined) {
      if (caller !== undefined) this.#fail(caller, to, 'ECONNREFUSED', 0)
      return
    }
    const { process, listener } = target
    if (caller === undefined) {
      process.run(what, () => void listener.message?.(JSON.parse(text) as JsonValue, from.node))
      return
    }
    const { request } = listener
    if (request === undefined) return this.#fail(caller, to, 'ECONNREFUSED', 0)
    const callers = this.#underWay.get(process) ?? new Set()
    this.#underWay.set(process, callers.add(caller))
    process.run(what, () => {
      const answered = (async () => request.call(listener, JSON.parse(text) as JsonValue, from.node))()
      void answered.then(
        (answer) => this.#reply(process, caller, canonicalJson(answer)),
        (error: unknown) => this.#reply(process, caller, undefined, error)
      )
    })
  }

  #reply(process: Incarnation, caller: Caller, text: string | undefined, cause?: unknown): void {
    if (!process.alive) return
    this.#underWay.get(process)?.delete(caller)
    const [from, to] = [process.node, caller.from.node]
    const strike = this.#strike(from, to, 'reply')
    const lost = this.#isParted(from, to) ? 'partition' : strike.end?.kind
    const what = `${from}->${to} #${caller.id} reply`
    this.#time.note(`${what} ${text === undefined ? '500' : text}${lost === undefined ? '' : ` lost: ${lost}`}`)
    if (lost === 'reset') return this.#fail(caller, from, 'ECONNRESET', strike.delayMs)
    if (lost !== undefined) return
    this.#back(caller, from, this.#latencyMs() + strike.delayMs, what, () => {
      if (text !== undefined) caller.resolve(text)
      else {
        const message = `${from} answered 500: ${cause instanceof Error ? cause.message : 'what was thrown is no Error'}`
        caller.reject(Object.assign(new Error(message, { cause }), { status: 500 }))
      }
    })
  }

  #fail(caller: Caller, from: string, code: string, delayMs: number): void {
    const what = `${from}->${caller.from.node} #${caller.id} ${code}`
    this.#back(caller, from, this.#latencyMs() + delayMs, what, () => {
      caller.reject(systemError(code, code === 'ECONNREFUSED' ? 'connect' : 'read'))
    })
  }

  /** Brings something back to a caller, unless a partition has come between them when it arrives. */
  #back(caller: Caller, from: string, delayMs: number, what: string, arrive: () => void): void {
    this.#time.plan(delayMs, what, () => {
      if (this.#isParted(from, caller.from.node)) return this.#time.note(`${what} lost: partition`)
      caller.from.run(what, arrive)
    })
  }

  #strike(from: string, to: string, leg: 'request' | 'reply'): Strike {
    const link = leg === 'request' ? `${from}->${to}` : `${to}->${from}`
    return this.faults.strike({ names: [from, to, link], leg, target: NETWORK })
  }

  #isParted(from: string, to: string): boolean {
    for (const parts of this.#partitions) if (parts(from, to)) return true
    return false
  }

  #latencyMs(): number {
    return between(this.#random, this.#latency.minMs, this.#latency.maxMs)
  }
}

/** The caller means a node that the simulation does not have. */
export function noNode(subject: string, name: string): CoreError<'INVALID_OPTIONS'> {
  const message = `there is no node ${name}`
  const issues = [{ path: 'name', message }]
  return new CoreError('INVALID_OPTIONS', `the simulation refused a name: ${message}`, { subject, issues })
}
