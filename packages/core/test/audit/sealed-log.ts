import {
  type AuditDraft,
  type AuditLog,
  type AuditSealer,
  type AuditSealerEvent,
  type AuditSealerOptions,
  auditSchema,
  type CheckpointSink,
  createAuditLog,
  createAuditSealer,
  createCheckpointKey,
  ed25519Signer,
  sqlCheckpointSink
} from '@enablement/core/audit'
import { lockSchema } from '@enablement/core/lock'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'

export const AT = 1_760_000_000_000

/** One key for all tests: making one costs more than using it. */
export const key = createCheckpointKey('audit.example.com')
export const signer = ed25519Signer(key.signingKey)

export const draft = (subject: number | string, tenant = 'org_42'): AuditDraft => ({
  tenant,
  actor: 'approver:bo',
  action: 'request.approved',
  subject: `request:${subject}`,
  detail: { amount: 12 }
})

/** A log with a sealer, and a database of its own for the checkpoints. */
export interface SealedLog extends AsyncDisposable {
  readonly db: SqlDatabase
  readonly platform: TestPlatform
  readonly log: AuditLog
  readonly sink: CheckpointSink
  readonly sealer: AuditSealer
  readonly events: AuditSealerEvent[]
  /** Another process's. */
  another(changed?: Partial<AuditSealerOptions>): AuditSealer
  /** Runs the duty until it finds nothing to do. */
  seal(sealer?: AuditSealer): Promise<number>
  /** The newest note that the sink has. */
  kept(tenant?: string): Promise<string>
}

export async function sealedLog(options: Partial<AuditSealerOptions> = {}, disk?: SqlDatabase): Promise<SealedLog> {
  const platform = testPlatform({ now: AT })
  const inner = disk ?? sqliteDatabase({ path: ':memory:' })
  const db = withStoreClock(inner, platform.clock)
  await migrate(db, [auditSchema, lockSchema])
  const elsewhere = sqliteDatabase({ path: ':memory:' })
  await migrate(elsewhere, [auditSchema])
  const sink = options.sink ?? sqlCheckpointSink({ db: elsewhere })
  const events: AuditSealerEvent[] = []
  const observe = (event: AuditSealerEvent): void => void events.push(event)
  const another = (changed: Partial<AuditSealerOptions> = {}): AuditSealer =>
    createAuditSealer({ db, signer, sink, platform, observe, ...options, ...changed })
  const sealer = another()
  return {
    db,
    platform,
    log: createAuditLog({ db, platform }),
    sink,
    sealer,
    events,
    another,
    async seal(by = sealer) {
      for (let handled = 0; ; ) {
        const run = await by.duty.run({ signal: new AbortController().signal })
        if (run.handled === 0) return handled
        handled += run.handled
      }
    },
    async kept(tenant = 'org_42') {
      return (await sink.newest(`audit.example.com/${tenant}`)) ?? ''
    },
    async [Symbol.asyncDispose]() {
      await elsewhere.close()
      await inner.close()
    }
  }
}

/** Everything that an iterable gives. */
export async function collected<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
