import { execute, jsonRows, rows, type Sql, type SqlDialect, type SqlRow, textOf } from '@enablement/core/sql'
import type { GrantRecord } from '../grant/grant-record.ts'
import { isSpent } from '../grant/standing-grants.ts'
import { damaged } from './request-row.ts'

/** The rows of standing grants, as parts of units. */
export interface GrantRows {
  /** The grants of these tenants that may still be good, locked. */
  lock(tenants: readonly string[]): Sql<ReadonlyMap<string, readonly GrantRecord[]>>
  lockOne(id: string): Sql<GrantRecord | undefined>
  insert(grant: GrantRecord): Sql<void>
  update(grants: readonly GrantRecord[]): Sql<void>
  list(query: {
    readonly tenant: string
    readonly before?: string
    readonly limit: number
  }): Sql<readonly GrantRecord[]>
}

/** Good grants of one tenant that an opening looks at, the newest: far more than anyone keeps an eye on. */
const LOOKED_AT_MAX = 1_000

/** After every id. */
const LAST = '\u{10ffff}'

export function grantRows(dialect: SqlDialect): GrantRows {
  const { now, forUpdate } = dialect
  const tenantRows = jsonRows(dialect, { tenant: 'text' })
  const changed = jsonRows(dialect, { id: 'text', spent: 'integer', terms: 'text' })
  // In an order of their own, so that two units never wait for each other.
  const good = `spent = 0 and expires_at > (select ${now})`
  const lockText = `select tenant, terms from oversight_grants
    where ${good} and id in (select id from (
      select id, row_number() over (partition by tenant order by id desc) as place from oversight_grants
      where ${good} and tenant in (select tenant from ${tenantRows.select} as given)) as ranked where place <= ${LOOKED_AT_MAX})
    order by id${forUpdate}`
  const lockOneText = `select terms from oversight_grants where id = ?${forUpdate}`
  const insertText = `insert into oversight_grants (id, tenant, spent, expires_at, terms) values (?, ?, ?, ?, ?)`
  const updateText = `update oversight_grants set spent = given.spent, terms = given.terms
    from ${changed.select} as given where oversight_grants.id = given.id`
  const listText = 'select terms from oversight_grants where tenant = ? and id < ? order by id desc limit ?'

  return {
    *lock(tenants) {
      const byTenant = new Map<string, GrantRecord[]>()
      const wanted = [...new Set(tenants)]
      if (wanted.length === 0) return byTenant
      for (const row of yield* rows(lockText, tenantRows.parameter(wanted.map((tenant) => ({ tenant }))))) {
        const grant = grantOf(row)
        const known = byTenant.get(grant.tenant)
        if (known === undefined) byTenant.set(grant.tenant, [grant])
        else known.push(grant)
      }
      return byTenant
    },
    *lockOne(id) {
      const [row] = yield* rows(lockOneText, id)
      return row === undefined ? undefined : grantOf(row)
    },
    *insert(grant) {
      const values = [grant.id, grant.tenant, isSpent(grant) ? 1 : 0, grant.expiresAt, JSON.stringify(grant)]
      yield* execute(insertText, ...values)
    },
    *update(grants) {
      if (grants.length === 0) return
      const given = grants.map((grant) => ({
        id: grant.id,
        spent: isSpent(grant) ? 1 : 0,
        terms: JSON.stringify(grant)
      }))
      yield* execute(updateText, changed.parameter(given))
    },
    *list({ tenant, before = LAST, limit }) {
      return (yield* rows(listText, tenant, before, limit)).map(grantOf)
    }
  }
}

function grantOf(row: SqlRow): GrantRecord {
  try {
    return JSON.parse(textOf(row, 'terms')) as GrantRecord
  } catch (cause) {
    throw damaged('column terms holds no JSON', cause)
  }
}
