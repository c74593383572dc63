import type { DeliveryOutcome, OutboxEvent, OutboxMessage, Settlement } from '@enablement/core/outbox'
import type { Sql } from '@enablement/core/sql'
import type { Courier, MessageEnd, MessageOutcome } from '../oversight-store.ts'
import type { RequestRecord } from '../request/request.ts'
import type { RequestUnits } from './request-units.ts'

/** Between the outbox and whoever delivers. */
export interface SqlCourier {
  take(courier: Courier): void
  isTaken(): boolean
  deliver(message: OutboxMessage, options: { readonly signal: AbortSignal }): Promise<DeliveryOutcome>
  /** What the ends of messages change, in the unit that ends them. */
  settle(units: RequestUnits, settlements: readonly Settlement[]): Sql<void>
  observe(event: OutboxEvent): void
}

/** What a unit that is not yet known to be committed has made of a message's request. */
interface Made {
  readonly request: RequestRecord
  readonly answer: unknown
}

/** Units whose commit is not known are few; what they made is told of once, or not at all. */
const UNTOLD_MAX = 10_000

/** Characters that the outbox keeps of a receipt. */
const RECEIPT_MAX = 4_096

/**
 * Ends are told by receipts: to the outbox a message that cannot get through is done with as much as one that arrived,
 * and only one that kills its workers, or has waited for a day, is put aside.
 */
export function sqlCourier(): SqlCourier {
  let courier: Courier | undefined
  const untold = new Map<string, Made>()

  return {
    take(through) {
      courier = through
    },
    isTaken: () => courier !== undefined,
    async deliver({ id, payload, attempt }, { signal }) {
      // Nobody can do anything with what is none of ours: it is put aside, where operators find it.
      const isOurs = typeof payload === 'string' && courier?.requestOf(payload) !== undefined
      if (courier === undefined || !isOurs) return { outcome: 'refused', reason: 'MALFORMED' }
      return outcomeOf(await courier.deliver({ id, payload, attempt }, { signal }))
    },
    *settle(units, settlements) {
      if (courier === undefined) return
      const through = courier
      const ended = settlements.flatMap(({ message, end, receipt, reason }) => {
        const payload = typeof message.payload === 'string' ? message.payload : ''
        const requestId = through.requestOf(payload)
        if (requestId === undefined) return []
        const how: MessageEnd = end === 'delivered' ? endIn(receipt) : unanswered(reason)
        return how.outcome === 'dropped' ? [] : [{ id: message.id, requestId, payload, how }]
      })
      if (ended.length === 0) return
      const results = yield* units.change(
        ended.map(({ requestId, payload, how }) => ({
          requestId,
          step(request, now) {
            const change = through.settle(request, payload, how, now)
            return { ...change, answer: { request: change.request ?? request, answer: change.answer } }
          }
        }))
      )
      if (untold.size > UNTOLD_MAX) untold.clear()
      for (const [at, { id }] of ended.entries()) {
        const result = results[at]
        if (result?.outcome === 'changed') untold.set(id, result.answer as Made)
        // Its request is gone or cannot be read: the message is done with all the same.
      }
    },
    observe(event) {
      if (event.type !== 'outbox.delivered' && event.type !== 'outbox.dead-lettered') return
      const made = untold.get(event.id)
      if (made === undefined) return
      untold.delete(event.id)
      courier?.settled(made.request, made.answer)
    }
  }
}

function outcomeOf(outcome: MessageOutcome): DeliveryOutcome {
  switch (outcome.outcome) {
    case 'failed': {
      const { reason, afterMs } = outcome
      return { outcome: 'failed', reason, ...(afterMs === undefined ? {} : { retryAfterMs: afterMs }) }
    }
    case 'postponed':
      return { outcome: 'postponed', reason: outcome.reason, delayMs: outcome.afterMs }
    case 'delivered': {
      // Escaped it may be six times as long as the outbox keeps: without it the invitation is delivered all the same.
      const receipt = JSON.stringify(outcome)
      return {
        outcome: 'delivered',
        receipt: receipt.length <= RECEIPT_MAX ? receipt : JSON.stringify({ outcome: 'delivered' })
      }
    }
    default:
      return { outcome: 'delivered', receipt: JSON.stringify(outcome) }
  }
}

const endIn = (receipt: string | undefined): MessageEnd =>
  receipt === undefined ? { outcome: 'delivered' } : (JSON.parse(receipt) as MessageEnd)

const unanswered = (reason: string | undefined): MessageEnd => ({
  outcome: 'unreachable',
  reason: `it could not be delivered: ${reason ?? 'UNSPECIFIED'}`
})
