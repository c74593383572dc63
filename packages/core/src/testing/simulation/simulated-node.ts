import { createIdSource } from '../../chance/uuid-v7.ts'
import { CoreError } from '../../failure/core-error.ts'
import type { Platform } from '../../platform.ts'
import { type SimulatedDisk, simulatedDisk } from '../disk/simulated-disk.ts'
import type { NodeNetwork, Wires } from '../network/simulated-network.ts'
import { Incarnation, type MachineClock } from './incarnation.ts'
import { between, type TrueTime } from './true-time.ts'

/** What a node's process has of the world. Nothing of it works once the process has crashed: its calls never return. */
export interface SimulatedProcess {
  readonly name: string
  /** 1 for the first process of the node, one more after each restart. */
  readonly incarnation: number
  /** Clocks that are wrong in the node's own way, and chance of its own. */
  readonly platform: Platform
  readonly network: NodeNetwork
  /** The node's disk, which outlives the process. */
  readonly disk: SimulatedDisk
  /** A UUIDv7, by the node's clock and chance. */
  newId(): string
  /** Ends the process, as `crash('kill')` does: for a process that gives up and is started again by others. */
  exit(): void
  /** Writes a line in the trace. */
  note(text: string): void
}

/** A node as the scenario has it. */
export interface SimulatedNode {
  readonly name: string
  readonly running: boolean
  readonly disk: SimulatedDisk
  /** What its wall clock shows. */
  now(): number
  /** Someone sets its wall clock, either way. Throws `INVALID_DURATION` for what is no finite number. */
  jumpWall(byMs: number): void
  /** Its process stands still, and then goes on as if nothing had been. Throws `INVALID_DURATION`. */
  pause(durationMs: number): void
  /**
   * Ends its process, if there is one. `kill`: the disk has all that was written, and callers get `ECONNRESET`.
   * `power-cut`: the disk has what was synced, by this process or one that was killed before, and until `restart` callers
   * hear nothing.
   */
  crash(kind: 'kill' | 'power-cut'): void
  /** Starts a process, after a crash of the one before where that still runs. */
  restart(): void
}

/** Starts a node's process; it may go on in the background. What it throws fails the simulation. */
export type StartProcess = (process: SimulatedProcess) => void | Promise<void>

/** What is not written in the trace: it changes nothing. */
const QUIET = new Set(['read', 'length', 'names', 'open', 'close'])

/** A machine: a disk, a clock, and one process after the other. */
export class Machine implements SimulatedNode {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly #start: StartProcess
  readonly #time: TrueTime
  readonly #wires: Wires
  readonly #onFailed: (error: unknown) => void
  readonly #clock: MachineClock
  #process: Incarnation
  #born = 0

  constructor(options: {
    readonly name: string
    readonly start: StartProcess
    readonly time: TrueTime
    readonly wires: Wires
    readonly clocks: { readonly skewMaxMs: number; readonly driftMaxRatio: number }
    readonly syncMs: { readonly minMs: number; readonly maxMs: number }
    readonly onFailed: (error: unknown) => void
  }) {
    const { name, start, time, wires, clocks, syncMs, onFailed } = options
    this.name = name
    this.#start = start
    this.#time = time
    this.#wires = wires
    this.#onFailed = onFailed
    const random = time.chance(`${name}'s clock`)
    this.#clock = {
      rate: 1 + between(random, -clocks.driftMaxRatio, clocks.driftMaxRatio),
      wallAheadMs: Math.round(between(random, -clocks.skewMaxMs, clocks.skewMaxMs))
    }
    this.#process = this.#next()
    this.disk = simulatedDisk({
      platform: {
        // A disk's delays are those of true time; its answers reach the process that is there.
        clock: time.clock((delayMs, label, run) => this.#process.plan(delayMs, `disk ${label}`, run)),
        random: time.chance(`${name}'s disk`)
      },
      observe: ({ operation, name: file = '', outcome }) => {
        if (!QUIET.has(operation)) time.note(`${name} disk ${operation} ${file} ${outcome}`)
      }
    })
    if (syncMs.maxMs > 0) {
      this.disk.faults.add({
        kind: 'latency',
        latencyMs: (syncMs.minMs + syncMs.maxMs) / 2,
        jitterMs: (syncMs.maxMs - syncMs.minMs) / 2,
        only: ['sync', 'sync-data', 'sync-folder']
      })
    }
    this.#begin()
  }

  get running(): boolean {
    return this.#process.alive
  }

  now(): number {
    return this.#process.clock.now()
  }

  jumpWall(byMs: number): void {
    if (!Number.isFinite(byMs)) throw noDuration(byMs)
    this.#clock.wallAheadMs += byMs
    this.#time.note(`${this.name} wall clock ${byMs >= 0 ? '+' : ''}${byMs} ms`)
  }

  pause(durationMs: number): void {
    if (!Number.isFinite(durationMs) || durationMs < 0) throw noDuration(durationMs)
    this.#time.note(`${this.name} stands still for ${durationMs} ms`)
    this.#process.pause(durationMs)
  }

  crash(kind: 'kill' | 'power-cut'): void {
    if (kind === 'kill' && !this.#process.alive) return
    this.#time.note(`${this.name} ${kind}`)
    this.end()
    if (kind === 'kill') this.disk.kill()
    else this.disk.powerCut()
    this.#wires.ended(this.#process, kind === 'power-cut')
  }

  restart(): void {
    this.crash('kill')
    this.#process = this.#next()
    this.#begin()
  }

  /** Nothing more happens to the process. */
  end(): void {
    this.#process.alive = false
  }

  #next(): Incarnation {
    this.#born += 1
    return new Incarnation({ node: this.name, number: this.#born, time: this.#time, machine: this.#clock })
  }

  #begin(): void {
    const process = this.#process
    const { clock, random } = process
    this.#wires.started(this.name)
    const platform: Platform = { clock, random }
    const given: SimulatedProcess = {
      name: this.name,
      incarnation: process.number,
      platform,
      network: this.#wires.of(process),
      disk: this.disk,
      newId: createIdSource(platform),
      exit: () => {
        if (process === this.#process) this.crash('kill')
      },
      note: (text) => this.#time.note(`${this.name} ${text}`)
    }
    process.plan(0, `starts for the ${process.number}. time`, () => {
      void (async () => this.#start(given))().catch(this.#onFailed)
    })
  }
}

function noDuration(count: number): CoreError<'INVALID_DURATION'> {
  const message = `a node's clock cannot go on by ${count} ms`
  return new CoreError('INVALID_DURATION', message, { count, unit: 'milliseconds' })
}
