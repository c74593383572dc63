import type { ApprovalGate, Clock } from '@enablement/core'
import type { CheckpointStore } from '../checkpoint/checkpoint-store.ts'
import type { CheckpointHeader, CheckpointSealer } from '../checkpoint/sealing.ts'
import { RuntimeError } from '../runtime-error.ts'
import type { RuntimeEvent } from '../runtime-event.ts'
import type { Recovery } from '../sandbox/sandbox.ts'
import type { HostSandbox } from '../sandbox/sandbox-host.ts'
import { CHECKPOINT_BUDGET_MS, within } from '../sandbox/within.ts'
import type { Incident } from './incident.ts'
import { openingEvidence, stepEvidence } from './incident-evidence.ts'
import type { IncidentStore } from './incident-store.ts'
import { raiseRequest } from './raise-request.ts'

/** Catalog RT-1: what a sandbox may take to end. */
const CLOSE_GRACE_MS = 5_000

/** How long an incident is left to the process that detected it: both budgets, and as long again for slow stores. */
const HANDLING_MS = 20_000

/** What the steps need of the world. */
export interface IncidentDeps {
  readonly clock: Clock
  readonly incidents: IncidentStore
  readonly checkpoints: CheckpointStore
  readonly approvals: ApprovalGate
  readonly sealer: CheckpointSealer
  readonly observe: (event: RuntimeEvent) => void
}

/** A sandbox that was stopped at its limit. */
export interface ExhaustedSandbox {
  readonly incident: Omit<Incident, 'handledUntil' | 'state'>
  readonly sandbox: HostSandbox
  /** Whether its memory can be captured; not when its thread is gone. */
  readonly alive: boolean
  readonly engine: string
  readonly checkpointTtlMs: number
}

/**
 * Takes a stopped sandbox through `detected`, `checkpointed` and `asked`, each durable before the next. The sandbox is
 * ended whatever fails. The checkpoint bears the incident's id, so that a successor finds it even when this process dies
 * between saving it and saying so. Undefined: another process
 * owns the sandbox, and this one has no say any more.
 */
export async function exhaust(deps: IncidentDeps, exhausted: ExhaustedSandbox): Promise<Recovery | undefined> {
  const { incidents, observe } = deps
  const { sandbox } = exhausted
  const { id: incidentId, tenant, agent, sandboxId, limitBytes, peakBytes } = exhausted.incident
  const of = { tenant, agent, sandboxId, incidentId }
  let state = 'unrecorded'
  try {
    const draft = { ...exhausted.incident, state: 'detected' } as const
    const opening = await incidents.open(draft, HANDLING_MS, openingEvidence(draft))
    if (opening.outcome === 'fenced') return undefined
    let { incident } = opening
    state = incident.state
    observe({ type: 'incident.opened', ...of, limitBytes, peakBytes })
    const checkpointId = exhausted.alive ? await saveCheckpoint(deps, exhausted) : undefined
    const saved = { type: 'checkpointed', ...(checkpointId === undefined ? {} : { checkpointId }) } as const
    incident = await advanced(incidents, incident, saved)
    state = incident.state
    await end(deps.clock, sandbox)
    incident = await askForMore(deps, incident)
    return {
      incidentId,
      sandboxId,
      ...(incident.checkpointId === undefined ? {} : { checkpointId: incident.checkpointId }),
      approvalRequestId: incident.approvalRequestId as string
    }
  } catch (cause) {
    const message = `the incident ${incidentId} of sandbox ${sandboxId} came no further than ${state}`
    throw new RuntimeError('INCIDENT_STALLED', message, { incidentId, state }, { cause })
  } finally {
    await sandbox.kill()
  }
}

/** Opens the approval request of a `checkpointed` incident and puts its id on record. */
export async function askForMore(deps: IncidentDeps, incident: Incident): Promise<Incident> {
  const { approvals, incidents, observe } = deps
  const { id: approvalRequestId } = await approvals.request(raiseRequest(incident))
  const asked = await advanced(incidents, incident, { type: 'asked', approvalRequestId })
  const { tenant, agent, sandboxId, id: incidentId, requestedLimitBytes } = asked
  observe({ type: 'approval.requested', tenant, agent, sandboxId, incidentId, approvalRequestId, requestedLimitBytes })
  return asked
}

/** Applies a step; when another process has already taken it, gives the incident as it stands now. */
export async function advanced(
  incidents: IncidentStore,
  incident: Incident,
  step: Parameters<IncidentStore['advance']>[1]
): Promise<Incident> {
  const advance = await incidents.advance(incident.id, step, stepEvidence(incident, step))
  if (advance.outcome !== 'unknown') return advance.incident
  const incidentId = incident.id
  throw new RuntimeError('INCIDENT_UNKNOWN', `no incident ${incidentId} is on record`, { incidentId })
}

/** Captures, seals and saves within the budget. Undefined: it failed or took too long, and the incident goes on. */
async function saveCheckpoint(deps: IncidentDeps, exhausted: ExhaustedSandbox): Promise<string | undefined> {
  const { clock, observe, sealer, checkpoints } = deps
  const { incident, sandbox, engine, checkpointTtlMs } = exhausted
  const { id: checkpointId, tenant, agent, sandboxId, incarnation, limitBytes } = incident
  const of = { tenant, agent, sandboxId, incidentId: checkpointId }
  const startedAt = clock.monotonic()
  const createdAt = clock.now()
  const expiresAt = createdAt + checkpointTtlMs
  const save = async (): Promise<number> => {
    const header: CheckpointHeader = {
      checkpointId,
      tenant,
      sandboxId,
      incarnation,
      engine,
      createdAt,
      expiresAt,
      memoryLimitBytes: limitBytes
    }
    const bytes = await sealer.seal(header, await sandbox.capture())
    await checkpoints.save({ id: checkpointId, tenant, sandboxId, createdAt, expiresAt, bytes })
    return bytes.length
  }
  try {
    const sealedBytes = await within(clock, CHECKPOINT_BUDGET_MS, save())
    observe({ type: 'checkpoint.saved', ...of, checkpointId, sealedBytes, elapsedMs: clock.monotonic() - startedAt })
    return checkpointId
  } catch (error) {
    observe({ type: 'checkpoint.failed', ...of, error })
    return undefined
  }
}

/** Ends a sandbox: by itself within the grace, or its thread is ended. */
export async function end(clock: Clock, sandbox: HostSandbox): Promise<void> {
  await within(clock, CLOSE_GRACE_MS, sandbox.close()).catch(() => sandbox.kill())
}
