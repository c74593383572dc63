import type { Random } from '../chance/random.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { type Backoff, backoffMs } from '../resilience/backoff.ts'
import { classifyError, statusOf } from '../resilience/classification.ts'
import { retryAfterOf } from '../resilience/retry-after.ts'
import type { DestinationVerdict } from './destinations.ts'
import type { DeathCause } from './outbox-event.ts'

/** What a deliverer says. A `reason` is a code such as `HTTP_503`, at most 64 characters; anything else is `UNSPECIFIED`. */
export type DeliveryOutcome =
  /**
   * The receiver has it. `receipt` is what the receiver knows it by, for the outbox's `settled`: well-formed text of up to
   * 4,096 characters; anything else is left out.
   */
  | { readonly outcome: 'delivered'; readonly receipt?: string }
  /** It may be taken later, and not before `retryAfterMs` if the receiver said so. Whether it was taken may be unknown. */
  | { readonly outcome: 'failed'; readonly reason?: string; readonly retryAfterMs?: number }
  /**
   * It was not sent, since it is not the time for it, as a rate limit says: it is not an attempt, and says nothing of its
   * destination. It is handed over again after `delayMs`, 100 ms to an hour, whatever more or less is asked for. One
   * that would come after `ageMaxMs` is dead-lettered.
   */
  | { readonly outcome: 'postponed'; readonly delayMs: number; readonly reason?: string }
  /**
   * It will never be taken: it is dead-lettered at once. `detail` is free text for the outbox's `settled`, cut at 500
   * characters; it is in no event.
   */
  | { readonly outcome: 'refused'; readonly reason?: string; readonly detail?: string }

/** What is to be done with a message after an attempt. */
export type Verdict =
  | { readonly outcome: 'delivered'; readonly receipt?: string }
  | { readonly outcome: 'again'; readonly reason: string; readonly delayMs: number }
  | { readonly outcome: 'postponed'; readonly reason: string; readonly delayMs: number }
  | { readonly outcome: 'dead'; readonly reason: string; readonly cause: DeathCause; readonly detail?: string }

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

/** Ids of messages in other systems, and a few words with them; more would be a document. */
const RECEIPT_MAX = 4_096
const DETAIL_MAX = 500
/** Shorter, and what cannot be sent now would be claimed and given back all the time. */
const POSTPONED_MIN_MS = 100
/** Longer, and nobody would notice that whoever postpones is wrong. */
const POSTPONED_MAX_MS = 3_600_000

const reasonIn = (value: unknown): string | undefined =>
  typeof value === 'string' && REASON.test(value) ? value : undefined

/** A code for what was thrown: its own, its HTTP status, or the name of its class. */
export function reasonOf(error: unknown): string {
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
  if (answer.outcome === 'delivered') return { outcome: 'delivered', ...receiptIn(answer.receipt) }
  const reason = threw ? reasonOf(end.reason) : (reasonIn(answer.reason) ?? UNSPECIFIED)
  if (answer.outcome === 'refused') return { outcome: 'dead', reason, cause: 'refused', ...detailIn(answer.detail) }

  const { attemptsMax, ageMaxMs, backoff } = limits
  if (isPostponed(answer)) {
    const delayMs = Math.min(POSTPONED_MAX_MS, Math.max(POSTPONED_MIN_MS, Math.ceil(answer.delayMs)))
    if (message.ageMs + delayMs > ageMaxMs) return { outcome: 'dead', reason, cause: 'age' }
    return { outcome: 'postponed', reason, delayMs }
  }
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
  const answer = answerIn(end.value)
  if (isPostponed(answer)) return 'ignored'
  const { outcome } = answer
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
type Answered = Partial<
  Readonly<Record<'outcome' | 'reason' | 'retryAfterMs' | 'delayMs' | 'receipt' | 'detail', unknown>>
>

function answerIn(value: unknown): Answered {
  return typeof value === 'object' && value !== null ? value : {}
}

/** One without a time has failed. */
function isPostponed(answer: Answered): answer is Answered & { readonly delayMs: number } {
  return answer.outcome === 'postponed' && typeof answer.delayMs === 'number' && !Number.isNaN(answer.delayMs)
}

function receiptIn(value: unknown): { readonly receipt?: string } {
  const isReceipt = typeof value === 'string' && value.length <= RECEIPT_MAX && isPlain(value)
  return isReceipt ? { receipt: value } : {}
}

function detailIn(value: unknown): { readonly detail?: string } {
  return typeof value === 'string'
    ? { detail: value.slice(0, DETAIL_MAX).toWellFormed().replaceAll('\0', '\ufffd') }
    : {}
}

function isPlain(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}
