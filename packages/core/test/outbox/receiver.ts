import {
  createOutbox,
  type DeliveryOutcome,
  type Outbox,
  type OutboxDraft,
  type OutboxEvent,
  type OutboxMessage,
  type OutboxOptions,
  type OutboxRef,
  outboxSchema
} from '@enablement/core/outbox'
import type { Duty, DutyRun, DutyRunOptions } from '@enablement/core/schedule'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'

/** What reached the receiver, in the order of arrival. */
export interface Receiver {
  readonly arrived: OutboxMessage[]
  /** Payloads, in the order of arrival. */
  payloads(): (string | Uint8Array)[]
  readonly deliver: OutboxOptions['deliver']
  /** Answers from here on. */
  answer: (message: OutboxMessage, signal: AbortSignal) => DeliveryOutcome | Promise<DeliveryOutcome>
}

export function receiver(): Receiver {
  const arrived: OutboxMessage[] = []
  const made: Receiver = {
    arrived,
    payloads: () => arrived.map(({ payload }) => payload),
    deliver: async (message, { signal }) => {
      arrived.push(message)
      return made.answer(message, signal)
    },
    answer: () => ({ outcome: 'delivered' })
  }
  return made
}

/** Ends when its signal aborts, as a request does that nobody answers. */
export const hang = (_message: OutboxMessage, signal: AbortSignal): Promise<DeliveryOutcome> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })

export interface Bench extends AsyncDisposable {
  readonly db: SqlDatabase
  readonly platform: TestPlatform
  readonly receiver: Receiver
  readonly outbox: Outbox
  readonly events: OutboxEvent[]
  /** Another process's outbox on the same database, with the same receiver. */
  another(options?: Partial<OutboxOptions>): Outbox
  put(...drafts: readonly OutboxDraft[]): Promise<OutboxRef[]>
  /** Runs the delivery duty once, moving the clock where it waits. */
  deliverDue(outbox?: Outbox): Promise<DutyRun>
}

export const { signal: open } = new AbortController()

export function deliveryOf(outbox: Outbox): Duty {
  return outbox.duties[0] as Duty
}

/** Moves the clock by small steps until `running` ends, and not while the database is busy, which takes real time. */
async function driven<T>(platform: TestPlatform, running: Promise<T>, busy: () => boolean = () => false): Promise<T> {
  let ended = false
  const settled = running.finally(() => {
    ended = true
  })
  settled.catch(() => {})
  for (let step = 0; !ended && step < 10_000; step++) {
    await platform.clock.advance(step === 0 ? 0 : 100)
    while (busy()) await new Promise((resolve) => setImmediate(resolve))
  }
  return settled
}

export function runDelivery(platform: TestPlatform, outbox: Outbox, options: Partial<DutyRunOptions> = {}) {
  return driven(platform, deliveryOf(outbox).run({ signal: open, ...options }))
}

/** The outbox's options, and the database, an empty one in memory unless given. */
export type BenchOptions = Partial<OutboxOptions> & { readonly on?: SqlDatabase }

export async function bench(options: BenchOptions = {}): Promise<Bench> {
  const { on = sqliteDatabase({ path: ':memory:' }), ...outboxOptions } = options
  const platform = testPlatform()
  let busy = 0
  const db = withStoreClock(
    {
      ...on,
      async run(work, runOptions) {
        busy += 1
        return on.run(work, runOptions).finally(() => (busy -= 1))
      }
    },
    platform.clock
  )
  await migrate(db, [outboxSchema])
  const events: OutboxEvent[] = []
  const reached = receiver()
  const another: Bench['another'] = (more = {}) =>
    createOutbox({
      db,
      name: 'mail',
      deliver: reached.deliver,
      platform,
      observe: (event) => events.push(event),
      ...outboxOptions,
      ...more
    })
  const outbox = another()
  return {
    db,
    platform,
    receiver: reached,
    outbox,
    events,
    another,
    put: (...drafts) =>
      db.run(function* () {
        const refs: OutboxRef[] = []
        for (const draft of drafts) refs.push(yield* outbox.put(draft))
        return refs
      }),
    deliverDue: (given = outbox) => driven(platform, deliveryOf(given).run({ signal: open }), () => busy > 0),
    [Symbol.asyncDispose]: () => db.close()
  }
}
