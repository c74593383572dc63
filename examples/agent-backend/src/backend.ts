import path from 'node:path'
import { type AuditLog, auditSchema, createAuditLog, createAuditSealer, ed25519Signer } from '@enablement/core/audit'
import { fileCheckpointSink } from '@enablement/core/audit-file'
import { lockSchema } from '@enablement/core/lock'
import { outboxSchema } from '@enablement/core/outbox'
import { startWorker } from '@enablement/core/schedule'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createMessenger, type Messenger, type Trust } from '@enablement/messaging'
import { inProcessDirectory, inProcessTransport } from '@enablement/messaging/memory'
import { messagingSchema, sqlMessageStore } from '@enablement/messaging/sql'
import { createMeter, createQuotas, type Limit, type Meter, type MeteringEvent, type Quota } from '@enablement/metering'
import { meteringSchema, sqlQuotaStore, sqlUsageStore } from '@enablement/metering/sql'
import { type Channel, createOversight, defineAction, type Oversight, type OversightEvent } from '@enablement/oversight'
import { oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'
import { createRuntime, type Runtime, type RuntimeEvent } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { runtimeSchema, sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'
import { z } from 'zod'
import type { Keys } from './keys.ts'

export const tenant = 'acme'
export const subscription = 'acme-research'
export const agent = 'analyst'

/** What the approvers are told when a sandbox wants more memory, and who they are. */
const raiseMemoryLimit = defineAction({
  name: 'runtime.raise-memory-limit',
  detail: z.looseObject({ currentLimitBytes: z.int().positive(), requestedLimitBytes: z.int().positive() }),
  inMessages: z.object({ requestedLimitBytes: z.int() }),
  policy: {
    tiers: [
      { approvers: ['ana'], channels: ['pager'], waitMs: 1_500 },
      { approvers: ['bo'], channels: ['desk'], waitMs: 3_600_000 }
    ],
    onExhausted: 'deny'
  }
})

export interface BackendOptions {
  readonly folder: string
  readonly keys: Keys
  readonly channels: Readonly<Record<'pager' | 'desk', Channel>>
  readonly observe: (event: RuntimeEvent | OversightEvent | MeteringEvent) => void
}

/** A backend in one process: the five packages, and how they are wired to each other. */
export interface Backend extends AsyncDisposable {
  readonly audit: AuditLog
  readonly runtime: Runtime
  readonly oversight: Oversight
  readonly meter: Meter
  /** What the agent may spend on a language model. */
  readonly tokens: Quota
  readonly analyst: Messenger
  readonly reporter: Messenger
}

export async function openBackend(options: BackendOptions): Promise<Backend> {
  const { folder, keys, channels, observe } = options
  const db = sqliteDatabase({ path: path.join(folder, 'backend.sqlite') })
  await migrate(db, [
    auditSchema,
    outboxSchema,
    lockSchema,
    oversightSchema,
    meteringSchema,
    runtimeSchema,
    messagingSchema
  ])

  const audit = createAuditLog({ db })
  // Checkpoints belong where whoever owns the database does not: another disk at least.
  const checkpoints = fileCheckpointSink({ path: path.join(folder, 'audit-checkpoints') })
  const sealer = createAuditSealer({ db, signer: ed25519Signer(keys.audit), sink: checkpoints })
  const oversight = createOversight({
    store: sqlOversightStore(db, { audit }),
    actions: [raiseMemoryLimit],
    channels,
    observe,
    pollMs: 100
  })
  const meter = createMeter({ store: sqlUsageStore(db), observe })
  // The organisation shares 100,000 tokens a month, and no agent gets more than 2,000 of them.
  const llmTokens: Limit = {
    name: 'llm-tokens',
    quantity: 100_000,
    period: 'calendar-month-utc',
    eachChild: { quantity: 2_000 }
  }
  const quotas = createQuotas({
    store: sqlQuotaStore(db),
    limits: [llmTokens],
    onStoreFailure: 'refuse',
    observe
  })
  const tokens = quotas.bind({ tenant, path: [agent], limit: 'llm-tokens' })

  // Where runtime meets oversight and metering: two seams, wired here and nowhere else.
  const runtime = createRuntime({
    host: quickjsHost(),
    approvals: oversight.gate(),
    usage: meter,
    checkpoints: sqlCheckpointStore(db),
    incidents: sqlIncidentStore(db, { audit }),
    sealingKey: keys.checkpoints,
    observe
  })

  // The second agent keeps its own database; the two share nothing but a directory of prekeys and a way to send bytes.
  const reporterDb = sqliteDatabase({ path: path.join(folder, 'reporter.sqlite') })
  await migrate(reporterDb, [messagingSchema])
  const directory = inProcessDirectory()
  const transport = inProcessTransport()
  const register = new Map([
    ['analyst#1', keys.analyst.fingerprint],
    ['reporter#1', keys.reporter.fingerprint]
  ])
  const trust: Trust = ({ address, fingerprint }) => register.get(address) === fingerprint
  const analyst = await createMessenger({
    address: 'analyst#1',
    identity: keys.analyst,
    store: sqlMessageStore(db, { sealingKey: keys.messages }),
    directory,
    transport,
    trust
  })
  const reporter = await createMessenger({
    address: 'reporter#1',
    identity: keys.reporter,
    store: sqlMessageStore(reporterDb, { sealingKey: keys.messages }),
    directory,
    transport,
    trust
  })
  await Promise.all([analyst.publishPrekeys(), reporter.publishPrekeys()])

  const worker = startWorker({
    duties: [
      sealer.duty,
      ...oversight.duties,
      ...quotas.duties,
      ...runtime.duties,
      ...analyst.duties,
      ...reporter.duties
    ],
    pollMs: 100
  })

  return {
    audit,
    runtime,
    oversight,
    meter,
    tokens,
    analyst,
    reporter,
    async [Symbol.asyncDispose]() {
      await worker.close()
      await Promise.all([runtime.close(), quotas.close()])
      await Promise.all([analyst.close(), reporter.close()])
      await Promise.all([db.close(), reporterDb.close(), checkpoints.close()])
    }
  }
}
