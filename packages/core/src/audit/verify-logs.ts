import type { SqlDatabase } from '../sql/sql-database.ts'
import { rows, textOf } from '../sql/statement.ts'
import type { AuditIntegrity } from './audit-integrity.ts'
import { readCheckpoint, tenantOf } from './checkpoint.ts'
import { checkVerifyOptions, type VerifyAuditOptions, verifyChecked } from './verification.ts'

/** Tenants that are read at a time. */
const PAGE_TENANTS = 256

/**
 * Verifies the logs of a database one after the other, those of which nothing but a kept checkpoint is left included.
 * Options and errors are those of `verifyAuditLog`.
 */
export async function* verifyAuditLogs(
  db: SqlDatabase,
  options: VerifyAuditOptions = {}
): AsyncGenerator<AuditIntegrity, void, undefined> {
  const checked = checkVerifyOptions(options)
  const kept = checkpointsByTenant(checked.checkpoints ?? [])
  const verify = (tenant: string): Promise<AuditIntegrity> =>
    verifyChecked(db, tenant, { ...checked, checkpoints: kept.get(tenant) ?? [] })
  for await (const tenant of auditTenants(db, checked.signal)) {
    yield await verify(tenant)
    kept.delete(tenant)
  }
  for (const tenant of kept.keys()) yield await verify(tenant)
}

/** Every tenant that has a head, or an entry. */
async function* auditTenants(db: SqlDatabase, signal: AbortSignal | undefined): AsyncGenerator<string> {
  const runOptions = signal === undefined ? {} : { signal }
  for (let after = ''; ; ) {
    const from = after
    const page = await db.run(
      () =>
        rows(
          `with recursive known(tenant) as (
             select min(tenant) from audit_entries where tenant > ?
             union all
             select (select min(tenant) from audit_entries where tenant > known.tenant)
             from known where known.tenant is not null)
           select tenant from
             (select tenant from (select tenant from known where tenant is not null limit ?) as entries
              union select tenant from (select tenant from audit_heads where tenant > ? order by tenant limit ?) as heads
             ) as tenants
           order by tenant limit ?`,
          from,
          PAGE_TENANTS,
          from,
          PAGE_TENANTS,
          PAGE_TENANTS
        ),
      runOptions
    )
    for (const row of page) {
      after = textOf(row, 'tenant')
      yield after
    }
    if (page.length < PAGE_TENANTS) return
  }
}

/** Checkpoints by the tenants of their logs, so that each log is compared with its own alone. */
function checkpointsByTenant(notes: readonly string[]): Map<string, string[]> {
  const byTenant = new Map<string, string[]>()
  for (const note of notes) {
    const checkpoint = readCheckpoint(note)
    const tenant = checkpoint === undefined ? undefined : tenantOf(checkpoint.origin)
    if (tenant === undefined) continue
    const found = byTenant.get(tenant)
    if (found === undefined) byTenant.set(tenant, [note])
    else found.push(note)
  }
  return byTenant
}
