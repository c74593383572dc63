import type { AuditDraft } from '@enablement/core/audit'
import type { CheckpointStore, Incident, IncidentStep, IncidentStore } from '@enablement/runtime'
import { expect, it } from 'vitest'

/** Stores of one kind, and how many drafts of evidence their audit log holds. */
export interface Stores {
  readonly checkpoints: CheckpointStore
  readonly incidents: IncidentStore
  evidenceCount(): Promise<number>
}

const evidence: readonly AuditDraft[] = [
  { tenant: 'acme', actor: 'system:test', action: 'incident.tested', subject: 'incident:i' }
]

const draft = (id: string): Omit<Incident, 'handledUntil'> => ({
  id,
  tenant: 'acme',
  agent: 'agent-7',
  sandboxId: 'sandbox',
  incarnation: 1,
  state: 'detected',
  detectedAt: 1_700_000_000_000,
  limitBytes: 2_147_483_648,
  requestedLimitBytes: 4_294_967_296,
  peakBytes: 2_147_000_000,
  evaluation: 'suspended',
  evidence: 'seen'
})

/** What every pair of stores must do. */
export function storeContract(make: () => Promise<Stores>): void {
  it('keeps a checkpoint byte for byte, and the first one under an id', async () => {
    const { checkpoints } = await make()
    const bytes = Uint8Array.from({ length: 100_000 }, (_, n) => n % 256)
    const stored = { id: 'c1', tenant: 'acme', sandboxId: 's', createdAt: 1, expiresAt: 4_102_444_800_000, bytes }
    await checkpoints.save(stored)
    await checkpoints.save({ ...stored, bytes: new Uint8Array(1) })
    expect(await checkpoints.load('c1')).toEqual(stored)
    await checkpoints.remove('c1')
    await checkpoints.remove('c1')
    expect(await checkpoints.load('c1')).toBeUndefined()
  })

  it('removes what has expired, the bounded number asked for', async () => {
    const { checkpoints } = await make()
    for (const [id, expiresAt] of [
      ['a', 10],
      ['b', 11],
      ['c', 12]
    ] as const) {
      await checkpoints.save({ id, tenant: 'acme', sandboxId: 's', createdAt: 1, expiresAt, bytes: new Uint8Array(1) })
    }
    expect(await checkpoints.removeExpired(11, 1)).toBe(1)
    expect(await checkpoints.removeExpired(11, 10)).toBe(1)
    expect(await checkpoints.load('c')).toBeDefined()
  })

  it("lists a tenant's checkpoints without their bytes, the oldest first", async () => {
    const { checkpoints } = await make()
    const of = { sandboxId: 's', expiresAt: 4_102_444_800_000 }
    await checkpoints.save({ ...of, id: 'late', tenant: 'acme', createdAt: 2, bytes: new Uint8Array(7) })
    await checkpoints.save({ ...of, id: 'early', tenant: 'acme', createdAt: 1, bytes: new Uint8Array(0) })
    await checkpoints.save({ ...of, id: 'foreign', tenant: 'other', createdAt: 1, bytes: new Uint8Array(1) })
    expect(await checkpoints.list('acme', { limit: 10 })).toEqual([
      { ...of, id: 'early', tenant: 'acme', createdAt: 1, sealedBytes: 0 },
      { ...of, id: 'late', tenant: 'acme', createdAt: 2, sealedBytes: 7 }
    ])
    expect((await checkpoints.list('acme', { limit: 1 })).map(({ id }) => id)).toEqual(['early'])
  })

  it('opens an incident once, with its evidence', async () => {
    const { incidents, evidenceCount } = await make()
    await incidents.open(draft('i1'), 1_000, evidence)
    await incidents.open(draft('i1'), 1_000, evidence)
    expect(await evidenceCount()).toBe(1)
    const found = await incidents.find('i1')
    expect(found?.incident).toMatchObject(draft('i1'))
    expect((found?.incident.handledUntil ?? 0) - (found?.now ?? 0)).toBeLessThanOrEqual(1_000)
  })

  it('closes the incident that a new one supersedes with it, unless that has another owner', async () => {
    const { incidents, evidenceCount } = await make()
    await incidents.open({ ...draft('old'), state: 'raised' }, 1, [])
    await incidents.advance('old', { type: 'claimed', leaseMs: 60_000 }, [])
    const next = (id: string, incarnation: number) =>
      incidents.open({ ...draft(id), supersedes: { incidentId: 'old', incarnation } }, 1, evidence)
    expect(await next('wrong', 1)).toEqual({ outcome: 'fenced' })
    expect(await incidents.find('wrong')).toBeUndefined()
    expect(await evidenceCount()).toBe(0)
    expect(await next('new', 2)).toMatchObject({ outcome: 'opened', incident: { id: 'new' } })
    expect(await next('new', 2)).toMatchObject({ outcome: 'opened' })
    expect((await incidents.list('acme', { open: true, limit: 10 })).map(({ id }) => id)).toEqual(['new'])
    expect(await evidenceCount()).toBe(1)
  })

  it('takes each step once, from the state it belongs to', async () => {
    const { incidents, evidenceCount } = await make()
    await incidents.open(draft('i2'), 1_000, [])
    const steps: readonly [IncidentStep, string, string][] = [
      [{ type: 'asked', approvalRequestId: 'r' }, 'stale', 'detected'],
      [{ type: 'checkpointed', checkpointId: 'i2' }, 'advanced', 'checkpointed'],
      [{ type: 'checkpointed' }, 'stale', 'checkpointed'],
      [{ type: 'raised', limitBytes: 1, fence: 1 }, 'stale', 'checkpointed'],
      [{ type: 'asked', approvalRequestId: 'r' }, 'advanced', 'asked'],
      [{ type: 'claimed', leaseMs: 1 }, 'stale', 'asked'],
      [{ type: 'raised', limitBytes: 4_294_967_296, fence: 3 }, 'advanced', 'raised'],
      [{ type: 'refused', refusal: { verdict: 'cancelled', decidedAt: 1 } }, 'stale', 'raised'],
      [{ type: 'claimed', leaseMs: 60_000 }, 'advanced', 'resumed'],
      [{ type: 'claimed', leaseMs: 60_000 }, 'stale', 'resumed'],
      [{ type: 'renewed', incarnation: 1, leaseMs: 60_000 }, 'stale', 'resumed'],
      [{ type: 'renewed', incarnation: 2, leaseMs: 60_000 }, 'advanced', 'resumed'],
      [{ type: 'released', incarnation: 2 }, 'advanced', 'raised'],
      [{ type: 'claimed', leaseMs: 0 }, 'advanced', 'resumed'],
      [{ type: 'claimed', leaseMs: 60_000 }, 'advanced', 'resumed'],
      [{ type: 'closed', incarnation: 3 }, 'stale', 'resumed'],
      [{ type: 'closed', incarnation: 4 }, 'advanced', 'closed']
    ]
    for (const [step, outcome, state] of steps) {
      expect(await incidents.advance('i2', step, evidence)).toMatchObject({ outcome, incident: { state } })
    }
    expect(await evidenceCount()).toBe(steps.filter(([, outcome]) => outcome === 'advanced').length)
    expect(await incidents.advance('nope', { type: 'checkpointed' }, evidence)).toEqual({ outcome: 'unknown' })
  })

  it("lists a tenant's open incidents, the oldest first", async () => {
    const { incidents } = await make()
    await incidents.open({ ...draft('late'), detectedAt: 1_700_000_000_002 }, 1, [])
    await incidents.open({ ...draft('early'), detectedAt: 1_700_000_000_001 }, 1, [])
    await incidents.open({ ...draft('foreign'), tenant: 'other' }, 1, [])
    await incidents.open({ ...draft('over'), state: 'closed' }, 1, [])
    const ids = async (open: boolean, limit: number) =>
      (await incidents.list('acme', { open, limit })).map(({ id }) => id)
    expect(await ids(true, 10)).toEqual(['early', 'late'])
    expect(await ids(true, 1)).toEqual(['early'])
    expect(await ids(false, 10)).toEqual(['over', 'early', 'late'])
  })

  it('lets one of many claimants have a sandbox', async () => {
    const { incidents } = await make()
    await incidents.open({ ...draft('i3'), state: 'raised' }, 1, [])
    const claims = await Promise.all(
      Array.from({ length: 8 }, () => incidents.advance('i3', { type: 'claimed', leaseMs: 60_000 }, []))
    )
    expect(claims.filter(({ outcome }) => outcome === 'advanced')).toHaveLength(1)
  })
}
