import { sleep, type Verdict } from '@enablement/core'
import { RuntimeError } from '../runtime-error.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import type { Incident, Refusal } from './incident.ts'
import { stepEvidence } from './incident-evidence.ts'
import { advanced, askForMore, type IncidentDeps } from './memory-exhaustion.ts'

/** How long an ownership lasts without being renewed: what a crashed owner delays its successor by. */
export const OWNERSHIP_MS = 30_000

/** How often a process looks while another one finishes a step. */
const LOOK_AGAIN_MS = 250

/** What came of a recovery. */
export type RecoveryOutcome =
  /** The sandbox is back under the larger limit; `continue()` carries a suspended evaluation on. */
  | { readonly outcome: 'resumed'; readonly sandbox: Sandbox; readonly evaluation: 'suspended' | 'lost' }
  /** There was no checkpoint: an empty sandbox under the larger limit. */
  | { readonly outcome: 'restarted'; readonly sandbox: Sandbox }
  | { readonly outcome: 'denied'; readonly by: string; readonly reason: string; readonly decidedAt: number }
  | { readonly outcome: 'timed-out' | 'cancelled'; readonly decidedAt: number }
  /** The signal aborted while the request was undecided; recover again later. */
  | { readonly outcome: 'pending'; readonly approvalRequestId: string }
  /** Someone else owns the resumed sandbox, at least until then (store time). */
  | { readonly outcome: 'owned-elsewhere'; readonly incarnation: number; readonly until: number }
  /** The resumed sandbox was closed: there is nothing left to recover. */
  | { readonly outcome: 'closed' }

/** Restores a claimed incident's checkpoint, or opens an empty sandbox where there is none, as that incarnation. */
export type Resumption = (incident: Incident, limitBytes: number) => Promise<Sandbox>

/**
 * Carries an incident on from wherever it stands: after the evaluation that made it, in another process, after a crash
 * between any two steps, and however often it is called.
 */
export async function recoverIncident(
  deps: IncidentDeps,
  incidentId: string,
  resume: Resumption,
  signal: AbortSignal | undefined
): Promise<RecoveryOutcome> {
  const { clock, incidents, checkpoints } = deps
  for (;;) {
    const found = await incidents.find(incidentId)
    if (found === undefined) {
      throw new RuntimeError('INCIDENT_UNKNOWN', `no incident ${incidentId} is on record`, { incidentId })
    }
    const { incident, now } = found
    switch (incident.state) {
      case 'detected': {
        if (now < incident.handledUntil) {
          await sleep(clock, Math.min(LOOK_AGAIN_MS, incident.handledUntil - now), { signal })
          break
        }
        // Its process died. The checkpoint bears the incident's id: it is there, or it was never saved.
        const checkpoint = await checkpoints.load(incidentId)
        const saved = checkpoint === undefined ? {} : { checkpointId: incidentId }
        await advanced(incidents, incident, { type: 'checkpointed', ...saved })
        break
      }
      case 'checkpointed':
        await askForMore(deps, incident)
        break
      case 'asked': {
        const pending = await settle(deps, incident, signal)
        if (pending !== undefined) return pending
        break
      }
      case 'refused':
        return refusalOutcome(incident.refusal as Refusal)
      case 'closed':
        return { outcome: 'closed' }
      case 'raised':
      case 'resumed': {
        const step = { type: 'claimed', leaseMs: OWNERSHIP_MS } as const
        const claim = await incidents.advance(incidentId, step, stepEvidence(incident, step))
        if (claim.outcome === 'advanced') return take(deps, claim.incident, resume)
        const { incarnation, ownedUntil, state } = claim.outcome === 'stale' ? claim.incident : incident
        if (state === 'resumed') return { outcome: 'owned-elsewhere', incarnation, until: ownedUntil ?? now }
        break
      }
    }
  }
}

/** Waits for the verdict and acts on it. Undefined: the incident has moved on; look where it stands. */
async function settle(
  deps: IncidentDeps,
  incident: Incident,
  signal: AbortSignal | undefined
): Promise<RecoveryOutcome | undefined> {
  const { approvals, clock, incidents, observe } = deps
  const { id: incidentId, tenant, agent, sandboxId } = incident
  const approvalRequestId = incident.approvalRequestId as string
  let verdict: Verdict
  try {
    verdict = await approvals.settled(approvalRequestId, signal === undefined ? {} : { signal })
  } catch (error) {
    if (signal?.aborted === true) return { outcome: 'pending', approvalRequestId }
    throw error
  }
  if (verdict.outcome !== 'approved') {
    const refusal = refusalOf(verdict)
    await advanced(incidents, incident, { type: 'refused', refusal })
    observe({ type: 'limit.refused', tenant, agent, sandboxId, incidentId, refusal })
    return undefined
  }
  const limitBytes = incident.requestedLimitBytes
  const raise = async (fence: number): Promise<void> => {
    const step = { type: 'raised', limitBytes, fence } as const
    const { outcome } = await incidents.advance(incidentId, step, stepEvidence(incident, step))
    if (outcome === 'advanced') observe({ type: 'limit.raised', tenant, agent, sandboxId, incidentId, limitBytes })
  }
  const execution = await approvals.execute(approvalRequestId, async ({ fence }) => {
    await raise(fence)
    return { limitBytes }
  })
  switch (execution.outcome) {
    case 'busy':
      await sleep(clock, Math.max(LOOK_AGAIN_MS, execution.until - clock.now()), { signal })
      return undefined
    case 'in-doubt':
      // An executor was lost. The effect is one write to our own incident, the same whoever makes it, so it is simply
      // made if it is not there: this is the one place where doubt can be settled by looking.
      await raise(0)
      return undefined
    case 'replayed':
      // Its effect was durable before the gate called it executed, so this finds it done; a store that lost it has it again.
      await raise(0)
      return undefined
    case 'not-approved':
      // The verdict said otherwise a moment ago: ask again, not at once.
      await sleep(clock, LOOK_AGAIN_MS, { signal })
      return undefined
    case 'executed':
      return undefined
  }
}

async function take(deps: IncidentDeps, incident: Incident, resume: Resumption): Promise<RecoveryOutcome> {
  const { incidents, observe } = deps
  const { id: incidentId, tenant, agent, sandboxId, incarnation, evaluation } = incident
  const memoryLimitBytes = incident.raisedLimitBytes ?? incident.requestedLimitBytes
  let sandbox: Sandbox
  try {
    sandbox = await resume(incident, memoryLimitBytes)
  } catch (error) {
    // Nothing was restored: the next one need not wait for the ownership to run out.
    await advanced(incidents, incident, { type: 'released', incarnation })
    throw error
  }
  const outcome = incident.checkpointId === undefined ? 'restarted' : 'resumed'
  const of = { tenant, agent, sandboxId, incidentId }
  observe({ type: 'sandbox.resumed', ...of, incarnation, memoryLimitBytes, evaluation })
  return outcome === 'resumed' ? { outcome, sandbox, evaluation } : { outcome, sandbox }
}

function refusalOf(verdict: Exclude<Verdict, { outcome: 'approved' }>): Refusal {
  const { decidedAt } = verdict
  // An approval that was taken back is a person's no as much as one that was never given.
  if (!('by' in verdict)) return { verdict: verdict.outcome, decidedAt }
  return { verdict: 'denied', by: verdict.by, reason: verdict.reason, decidedAt }
}

function refusalOutcome(refusal: Refusal): RecoveryOutcome {
  const { decidedAt } = refusal
  if (refusal.verdict !== 'denied') return { outcome: refusal.verdict, decidedAt }
  return { outcome: 'denied', by: refusal.by, reason: refusal.reason, decidedAt }
}
