import type { Verdict } from '@enablement/core'
import { type RequestRecord, verdictOf } from '../request/request.ts'
import { settle } from '../request/settlement.ts'
import type { Step } from '../request/step.ts'
import { caughtUp } from './settling.ts'

/** What became of a cancellation. */
export type Cancelled =
  | { readonly outcome: 'cancelled' }
  /** It had ended before, also by an earlier cancellation; nothing has changed. */
  | { readonly outcome: 'already-settled'; readonly verdict: Verdict }

/** Withdraws a request that is still open: who asked no longer needs the answer. */
export function cancel(
  request: RequestRecord,
  call: { readonly by: string; readonly reason: string },
  now: number
): Step<Cancelled> {
  const verdict = verdictOf(request)
  if (verdict !== undefined) return { answer: { outcome: 'already-settled', verdict }, facts: [] }
  const reached = caughtUp(request, now)
  const late = verdictOf(reached.request)
  if (late !== undefined) return { ...reached, answer: { outcome: 'already-settled', verdict: late } }
  const fact = { type: 'request.cancelled', by: call.by, reason: call.reason } as const
  return { ...settle(request, { status: 'cancelled', ...call, fact }, now), answer: { outcome: 'cancelled' } }
}
