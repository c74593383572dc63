import type { Execution, JsonObject } from '@enablement/core'
import type { Screening } from '../action/action.ts'
import { argumentHash, policyHash } from '../action/argument-hash.ts'
import { SYSTEM_POLICY } from '../directory/system-names.ts'
import type { Fact } from '../evidence/fact.ts'
import { OversightError } from '../oversight-error.ts'
import { alert } from '../request/message.ts'
import type { RequestRecord } from '../request/request.ts'
import { revoke } from '../request/revocation.ts'
import type { Step } from '../request/step.ts'

/** What a claim finds. */
type Claimed =
  | { readonly outcome: 'claimed'; readonly fence: number; readonly request: RequestRecord }
  | { readonly outcome: 'replayed'; readonly result: string }
  | { readonly outcome: 'in-doubt'; readonly since: number; readonly request: RequestRecord }
  | { readonly outcome: 'busy'; readonly until: number }
  | Extract<Execution<JsonObject>, { readonly outcome: 'not-approved' }>

/**
 * After how long, and how often, the target of an execution in doubt is asked what happened. The pauses double from a
 * minute to an hour: more than half a day in all, and then a person has to look.
 */
const RECONCILE_FIRST_MS = 60_000
const RECONCILE_MAX_MS = 3_600_000
const RECONCILIATIONS_MAX = 20

/**
 * Claims the execution of an approved request. An executor whose lease ran out may have done its work or not: the
 * execution is then in doubt, and is not claimed again. What the action's screen denies by now is revoked instead.
 *
 * Throws `WRONG_ACTION` when it is for another action than `action`, and `ARGUMENTS_ALTERED` when the stored detail and
 * policy, the hashes taken at the opening and those of the approving votes do not agree.
 */
export function claim(
  request: RequestRecord,
  call: {
    readonly claimId: string
    readonly leaseMs: number
    readonly action: string | undefined
    readonly screen: (request: RequestRecord) => Screening
  },
  now: number
): Step<Claimed> {
  const { id, status, execution } = request
  if (call.action !== undefined && call.action !== request.action) {
    const message = `request ${id} asks for ${request.action}, not for ${call.action}`
    throw new OversightError('WRONG_ACTION', message, { requestId: id, expected: call.action, found: request.action })
  }
  if (status !== 'approved') return { answer: { outcome: 'not-approved', status }, facts: [] }
  switch (execution.state) {
    case 'executed':
      return { answer: { outcome: 'replayed', result: execution.result }, facts: [] }
    case 'in-doubt':
      return { answer: { outcome: 'in-doubt', since: execution.since, request }, facts: [] }
    case 'running': {
      const { claimId, fence, leaseUntil } = execution
      if (now >= leaseUntil) {
        const doubted = doubt(request, 'the lease ran out', now)
        return { ...doubted, answer: { outcome: 'in-doubt', since: now, request: doubted.request } }
      }
      if (claimId === call.claimId) return { answer: { outcome: 'claimed', fence, request }, facts: [] }
      return { answer: { outcome: 'busy', until: leaseUntil }, facts: [] }
    }
    case 'idle': {
      if (isExpired(request, now)) return { answer: { outcome: 'not-approved', status: 'expired' }, facts: [] }
      checkBinding(request)
      const screening = call.screen(request)
      if (screening.outcome === 'deny') {
        const revoked = revoke(request, { by: SYSTEM_POLICY, reason: screening.reason }, now)
        return { ...revoked, answer: { outcome: 'not-approved', status: 'revoked' } }
      }
      const fence = execution.fence + 1
      const leaseUntil = now + call.leaseMs
      const running = { state: 'running', fence, claimId: call.claimId, since: now, leaseUntil } as const
      return {
        answer: { outcome: 'claimed', fence, request },
        request: { ...request, execution: running },
        facts: [{ type: 'execution.started', fence, leaseUntil }]
      }
    }
  }
}

/** Whether the approval may no longer be used. At that very millisecond it is too late. */
function isExpired({ settlement, policy }: RequestRecord, now: number): boolean {
  const { approvalTtlMs } = policy
  return approvalTtlMs !== undefined && settlement !== undefined && now >= settlement.at + approvalTtlMs
}

/** Holds what is about to be done against what was approved. */
function checkBinding(request: RequestRecord): void {
  const { id, action, detail, policy, policyVersion, votes, settlement } = request
  const hash = argumentHash(action, detail)
  const approvals = votes.filter(({ decision }) => decision === 'approve')
  const byItself = settlement !== undefined && /^(?:system|grant):/.test(settlement.by)
  const bound =
    hash === request.argumentHash &&
    policyHash(policy) === policyVersion &&
    approvals.every((vote) => vote.argumentHash === hash) &&
    (byItself || approvals.some(({ approver }) => approver === settlement?.by))
  if (bound) return
  const message = `request ${id} no longer holds what was approved`
  throw new OversightError('ARGUMENTS_ALTERED', message, { requestId: id })
}

/** Prolongs the lease of the claim with this fence. `lost`: it ran out, and the execution may be in doubt already. */
export function renew(
  request: RequestRecord,
  call: { readonly fence: number; readonly leaseMs: number },
  now: number
): Step<'held' | 'lost'> {
  const { execution } = request
  if (execution.state !== 'running' || execution.fence !== call.fence || now >= execution.leaseUntil) {
    return { answer: 'lost', facts: [] }
  }
  return {
    answer: 'held',
    request: { ...request, execution: { ...execution, leaseUntil: now + call.leaseMs } },
    facts: []
  }
}

/**
 * Records the result of the effect of the claim with this fence. A report that comes after the lease ran out resolves
 * the doubt about it: nobody can have claimed it meanwhile. Told twice, it changes nothing. `reconciledBy` is who found
 * out, where it was not the executor.
 *
 * An executor's own report outweighs whoever said in its absence that nothing happened. Where that let somebody else claim
 * the execution since, what was approved may have been done twice, and that goes on record.
 */
export function finish(
  request: RequestRecord,
  call: { readonly fence: number; readonly result: string; readonly reconciledBy?: string },
  now: number
): Step<boolean> {
  const { fence, result, reconciledBy } = call
  const { execution } = request
  const byExecutor = reconciledBy === undefined
  const givenUp = byExecutor && execution.state === 'idle' && execution.fence === fence
  if (!isUnfinished(request, fence) && !givenUp) {
    if (!byExecutor || execution.fence <= fence) return { answer: false, facts: [] }
    const overtaken: Fact = { type: 'execution.overtaken', fence, by: execution.fence }
    return { answer: false, messages: [alert(request.id, 'executed-twice')], facts: [overtaken] }
  }
  return {
    answer: true,
    request: { ...request, execution: { state: 'executed', fence, since: now, result } },
    facts: [{ type: 'execution.executed', fence, ...(reconciledBy === undefined ? {} : { reconciledBy }) }]
  }
}

/** Gives the claim with this fence back: nothing took effect. Told twice, it changes nothing. */
export function release(
  request: RequestRecord,
  call: { readonly fence: number; readonly reason: string; readonly reconciledBy?: string }
): Step<boolean> {
  const { fence, reason, reconciledBy } = call
  if (!isUnfinished(request, fence)) return { answer: false, facts: [] }
  return {
    answer: true,
    request: { ...request, execution: { state: 'idle', fence } },
    facts: [{ type: 'execution.released', fence, reason, ...(reconciledBy === undefined ? {} : { reconciledBy }) }]
  }
}

/** Records that the effect of the claim with this fence threw, and since when that has been in doubt. */
export function abandon(
  request: RequestRecord,
  call: { readonly fence: number },
  now: number
): Step<{ readonly since: number }> {
  const { execution } = request
  if (execution.state !== 'running' || execution.fence !== call.fence) {
    return { answer: { since: execution.state === 'in-doubt' ? execution.since : now }, facts: [] }
  }
  return { ...doubt(request, 'the effect threw', now), answer: { since: now } }
}

function isUnfinished({ execution }: RequestRecord, fence: number): boolean {
  return execution.fence === fence && (execution.state === 'running' || execution.state === 'in-doubt')
}

/** What is due for an execution. */
export type ExecutionDue =
  | { readonly outcome: 'in-doubt' | 'not-due' }
  /** Its target is to be asked now; nobody else asks before the next time. */
  | { readonly outcome: 'reconcile'; readonly request: RequestRecord }

/**
 * Declares an execution in doubt whose executor let its lease run out, and says when the target of one in doubt is to be
 * asked. `canReconcile` says whether an action has a target that can be.
 */
export function attend(
  request: RequestRecord,
  canReconcile: (action: string) => boolean,
  now: number
): Step<ExecutionDue> {
  const { id, action, execution } = request
  if (execution.state === 'running' && now >= execution.leaseUntil) {
    return { ...doubt(request, 'the lease ran out', now), answer: { outcome: 'in-doubt' } }
  }
  if (execution.state !== 'in-doubt' || execution.reconcileAt === undefined || now < execution.reconcileAt) {
    return { answer: { outcome: 'not-due' }, facts: [] }
  }
  if (!canReconcile(action) || execution.reconciliations >= RECONCILIATIONS_MAX) {
    return {
      answer: { outcome: 'in-doubt' },
      request: { ...request, execution: { ...execution, reconcileAt: undefined } },
      messages: [alert(id, 'in-doubt')],
      facts: []
    }
  }
  const pauseMs = Math.min(RECONCILE_MAX_MS, RECONCILE_FIRST_MS * 2 ** execution.reconciliations)
  const reconciliations = execution.reconciliations + 1
  const waiting = { ...request, execution: { ...execution, reconcileAt: now + pauseMs, reconciliations } }
  return { answer: { outcome: 'reconcile', request: waiting }, request: waiting, facts: [] }
}

function doubt(
  request: RequestRecord,
  because: 'the effect threw' | 'the lease ran out',
  now: number
): { readonly request: RequestRecord; readonly facts: readonly Fact[] } {
  const { fence } = request.execution
  return {
    request: { ...request, execution: { state: 'in-doubt', fence, since: now, reconcileAt: now, reconciliations: 0 } },
    facts: [{ type: 'execution.in-doubt', fence, because }]
  }
}
