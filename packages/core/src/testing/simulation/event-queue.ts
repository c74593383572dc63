import { CoreError } from '../../failure/core-error.ts'

/** Events that may be planned at once: as many as a thousand nodes with a hundred timers each. More are a loop. */
const PLANNED_MAX = 100_000

/** Something that will happen. */
export interface SimulatedEvent {
  readonly dueAt: number
  /** Breaks ties: of one instant, what was planned first happens first. */
  readonly order: number
  readonly label: string
  readonly run: () => void
  cancelled: boolean
}

const before = (one: SimulatedEvent, other: SimulatedEvent): boolean =>
  one.dueAt < other.dueAt || (one.dueAt === other.dueAt && one.order < other.order)

/** Events in the order of their instants: a binary heap. Cancelled ones stay until their turn comes. */
export class EventQueue {
  readonly #heap: SimulatedEvent[] = []
  #planned = 0

  /** Throws `OVERLOADED` when too many are planned already, cancelled ones included. What is due at Infinity never comes. */
  plan(dueAt: number, label: string, run: () => void): SimulatedEvent {
    if (this.#heap.length >= PLANNED_MAX) {
      const detail = { what: 'simulation', waiting: this.#heap.length, limit: PLANNED_MAX }
      throw new CoreError('OVERLOADED', `a simulation plans at most ${PLANNED_MAX} events ahead`, detail)
    }
    const event = { dueAt, order: this.#planned++, label, run, cancelled: false }
    if (dueAt === Number.POSITIVE_INFINITY) return event
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(event, heap[parent] as SimulatedEvent)) break
      heap[at] = heap[parent] as SimulatedEvent
      at = parent
    }
    heap[at] = event
    return event
  }

  /** The next event, which leaves the queue. */
  next(): SimulatedEvent | undefined {
    let event = this.#pop()
    while (event?.cancelled === true) event = this.#pop()
    return event
  }

  #pop(): SimulatedEvent | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as SimulatedEvent, heap[child] as SimulatedEvent))
        child += 1
      if (!before(heap[child] as SimulatedEvent, last)) break
      heap[at] = heap[child] as SimulatedEvent
      at = child
    }
    heap[at] = last
    return first
  }
}
