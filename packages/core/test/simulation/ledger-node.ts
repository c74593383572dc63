import {
  classifyError,
  createCircuitBreaker,
  createPipeline,
  createRetry,
  createRetryBudget,
  createTimeout,
  isSuiteError,
  type Platform,
  sleep
} from '@enablement/core'
import type { Journal } from '@enablement/core/journal'

/** Something to be counted once. */
export interface LedgerEvent {
  /** Its idempotency key: the store counts it once, however often it is sent. */
  readonly id: string
  /** What its client calls it. */
  readonly request: string
}

/** The one store that all nodes share. */
export interface LedgerStore {
  /** Resolves when all of them are counted. Without an answer they are or are not. */
  accept(events: readonly LedgerEvent[], options: { readonly signal: AbortSignal }): Promise<void>
}

export interface LedgerNode {
  /**
   * Resolves when the event cannot be lost any more: it is in the store, or in the journal of this node while the store
   * cannot be reached. Rejects when that is not known.
   */
  record(request: string): Promise<'stored' | 'journaled'>
  /** Events in the journal that the store has not confirmed. */
  readonly backlog: number
}

export interface LedgerNodeOptions {
  readonly store: LedgerStore
  readonly journal: Journal
  readonly newId: () => string
  readonly platform: Platform
  /** Is told when the node cannot go on, as when its journal has failed. */
  readonly onFailed: (error: unknown) => void
}

/** Types of the journal's records. */
const EVENT = 0
/** Its payload is a sequence: all events up to that one are in the store. */
const DELIVERED = 1

/** Events sent at once when the store is back. */
const BATCH_MAX = 32
/** How long the node leaves the store alone after it could not be reached. */
const PAUSE_MS = 500

/** Starts a node: finds what an earlier process had left in the journal, and brings it to the store. */
export async function startLedgerNode(options: LedgerNodeOptions): Promise<LedgerNode> {
  const { store, journal, newId, platform, onFailed } = options
  const reach = createPipeline([
    createRetry({
      effects: 'repeatable',
      attemptsMax: 3,
      backoff: { jitter: 'full', baseMs: 50, maxMs: 400 },
      budget: createRetryBudget({ capacity: 100 }),
      platform
    }),
    createCircuitBreaker({
      name: 'ledger-store',
      window: { kind: 'consecutive', failures: 4 },
      breakMs: 500,
      breakMaxMs: 4_000,
      platform
    }),
    createTimeout({ timeoutMs: 200, platform })
  ])

  /** Whether the store has the events now. Throws what is no outage. */
  const deliver = async (events: readonly LedgerEvent[]): Promise<boolean> => {
    try {
      await reach.execute(({ signal }) => store.accept(events, { signal }))
      return true
    } catch (error) {
      if (isSuiteError(error, 'CIRCUIT_OPEN') || classifyError(error) === 'failure') return false
      throw error
    }
  }

  let delivered = 0n
  let backlog = 0
  for await (const { type, payload } of journal.replay()) {
    if (type === DELIVERED) delivered = BigInt(new TextDecoder().decode(payload))
  }
  for await (const { type, sequence } of journal.replay()) if (type === EVENT && sequence > delivered) backlog += 1

  const nextBatch = async (): Promise<{ readonly events: LedgerEvent[]; readonly through: bigint }> => {
    const events: LedgerEvent[] = []
    let through = delivered
    for await (const { type, sequence, payload } of journal.replay({ after: cursorIn(journal, delivered) })) {
      if (type !== EVENT || sequence <= delivered) continue
      events.push(JSON.parse(new TextDecoder().decode(payload)) as LedgerEvent)
      through = sequence
      if (events.length === BATCH_MAX) break
    }
    return { events, through }
  }

  let draining = false
  /** Brings the journal's events to the store until there are none; one at a time does. */
  const drain = async (): Promise<void> => {
    if (draining) return
    draining = true
    while (backlog > 0) {
      const { events, through } = await nextBatch()
      if (!(await deliver(events))) {
        await sleep(platform.clock, PAUSE_MS)
        continue
      }
      // Lost, this costs the sending again of what the store has. It would cost events if it came first.
      await journal.append(new TextEncoder().encode(String(through)), { type: DELIVERED })
      delivered = through
      backlog -= events.length
      await journal.trim({ through: delivered })
    }
    draining = false
  }
  const startDraining = (): void => void drain().catch(onFailed)

  startDraining()
  return {
    async record(request) {
      const event: LedgerEvent = { id: newId(), request }
      if (backlog === 0 && (await deliver([event]))) return 'stored'
      await journal.append(new TextEncoder().encode(JSON.stringify(event)), { type: EVENT })
      backlog += 1
      startDraining()
      return 'journaled'
    },
    get backlog() {
      return backlog
    }
  }
}

/** The cursor, or the beginning of what the journal has kept: a restarted process may know of less than was trimmed. */
const cursorIn = (journal: Journal, delivered: bigint): bigint => {
  const before = journal.status().firstSequence - 1n
  return delivered > before ? delivered : before
}
