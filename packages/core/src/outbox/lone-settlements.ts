import type { Random } from '../chance/random.ts'
import type { SqlDatabase } from '../sql/sql-database.ts'
import type { Clock } from '../time/clock.ts'
import { type Answer, type Exchange, settlementsOf } from './exchange.ts'
import type { OutboxEvent } from './outbox-event.ts'
import { hookFailed } from './settlement.ts'
import { reasonOf } from './verdict.ts'

/** A hook that throws so often for one message, over some seconds, will go on. */
const FAILURES_MAX = 5
/** From the first failure to the second try, twice as long each time: with the longest lease 4 s in all. */
const PAUSE_MS = 250
/** All pauses together are shorter than what is left of a lease when a delivery ends. */
const PAUSE_LEASE_RATIO = 1 / 40

interface LoneAnswer {
  answer: Answer
  failures: number
  /** Monotonic. */
  retryAt: number
}

/**
 * The answers of one run that are settled one by one, since the hook threw for some of them together: those that it
 * throws for do not hold up the others.
 */
export interface LoneSettlements {
  readonly size: number
  /** When the next one is to be settled, on the monotonic clock. */
  nextAt(): number
  /** Takes those over that the hook hears of, and gives back the others. */
  part(answers: readonly Answer[], error: unknown): readonly Answer[]
  /**
   * Settles those whose time has come, each in a unit of its own, and tells `onSettled` of each; those for which the hook
   * has thrown too often are settled without it. Throws what the store throws, and keeps what is not settled.
   */
  settle(onSettled: (answers: readonly Answer[], settled: ReadonlySet<string>) => void): Promise<void>
  /** Forgets the others, whose leases end by themselves. */
  keep(isKept: (answer: Answer) => boolean): void
}

export function loneSettlements(options: {
  readonly name: string
  readonly db: SqlDatabase
  readonly exchange: Exchange
  readonly leaseMs: number
  readonly clock: Clock
  readonly random: Random
  readonly report: (event: OutboxEvent) => void
}): LoneSettlements {
  const { name, db, exchange, leaseMs, clock, random, report } = options
  const pauseMs = Math.min(PAUSE_MS, leaseMs * PAUSE_LEASE_RATIO)
  const waiting = new Set<LoneAnswer>()

  const tellOf = (answers: readonly Answer[], error: unknown, retryInMs: number | undefined): void => {
    const ids = answers.map(({ message }) => message.key)
    report({ type: 'outbox.settlements-failed', outbox: name, ids, error, retryInMs })
  }

  const failed = (one: LoneAnswer, error: unknown): void => {
    const { answer } = one
    one.failures += 1
    const gaveUp = one.failures === FAILURES_MAX
    const retryInMs = gaveUp ? 0 : Math.ceil(pauseMs * 2 ** (one.failures - 1) * (0.5 + random.float() / 2))
    one.retryAt = clock.monotonic() + retryInMs
    if (gaveUp) {
      const dead = { outcome: 'dead', reason: reasonOf(error), cause: 'unsettled' } as const
      one.answer = {
        ...answer,
        error,
        unheard: true,
        ...(answer.verdict.outcome === 'delivered' ? { verdict: dead } : {})
      }
    }
    tellOf([answer], error, gaveUp ? undefined : retryInMs)
  }

  return {
    get size() {
      return waiting.size
    },
    nextAt: () => Math.min(...Array.from(waiting, ({ retryAt }) => retryAt)),
    part(answers, error) {
      const [heard, others]: [Answer[], Answer[]] = [[], []]
      for (const answer of answers) (settlementsOf(answer).length > 0 ? heard : others).push(answer)
      for (const answer of heard) waiting.add({ answer, failures: 0, retryAt: clock.monotonic() })
      tellOf(heard, error, 0)
      return others
    },
    async settle(onSettled) {
      for (const one of waiting) {
        if (one.retryAt > clock.monotonic()) continue
        const { answer } = one
        const telling = { inside: false }
        try {
          const settled = await db.run(() => exchange.settle([answer], telling))
          waiting.delete(one)
          onSettled([answer], settled)
        } catch (error) {
          if (!hookFailed(telling, error)) throw error
          failed(one, error)
        }
      }
    },
    keep(isKept) {
      for (const one of waiting) if (!isKept(one.answer)) waiting.delete(one)
    }
  }
}
