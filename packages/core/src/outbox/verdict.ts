import type { Random } from '../chance/random.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { type Backoff, backoffMs } from '../resilience/backoff.ts'
import { classifyError, statusOf } from '../resilience/classification.ts'
import { retryAfterOf } from '../resilience/retry-after.ts'
import type { DestinationVerdict } from './destinations.ts'
import type { DeathCause } from './outbox-event.ts'

/** What a deliverer says. A `reason` is a code such as `HTTP_503`, at most 64 characters; anything else is `UNSPECIFIED`. */
export type DeliveryOutcome =
  /** The receiver has it. */
  | { readonly outcome: 'delivered' }
  /** It may be taken later, and not before `retryAfterMs` if the receiver said so. Whether it was taken may be unknown. */
  | { readonly outcome: 'failed'; readonly reason?: string; readonly retryAfterMs?: number }
  /** It will never be taken: it is dead-lettered at once. */
  | { readonly outcome: 'refused'; readonly reason?: string }

/** What is to be done with a message after an attempt. */
export type Verdict =
  | { readonly outcome: 'delivered' }
  | { readonly outcome: 'again'; readonly reason: string; readonly delayMs: number }
  | { readonly outcome: 'dead'; readonly reason: string; readonly cause: DeathCause }

/** How often, and for how long, a message is attempted. */
export interface RetryLimits {
  readonly attemptsMax: number
  readonly ageMaxMs: number
  readonly backoff: Backoff
}

interface AttemptedMessage {
  readonly attempt: number
  readonly ageMs: number
}

interface Chance {
  readonly random: Random
  readonly now: number
}

/** Codes of errors, and nothing that could quote a payload. */
const REASON = /^[A-Za-z][A-Za-z0-9_.:-]{0,63}$/
const UNSPECIFIED = 'UNSPECIFIED'

const reasonIn = (value: unknown): string | undefined =>
  typeof value === 'string' && REASON.test(value) ? value : undefined

/** A code for what was thrown: its own, its HTTP status, or the name of its class. */
function reasonOf(error: unknown): string {
  if (isSuiteError(error)) return error.code
  const { code, name } = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: unknown
    name?: unknown
  }
  const status = statusOf(error)
  return reasonIn(code) ?? (status === undefined ? reasonIn(name) : `HTTP_${status}`) ?? UNSPECIFIED
}

/**
 * Judges an attempt, the `attempt`th, of a message that has used `ageMs` of its time. The wait is what the receiver asks
 * for and then the usual one, so that those who were told the same time do not come together. Pure but for the draw.
 */
function verdictOn(
  end: PromiseSettledResult<unknown>,
  message: AttemptedMessage,
  limits: RetryLimits,
  chance: Chance
): Verdict {
  const threw = end.status === 'rejected'
  const answer = threw ? {} : answerIn(end.value)
  if (answer.outcome === 'delivered') return { outcome: 'delivered' }
  const reason = threw ? reasonOf(end.reason) : (reasonIn(answer.reason) ?? UNSPECIFIED)
  if (answer.outcome === 'refused') return { outcome: 'dead', reason, cause: 'refused' }

  const { attemptsMax, ageMaxMs, backoff } = limits
  if (message.attempt >= attemptsMax) return { outcome: 'dead', reason, cause: 'attempts' }
  const askedMs = retryAfterOf(threw ? end.reason : { retryAfterMs: answer.retryAfterMs }, chance.now)
  const delayMs = Math.ceil((askedMs ?? 0) + backoffMs(backoff, message.attempt, 0, chance.random))
  if (message.ageMs + delayMs > ageMaxMs) return { outcome: 'dead', reason, cause: 'age' }
  return { outcome: 'again', reason, delayMs }
}

/**
 * What an attempt says of its destination: a receiver that refuses a message is well. Of a timeout that this process
 * slept through nothing can be said.
 */
function evidenceOf(end: PromiseSettledResult<unknown>): DestinationVerdict {
  if (end.status === 'rejected') {
    return isSuiteError(end.reason, 'TIMED_OUT') && classifyError(end.reason) === 'ignored' ? 'ignored' : 'failure'
  }
  const { outcome } = answerIn(end.value)
  return outcome === 'delivered' || outcome === 'refused' ? 'success' : 'failure'
}

/** What an attempt means for its message and for its destination. */
interface Judgement {
  readonly verdict: Verdict
  readonly evidence: DestinationVerdict
}

/** Judges an attempt. One whose end cannot be read, since a getter in it throws, has failed. */
export function judgementOn(
  end: PromiseSettledResult<unknown>,
  ...about: [message: AttemptedMessage, limits: RetryLimits, chance: Chance]
): Judgement {
  const judge = (as: PromiseSettledResult<unknown>): Judgement => ({
    verdict: verdictOn(as, ...about),
    evidence: evidenceOf(as)
  })
  try {
    return judge(end)
  } catch {
    return judge({ status: 'rejected', reason: undefined })
  }
}

/** What a deliverer returned, which may be anything. */
function answerIn(value: unknown): { outcome?: unknown; reason?: unknown; retryAfterMs?: unknown } {
  return typeof value === 'object' && value !== null ? value : {}
}
