import type { Verdict } from '@enablement/core'
import { type RequestRecord, verdictOf } from './request.ts'
import { settle } from './settlement.ts'
import type { Step } from './step.ts'

/** What became of a revocation. */
export type Revoked =
  | { readonly outcome: 'revoked' }
  /** Its execution has begun, and what has begun cannot be taken back here. Nothing has changed. */
  | { readonly outcome: 'too-late'; readonly execution: 'running' | 'executed' | 'in-doubt' }
  /** There is no approval to take back: it is open, or it ended otherwise. Nothing has changed. */
  | { readonly outcome: 'not-approved'; readonly verdict: Verdict | undefined }

/** Takes an approval back before it is used: from here on nothing is executed under it. */
export function revoke(
  request: RequestRecord,
  call: { readonly by: string; readonly reason: string },
  now: number
): Step<Revoked> {
  if (request.status !== 'approved') {
    return { answer: { outcome: 'not-approved', verdict: verdictOf(request) }, facts: [] }
  }
  const { state } = request.execution
  if (state !== 'idle') return { answer: { outcome: 'too-late', execution: state }, facts: [] }
  const fact = { type: 'request.revoked', ...call } as const
  const ended = settle(request, { status: 'revoked', ...call, fact }, now)
  // The approval stays on the record beside what became of it.
  const { settlement } = request
  const revoked = { ...ended.request, settlement, revocation: { ...call, at: now } }
  return { ...ended, request: revoked, answer: { outcome: 'revoked' } }
}
