import { argumentHash } from '../action/argument-hash.ts'
import type { Fact } from '../evidence/fact.ts'
import { OversightError } from '../oversight-error.ts'
import type { Dossier } from '../request/dossier.ts'
import type { RequestRecord } from '../request/request.ts'
import type { Step } from '../request/step.ts'

/** What a claim finds. */
type Claimed =
  | { readonly outcome: 'claimed'; readonly fence: number; readonly request: RequestRecord }
  | { readonly outcome: 'replayed'; readonly result: string }
  | { readonly outcome: 'in-doubt'; readonly since: number }
  | { readonly outcome: 'busy'; readonly until: number }
  | { readonly outcome: 'not-approved'; readonly status: 'pending' | 'denied' | 'timed-out' | 'cancelled' }

/**
 * Claims the execution of an approved request. An executor whose lease ran out may have done its work or not: the
 * execution is then in doubt, and is not claimed again.
 *
 * Throws `WRONG_ACTION` when it is for another action than `action`, and `ARGUMENTS_ALTERED` when the stored detail,
 * the hash taken at the opening and the hash of the deciding vote do not agree.
 */
export function claim(
  { request, votes }: Dossier,
  call: { readonly claimId: string; readonly leaseMs: number; readonly action: string | undefined },
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
      return { answer: { outcome: 'in-doubt', since: execution.since }, facts: [] }
    case 'running': {
      const { claimId, fence, leaseUntil } = execution
      if (now >= leaseUntil) {
        return { ...doubt(request, 'the lease ran out', now), answer: { outcome: 'in-doubt', since: now } }
      }
      if (claimId === call.claimId) return { answer: { outcome: 'claimed', fence, request }, facts: [] }
      return { answer: { outcome: 'busy', until: leaseUntil }, facts: [] }
    }
    case 'idle': {
      const hash = argumentHash(request.action, request.detail)
      const approval = votes.find(({ approver }) => approver === request.settlement?.by)
      if (hash !== request.argumentHash || hash !== approval?.argumentHash) {
        throw new OversightError('ARGUMENTS_ALTERED', `request ${id} no longer holds what was approved`, {
          requestId: id
        })
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

/** Prolongs the lease of the claim with this fence. `lost`: it ran out, and the execution may be in doubt already. */
export function renew(
  { request }: Dossier,
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
 * the doubt about it: nobody can have claimed it meanwhile. Told twice, it changes nothing.
 */
export function finish(
  { request }: Dossier,
  call: { readonly fence: number; readonly result: string },
  now: number
): Step<void> {
  const { fence, result } = call
  if (!isUnfinished(request, fence)) return { answer: undefined, facts: [] }
  return {
    answer: undefined,
    request: { ...request, execution: { state: 'executed', fence, since: now, result } },
    facts: [{ type: 'execution.executed', fence }]
  }
}

/** Gives the claim with this fence back: its effect said that nothing took effect. Told twice, it changes nothing. */
export function release({ request }: Dossier, call: { readonly fence: number; readonly reason: string }): Step<void> {
  const { fence, reason } = call
  if (!isUnfinished(request, fence)) return { answer: undefined, facts: [] }
  return {
    answer: undefined,
    request: { ...request, execution: { state: 'idle', fence } },
    facts: [{ type: 'execution.released', fence, reason }]
  }
}

/** Records that the effect of the claim with this fence threw, and since when that has been in doubt. */
export function abandon(
  { request }: Dossier,
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

/** Declares an execution in doubt whose executor let its lease run out. */
export function expire({ request }: Dossier, now: number): Step<'in-doubt' | 'not-due'> {
  const { execution } = request
  if (execution.state !== 'running' || now < execution.leaseUntil) return { answer: 'not-due', facts: [] }
  return { ...doubt(request, 'the lease ran out', now), answer: 'in-doubt' }
}

function doubt(
  request: RequestRecord,
  because: 'the effect threw' | 'the lease ran out',
  now: number
): { readonly request: RequestRecord; readonly facts: readonly Fact[] } {
  const { fence } = request.execution
  return {
    request: { ...request, execution: { state: 'in-doubt', fence, since: now } },
    facts: [{ type: 'execution.in-doubt', fence, because }]
  }
}
