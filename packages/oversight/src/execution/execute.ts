import {
  canonicalJson,
  type Execution,
  isSuiteError,
  type JsonObject,
  type JsonValue,
  type Platform,
  sleep
} from '@enablement/core'
import { keptReason, OversightError } from '../oversight-error.ts'
import type { Dossier } from '../request/dossier.ts'
import type { Step } from '../request/step.ts'
import type { Transitions } from '../request/transitions.ts'
import { abandon, claim, finish, release, renew } from './execution.ts'

/** What an effect is run with. */
export interface ExecutionClaim<Detail = JsonObject> {
  readonly requestId: string
  /** What was approved. */
  readonly detail: Detail
  /** The same for every claim of this request: hand it to whatever the effect calls. */
  readonly idempotencyKey: string
  /** Grows with every claim of this request; a target that keeps the highest one refuses an executor that was overtaken. */
  readonly fence: number
  /** Aborts with `LEASE_LOST` when the lease could not be kept: stop, the execution is about to be declared in doubt. */
  readonly signal: AbortSignal
}

/** Core's `Execution`; one that is in doubt because the effect just threw says with what. */
export type Executed<Result extends JsonValue> =
  | Exclude<Execution<Result>, { readonly outcome: 'in-doubt' }>
  | { readonly outcome: 'in-doubt'; readonly since: number; readonly cause?: unknown }

interface ExecutorOptions {
  readonly transitions: Transitions
  readonly platform: Platform
  readonly nextId: () => string
  readonly leaseMs: number
}

/** Characters of a result's JSON that are kept for replay. */
const RESULT_LENGTH_MAX = 262_144

/**
 * A lease is renewed at a third of its length, so that two renewals may fail before it is lost. While the store is
 * away, a report is tried again this often in all, with a pause that doubles from 100 ms: some 3 s.
 */
const RENEWALS_PER_LEASE = 3
const REPORT_ATTEMPTS_MAX = 6
const REPORT_PAUSE_MS = 100

/**
 * Runs the effect of an approved request at most once: claims it, keeps the lease while the effect runs, and commits
 * what came of it. The claim is committed before the effect begins and an unfinished claim is never taken over, so two
 * effects of one request cannot run, whatever dies in between.
 *
 * When the effect throws `noEffect(…)` the claim is given back and the error thrown on. When it throws anything else,
 * or returns what is not JSON, the execution is in doubt. Throws `WRONG_ACTION`, `ARGUMENTS_ALTERED`, `UNKNOWN_REQUEST` and what the
 * store throws; if that happens after the effect, the lease runs out and the execution becomes in doubt.
 */
export async function execute<Detail, Result extends JsonValue>(
  options: ExecutorOptions,
  of: { readonly requestId: string; readonly action?: string },
  effect: (claim: ExecutionClaim<Detail>) => Promise<Result>
): Promise<Executed<Result>> {
  const { requestId, action } = of
  const { transitions, nextId, leaseMs } = options
  const claimId = nextId()
  const claimed = await insisting(options, ['COMMIT_UNKNOWN'], () =>
    transitions.apply(requestId, (dossier, now) => claim(dossier, { claimId, leaseMs, action }, now))
  )
  if (claimed.outcome === 'replayed') return { outcome: 'replayed', result: JSON.parse(claimed.result) as Result }
  if (claimed.outcome !== 'claimed') return claimed

  const { fence, request } = claimed
  const report = <Answer>(step: (dossier: Dossier, now: number) => Step<Answer>): Promise<Answer> =>
    insisting(options, UNDECIDED, () => transitions.apply(requestId, step))
  const lease = keepLease(options, requestId, fence)
  try {
    let result: Result
    let text: string
    try {
      const detail = request.detail as Detail
      const returned = await effect({ requestId, detail, idempotencyKey: requestId, fence, signal: lease.signal })
      // What JavaScript calls undefined is null in JSON: an effect that returns nothing has returned.
      result = returned ?? (null as Result)
      text = canonicalJson(result, { lengthMax: RESULT_LENGTH_MAX })
    } catch (cause) {
      if (isSuiteError(cause, 'NO_EFFECT')) {
        const { reason } = cause.detail as { readonly reason: string }
        await report((dossier) => release(dossier, { fence, reason: keptReason(reason) }))
        throw cause
      }
      const { since } = await report((dossier, now) => abandon(dossier, { fence }, now))
      return { outcome: 'in-doubt', since, cause }
    }
    await report((dossier, now) => finish(dossier, { fence, result: text }, now))
    return { outcome: 'executed', result }
  } finally {
    lease.stop()
  }
}

/** Failures after which the same step may be tried again: it was not taken, or taking it again changes nothing. */
const UNDECIDED = ['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN', 'OVERLOADED']

/** Tries again while the store fails in one of the given ways; the last failure is thrown. */
async function insisting<T>(
  { platform }: ExecutorOptions,
  codes: readonly string[],
  work: () => Promise<T>
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (attempt === REPORT_ATTEMPTS_MAX || !codes.some((code) => isSuiteError(error, code))) throw error
      await sleep(platform.clock, REPORT_PAUSE_MS * 2 ** (attempt - 1))
    }
  }
}

interface KeptLease {
  readonly signal: AbortSignal
  stop(): void
}

/**
 * Renews the lease until it is told to stop. A renewal that fails is tried again at the next turn; when the store says
 * that the lease is lost, or none has succeeded for its whole length, the signal aborts.
 */
function keepLease({ transitions, platform, leaseMs }: ExecutorOptions, requestId: string, fence: number): KeptLease {
  const { clock } = platform
  const controller = new AbortController()
  let stopped = false
  let heldFrom = clock.monotonic()
  const pauseMs = leaseMs / RENEWALS_PER_LEASE

  const lose = (): void => {
    stopped = true
    const message = `the lease of execution ${fence} of request ${requestId} was lost`
    controller.abort(new OversightError('LEASE_LOST', message, { requestId, fence }))
  }
  const turn = async (): Promise<void> => {
    const askedAt = clock.monotonic()
    try {
      const answer = await transitions.apply(requestId, (dossier, now) => renew(dossier, { fence, leaseMs }, now))
      if (stopped) return
      if (answer === 'lost') return lose()
      heldFrom = askedAt
    } catch {
      // The next turn tries again; whether the lease still holds is judged by the clock below.
      if (stopped) return
      if (clock.monotonic() - heldFrom >= leaseMs) return lose()
    }
    timer = clock.startTimer(pauseMs, () => void turn(), { background: true })
  }
  let timer = clock.startTimer(pauseMs, () => void turn(), { background: true })
  return {
    signal: controller.signal,
    stop() {
      stopped = true
      timer.cancel()
    }
  }
}
