import {
  canonicalJson,
  type Execution,
  isSuiteError,
  type JsonObject,
  type JsonValue,
  type Platform,
  sleep,
  type Timer
} from '@enablement/core'
import { type Action, screened } from '../action/action.ts'
import { RESULT_LENGTH_MAX } from '../action/reconciliation.ts'
import { keptReason, OversightError, type OversightErrorTable } from '../oversight-error.ts'
import type { RequestRecord } from '../request/request.ts'
import type { Step } from '../request/step.ts'
import type { Transitions } from '../transition/transitions.ts'
import { abandon, claim, finish, release, renew } from './execution.ts'

/** What an effect is run with. */
export interface ExecutionClaim<Detail = JsonObject> {
  readonly requestId: string
  /** What was approved. */
  readonly detail: Detail
  /** The same for every claim of this request: hand it to whatever the effect calls. */
  readonly idempotencyKey: string
  /**
   * Grows with every claim of this request; a target that keeps the highest one refuses an executor that was overtaken.
   */
  readonly fence: number
  /**
   * Aborts with `LEASE_LOST` when the lease could not be kept: stop, the execution is about to be declared in doubt.
   */
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
  readonly actions: ReadonlyMap<string, Action>
  /** Asks the target of an execution in doubt; resolves to whether it is known now what happened. */
  readonly reconcile: (request: RequestRecord) => Promise<boolean>
}

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
 * When the effect throws `noEffect(…)` the claim is given back and `NO_EFFECT` thrown. When it throws anything else, or
 * returns what is not JSON, the execution is in doubt. Throws `WRONG_ACTION`, `ARGUMENTS_ALTERED`, `UNKNOWN_REQUEST`
 * and what the store throws; if that happens after the effect, the lease runs out and the execution becomes in doubt.
 */
export async function execute<Detail, Result extends JsonValue>(
  options: ExecutorOptions,
  of: { readonly requestId: string; readonly action?: string },
  effect: (claim: ExecutionClaim<Detail>) => Promise<Result>
): Promise<Executed<Result>> {
  const { requestId, action } = of
  const { transitions, nextId, leaseMs, actions } = options
  const claimId = nextId()
  const screen = (held: RequestRecord) => screened(actions.get(held.action), held)
  // The lease began when the store took the claim, which is not before it was asked.
  const askedAt = options.platform.clock.monotonic()
  const claimed = await insisting(options, ['COMMIT_UNKNOWN'], () =>
    transitions.apply(requestId, (held, now) => claim(held, { claimId, leaseMs, action, screen }, now))
  )
  if (claimed.outcome === 'replayed') return { outcome: 'replayed', result: JSON.parse(claimed.result) as Result }
  if (claimed.outcome === 'in-doubt') {
    const known = await options.reconcile(claimed.request)
    return known ? execute(options, of, effect) : { outcome: 'in-doubt', since: claimed.since }
  }
  if (claimed.outcome !== 'claimed') return claimed

  const { fence, request } = claimed
  const report = <Answer>(step: (request: RequestRecord, now: number) => Step<Answer>): Promise<Answer> =>
    insisting(options, UNDECIDED, () => transitions.apply(requestId, step))
  const lease = keepLease(options, { requestId, fence, askedAt })
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
      const without = noEffectOf(cause)
      if (without !== undefined) {
        const reason = keptReason(without.reason)
        await report((held) => release(held, { fence, reason }))
        const message = `the effect of request ${requestId} did not happen: ${reason}`
        throw new OversightError('NO_EFFECT', message, { reason, requestId }, { cause })
      }
      const { since } = await report((held, now) => abandon(held, { fence }, now))
      return { outcome: 'in-doubt', since, cause }
    }
    await report((held, now) => finish(held, { fence, result: text }, now))
    return { outcome: 'executed', result }
  } finally {
    lease.stop()
  }
}

/**
 * What an effect says that had none. One that comes with a request's id has come out of another `execute`, which the
 * effect ran itself, and speaks for that one alone: what the outer effect did before may have happened.
 */
function noEffectOf(cause: unknown): OversightErrorTable['NO_EFFECT'] | undefined {
  if (!isSuiteError(cause, 'NO_EFFECT')) return undefined
  const detail = cause.detail as OversightErrorTable['NO_EFFECT']
  return detail.requestId === undefined ? detail : undefined
}

/** Failures after which the same step may be tried again: it was not taken, or taking it again changes nothing. */
const UNDECIDED = ['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN', 'OVERLOADED']

/**
 * Tries again while the store fails in one of the given ways; the last failure is thrown. Once it is not known whether the
 * step was taken, a store that is away says nothing about that: it is asked until it tells, and what was not known stays so.
 */
async function insisting<T>(
  { platform }: ExecutorOptions,
  codes: readonly string[],
  work: () => Promise<T>
): Promise<T> {
  let unknown: unknown
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (isSuiteError(error, 'COMMIT_UNKNOWN')) unknown = error
      const retried = unknown === undefined ? codes : UNDECIDED
      if (!retried.some((code) => isSuiteError(error, code))) throw error
      if (attempt === REPORT_ATTEMPTS_MAX) throw unknown ?? error
      await sleep(platform.clock, REPORT_PAUSE_MS * 2 ** (attempt - 1))
    }
  }
}

interface KeptLease {
  readonly signal: AbortSignal
  stop(): void
}

/**
 * Renews the lease until it is told to stop. A renewal that fails is tried again at the next turn. When the store says
 * that the lease is lost, or none has succeeded for its whole length, the signal aborts; a renewal that gets no answer
 * at all does not keep it from doing so.
 */
function keepLease(
  { transitions, platform, leaseMs }: ExecutorOptions,
  { requestId, fence, askedAt }: { readonly requestId: string; readonly fence: number; readonly askedAt: number }
): KeptLease {
  const { clock } = platform
  const controller = new AbortController()
  let stopped = false

  const stop = (): void => {
    stopped = true
    renewal.cancel()
    end.cancel()
  }
  const lose = (): void => {
    stop()
    const message = `the lease of execution ${fence} of request ${requestId} was lost`
    controller.abort(new OversightError('LEASE_LOST', message, { requestId, fence }))
  }
  const startRenewal = (): Timer =>
    clock.startTimer(leaseMs / RENEWALS_PER_LEASE, () => void renewOnce(), { background: true })
  const startEnd = (heldFrom: number): Timer =>
    clock.startTimer(heldFrom + leaseMs - clock.monotonic(), lose, { background: true })

  const renewOnce = async (): Promise<void> => {
    const renewedAt = clock.monotonic()
    const answer = await transitions
      .apply(requestId, (held, now) => renew(held, { fence, leaseMs }, now))
      // The next turn tries again, until the lease has ended.
      .catch(() => 'unknown' as const)
    if (stopped) return
    if (answer === 'lost') return lose()
    if (answer === 'held') {
      end.cancel()
      end = startEnd(renewedAt)
    }
    renewal = startRenewal()
  }
  let renewal = startRenewal()
  let end = startEnd(askedAt)
  return { signal: controller.signal, stop }
}
