import type { Verdict } from '@enablement/core'
import type { Dossier } from './dossier.ts'
import { verdictOf } from './request.ts'
import { isOverdue, settle, timeOut } from './settlement.ts'
import type { Step } from './step.ts'

/** What became of a cancellation. */
export type Cancelled =
  | { readonly outcome: 'cancelled' }
  /** It had ended before, also by an earlier cancellation; nothing has changed. */
  | { readonly outcome: 'already-settled'; readonly verdict: Verdict }

/** Withdraws a request that is still open: who asked no longer needs the answer. */
export function cancel(
  dossier: Dossier,
  call: { readonly by: string; readonly reason: string },
  now: number
): Step<Cancelled> {
  const { request } = dossier
  const verdict = verdictOf(request)
  if (verdict !== undefined) return { answer: { outcome: 'already-settled', verdict }, facts: [] }
  if (isOverdue(request, now)) {
    const ended = timeOut(dossier, now)
    return { ...ended, answer: { outcome: 'already-settled', verdict: verdictOf(ended.request) as Verdict } }
  }
  const fact = { type: 'request.cancelled', by: call.by, reason: call.reason } as const
  return { ...settle(dossier, { status: 'cancelled', ...call, fact }, now), answer: { outcome: 'cancelled' } }
}
