import { canonicalJson } from '@enablement/core'
import type { AuditDraft, AuditLog } from '@enablement/core/audit'
import {
  execute,
  firstRow,
  integerOf,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { type Incident, OPEN_STATES, stepIncident } from '../incident/incident.ts'
import type { IncidentStore } from '../incident/incident-store.ts'

/**
 * Incidents in a database that holds `runtimeSchema`; with `audit`, each step and its audit entry are one transaction.
 * Throws what `SqlDatabase.run` throws.
 */
export function sqlIncidentStore(db: SqlDatabase, options: { readonly audit?: AuditLog } = {}): IncidentStore {
  const { audit } = options

  function* append(evidence: readonly AuditDraft[]): Sql<void> {
    if (audit !== undefined) for (const draft of evidence) yield* audit.append(draft)
  }

  function* storeNow(): Sql<number> {
    const row = yield* firstRow(`select ${db.dialect.now} as now_at`)
    return integerOf(row ?? {}, 'now_at')
  }

  function* locked(id: string): Sql<Incident | undefined> {
    const row = yield* firstRow(`select incident from runtime_incidents where id = ? ${db.dialect.forUpdate}`, id)
    return row === undefined ? undefined : incidentOf(row)
  }

  function* write(incident: Incident): Sql<void> {
    yield* execute(
      'update runtime_incidents set is_open = ?, incident = ? where id = ?',
      isOpen(incident),
      canonicalJson(incident),
      incident.id
    )
  }

  return {
    open: (draft, handlingMs, evidence) =>
      db.run(function* () {
        const { supersedes } = draft
        const former = supersedes === undefined ? undefined : yield* locked(supersedes.incidentId)
        const now = yield* storeNow()
        const incident: Incident = { ...draft, handledUntil: now + handlingMs }
        const inserted = yield* execute(
          `insert into runtime_incidents (id, tenant, is_open, detected_at, incident)
           values (?, ?, ?, ?, ?) on conflict do nothing`,
          incident.id,
          incident.tenant,
          isOpen(incident),
          incident.detectedAt,
          canonicalJson(incident)
        )
        if (inserted.changes === 0) return { outcome: 'opened', incident } as const
        if (supersedes !== undefined) {
          const step = { type: 'closed', incarnation: supersedes.incarnation } as const
          const closed = former === undefined ? undefined : stepIncident(former, step, now)
          if (closed === undefined) {
            yield* execute('delete from runtime_incidents where id = ?', incident.id)
            return { outcome: 'fenced' } as const
          }
          yield* write(closed)
        }
        yield* append(evidence)
        return { outcome: 'opened', incident } as const
      }),

    advance: (id, step, evidence) =>
      db.run(function* () {
        const incident = yield* locked(id)
        if (incident === undefined) return { outcome: 'unknown' } as const
        // Read after the lock was had: the time of the wait counts.
        const now = yield* storeNow()
        const next = stepIncident(incident, step, now)
        if (next === undefined) return { outcome: 'stale', incident, now } as const
        yield* write(next)
        yield* append(evidence)
        return { outcome: 'advanced', incident: next, now } as const
      }),

    find: (id) =>
      db.run(function* () {
        const row = yield* firstRow('select incident from runtime_incidents where id = ?', id)
        return row === undefined ? undefined : { incident: incidentOf(row), now: yield* storeNow() }
      }),

    async list(tenant, { open, limit }) {
      const found = await db.run(() =>
        rows(
          `select incident from runtime_incidents where tenant = ? and is_open >= ?
           order by detected_at, id limit ?`,
          tenant,
          open ? 1 : 0,
          limit
        )
      )
      return found.map(incidentOf)
    }
  }
}

const isOpen = ({ state }: Incident): number => (OPEN_STATES.includes(state) ? 1 : 0)

const incidentOf = (row: SqlRow): Incident => JSON.parse(textOf(row, 'incident')) as Incident
