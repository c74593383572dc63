import type { JsonObject } from '@enablement/core'
import { type AuditEntry, type AuditLog, auditSchema, createAuditLog } from '@enablement/core/audit'
import { outboxSchema } from '@enablement/core/outbox'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'
import {
  type Action,
  type ApprovalPolicy,
  type ApprovalRequest,
  type Channel,
  createOversight,
  defineAction,
  type Invitation,
  type Oversight,
  type OversightEvent,
  type OversightOptions,
  type StandardSchema,
  type VerdictNotice
} from '@enablement/oversight'
import { oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'
import { expect } from 'vitest'

export interface Raise {
  readonly limitMebibytes: number
}

/** A schema made by hand: what Standard Schema asks for, and no library. */
export const raiseDetail: StandardSchema<Raise> = {
  '~standard': {
    version: 1,
    vendor: 'by-hand',
    validate: (value) => {
      const limitMebibytes: unknown = (value as Raise | undefined)?.limitMebibytes
      return typeof limitMebibytes === 'number'
        ? { value: { limitMebibytes } }
        : { issues: [{ message: 'must be a number', path: ['limitMebibytes'] }] }
    }
  }
}

export const ACTION = 'runtime.raise-memory-limit'

export const twoTiers: ApprovalPolicy = {
  tiers: [
    { approvers: ['ana'], channels: ['pager'], waitMs: 2_000 },
    { approvers: ['bo'], channels: ['desk'], waitMs: 3_000 }
  ],
  onExhausted: 'deny'
}

export interface ScriptedChannel extends Channel {
  readonly delivered: readonly Invitation[]
  readonly updated: readonly VerdictNotice[]
}

/** A channel that reaches everyone but those named. */
export function channel(unreachable: readonly string[] = []): ScriptedChannel {
  const delivered: Invitation[] = []
  const updated: VerdictNotice[] = []
  return {
    delivered,
    updated,
    async deliver(invitation) {
      if (unreachable.includes(invitation.approver.id)) return { outcome: 'unreachable', reason: 'no signal' }
      delivered.push(invitation)
      return { outcome: 'delivered', receipt: `receipt of ${invitation.approver.id}` }
    },
    async update(notice) {
      updated.push(notice)
    }
  }
}

export interface Stage extends AsyncDisposable {
  readonly platform: TestPlatform
  readonly db: SqlDatabase
  readonly audit: AuditLog
  readonly oversight: Oversight
  readonly raise: Action<Raise>
  readonly events: OversightEvent[]
  /** A second process on the same store: `db` may be a wrapped one. */
  another(options?: Partial<OversightOptions>, db?: SqlDatabase): Oversight
  open(idempotencyKey?: string): Promise<ApprovalRequest<Raise>>
  /** Moves time, then runs every duty until nothing is due. */
  pass(durationMs: number): Promise<void>
  entries(): Promise<readonly AuditEntry[]>
  /** What the log says happened, after the proof that it is whole. */
  story(): Promise<readonly string[]>
}

export const raiseAction = (policy: ApprovalPolicy): Action<Raise> =>
  defineAction({ name: ACTION, detail: raiseDetail, policy: { identical: 'separate', ...policy } })

/** What an entry says of a tier that it asks. */
export function askedIn({ action, detail }: Pick<AuditEntry, 'action' | 'detail'>): JsonObject | undefined {
  if (action === 'tier.asked') return detail
  const asked = action === 'request.opened' ? detail?.['asked'] : undefined
  return asked as JsonObject | undefined
}

export const ask = {
  idempotencyKey: 'call-1',
  tenant: 'acme',
  requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
  summary: 'Raise the memory limit of job 4 to 128 MiB',
  detail: { limitMebibytes: 128 }
} as const

export async function stage(
  policy: ApprovalPolicy = twoTiers,
  options: Partial<OversightOptions> & {
    readonly disk?: SqlDatabase
    readonly platform?: TestPlatform
    readonly attemptMs?: number
  } = {}
): Promise<Stage> {
  const {
    disk = sqliteDatabase({ path: ':memory:' }),
    platform = testPlatform(),
    attemptMs = 10_000,
    ...more
  } = options
  const db = withStoreClock(disk, platform.clock)
  await migrate(db, [auditSchema, outboxSchema, oversightSchema])
  const audit = createAuditLog({ db, platform })
  const events: OversightEvent[] = []
  const raise = raiseAction(policy)
  const channels = { pager: channel(), desk: channel(), phone: channel() }
  const another: Stage['another'] = (changed = {}, on = db) =>
    createOversight({
      store: sqlOversightStore(on, { audit: createAuditLog({ db: on, platform }), platform, attemptMs }),
      actions: [raise],
      channels,
      platform,
      observe: (event) => events.push(event),
      ...more,
      ...changed
    })
  const oversight = another()
  const entries = async (): Promise<readonly AuditEntry[]> => {
    const found: AuditEntry[] = []
    for (;;) {
      const page = await audit.read(ask.tenant, { after: found.length, limit: 1_000 })
      if (page.length === 0) return found
      found.push(...page)
    }
  }
  return {
    platform,
    db,
    audit,
    oversight,
    raise,
    events,
    another,
    open: (idempotencyKey = ask.idempotencyKey) => oversight.open(raise, { ...ask, idempotencyKey }),
    async pass(durationMs) {
      await platform.clock.advance(durationMs)
      await runDuties(oversight)
    },
    entries,
    async story() {
      expect(await audit.verify(ask.tenant)).toMatchObject({ outcome: 'intact' })
      return (await entries()).map(({ action, actor }) => `${action} by ${actor}`)
    },
    [Symbol.asyncDispose]: () => disk.close()
  }
}

/** Does everything that is due now. */
export async function runDuties(oversight: Oversight): Promise<void> {
  const { signal } = new AbortController()
  for (let handled = 1; handled > 0; ) {
    handled = 0
    for (const duty of oversight.duties) handled += (await duty.run({ signal })).handled
  }
}
