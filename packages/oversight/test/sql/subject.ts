import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { outboxSchema } from '@enablement/core/outbox'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import { oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'
import type { OversightStoreSubject } from '@enablement/oversight/testing'

/** The SQL store in an empty database, for its exam. */
export async function sqlSubject(disk: SqlDatabase, dispose: () => Promise<void>): Promise<OversightStoreSubject> {
  const platform = testPlatform()
  const db = withStoreClock(disk, platform.clock)
  await migrate(db, [auditSchema, outboxSchema, oversightSchema])
  const audit = createAuditLog({ db, platform })
  return {
    store: sqlOversightStore(db, { audit, platform }),
    advance: (durationMs) => platform.clock.advance(durationMs),
    evidence: async (tenant) =>
      (await audit.read(tenant, { limit: 1_000 })).map(({ actor, action, subject, detail = {} }) => ({
        tenant,
        actor,
        action,
        subject,
        detail
      })),
    [Symbol.asyncDispose]: dispose
  }
}
