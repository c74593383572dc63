import type { AuditDraft } from '@enablement/core/audit'
import {
  execute,
  firstRow,
  integerOf,
  jsonRows,
  rows,
  type Sql,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import type { GrantRecord } from '../grant/grant-record.ts'
import { isSpent } from '../grant/standing-grants.ts'
import type { Opened, Opening } from '../oversight-store.ts'
import type { RequestRecord } from '../request/request.ts'
import type { GrantRows } from './grant-rows.ts'
import type { PolicyRows } from './policy-rows.ts'
import { identityKey, REQUEST_COLUMNS, type RequestRow, requestOf, rowOf } from './request-row.ts'
import type { RequestUnits, Written } from './request-units.ts'

/**
 * One that had the same identity was settled while this unit looked: nothing of the opening is left, and it is to be tried
 * in another unit. Tried again in this one it would wait for a unit that may be waiting for what this one has inserted.
 */
export type OpenedOrNot = Opened | { readonly outcome: 'again' }

/**
 * Opens requests, several in one unit. The row of its key decides who opens a request, and the unique identity whether one
 * that is open is the same: both are waited for where another unit has written them and not committed.
 */
export function openingUnit(
  dialect: SqlDialect,
  parts: { readonly units: RequestUnits; readonly grants: GrantRows; readonly policies: PolicyRows }
): (openings: readonly Opening[]) => Sql<readonly OpenedOrNot[]> {
  const { units, grants, policies } = parts
  const { now } = dialect
  const keys = jsonRows(dialect, { tenant: 'text', idempotency_key: 'text', request_id: 'text' })
  const requests = jsonRows(dialect, {
    id: 'text',
    tenant: 'text',
    action: 'text',
    status: 'text',
    identity_key: 'integer',
    policy_version: 'text',
    next_due_at: 'integer',
    execution_due_at: 'integer',
    matter: 'text',
    course: 'text'
  })
  const identities = jsonRows(dialect, { identity_key: 'integer' })
  const columns =
    'id, tenant, action, status, identity_key, next_due_at, execution_due_at, policy_version, matter, course'
  const clockText = `select ${now} as now`
  // In an order of their own, so that two units never wait for each other.
  const keyText = `insert into oversight_keys (tenant, idempotency_key, request_id)
    select tenant, idempotency_key, request_id from ${keys.select} as given where true
    order by tenant, idempotency_key, place on conflict do nothing returning request_id`
  const heldText = `select k.tenant as key_tenant, k.idempotency_key, ${prefixed('r')}
    from ${keys.select} as given
    join oversight_keys k on k.tenant = given.tenant and k.idempotency_key = given.idempotency_key
    join oversight_requests r on r.id = k.request_id`
  const insertText = `insert into oversight_requests (${columns})
    select ${columns} from ${requests.select} as given where true
    order by identity_key, place on conflict (identity_key) do nothing returning id`
  const identicalText = `select ${REQUEST_COLUMNS} from oversight_requests
    where identity_key in (select identity_key from ${identities.select} as given)`
  const dropKeyText = `delete from oversight_keys
    where (tenant, idempotency_key) in (select tenant, idempotency_key from ${keys.select} as given)`
  const passKeyText = `update oversight_keys set request_id = given.request_id from ${keys.select} as given
    where oversight_keys.tenant = given.tenant and oversight_keys.idempotency_key = given.idempotency_key`

  const keyRow = ({ tenant, idempotencyKey }: Opening, request_id: string) => ({
    tenant,
    idempotency_key: idempotencyKey,
    request_id
  })

  /**
   * Inserts what is new, in the order of identities, and gives the open request to what has the identity of one; undefined
   * to what met one that was settled before it could be read.
   */
  function* insert(
    opened: readonly (Written & { readonly opening: Opening })[]
  ): Sql<Map<string, RequestRecord | undefined>> {
    const same = new Map<string, RequestRecord | undefined>()
    const news = yield* insertRows(opened.map(({ after }) => rowOf(after)))
    const left = opened.filter(({ after }) => !news.has(after.id))
    if (left.length === 0) return same
    const wanted = left.map(({ after }) => ({ identity_key: identityKey(after.identity ?? '') }))
    const held = yield* rows(identicalText, identities.parameter(wanted))
    const policyOf = yield* policies.of(held)
    const found = new Map<number, RequestRecord>()
    for (const row of held) {
      const request = requestOf(row, policyOf)
      found.set(identityKey(request.identity ?? ''), request)
    }
    const alone: RequestRow[] = []
    for (const { after } of left) {
      const request = found.get(identityKey(after.identity ?? ''))
      // Two identities in four thousand million millions have the same key: one of them does without it.
      if (request === undefined || request.identity === after.identity) same.set(after.id, request)
      else alone.push(rowOf({ ...after, identity: undefined }))
    }
    if (alone.length > 0) yield* insertRows(alone)
    return same
  }

  function* insertRows(made: readonly RequestRow[]): Sql<ReadonlySet<string>> {
    return new Set((yield* rows(insertText, requests.parameter(made))).map((row) => textOf(row, 'id')))
  }

  return function* open(openings) {
    const inserted = yield* rows(keyText, keys.parameter(openings.map((opening) => keyRow(opening, opening.id))))
    const news = new Set(inserted.map((row) => textOf(row, 'request_id')))
    const fresh = openings.filter(({ id }) => news.has(id))
    const standing = yield* grants.lock(fresh.filter((opening) => opening.grants).map(({ tenant }) => tenant))
    const at = integerOf((yield* firstRow(clockText)) as SqlRow, 'now')

    const opened: (Written & { readonly opening: Opening })[] = []
    const used = new Map<string, GrantRecord>()
    for (const opening of fresh) {
      const ofTenant = opening.grants ? (standing.get(opening.tenant) ?? []) : []
      // One that an earlier opening of this unit has spent is not good any more.
      const current = ofTenant
        .map((grant) => used.get(grant.id) ?? grant)
        .filter((grant) => !isSpent(grant) && grant.expiresAt > at)
      const { request, messages = [], evidence = [], grant } = opening.open(at, current)
      if (grant !== undefined) used.set(grant.id, grant)
      opened.push({ before: undefined, after: request, messages, evidence, opening })
    }
    yield* policies.keep(opened.map(({ after }) => after))
    const same = yield* insert(opened)
    const coalesced: AuditDraft[] = []
    const passed: ReturnType<typeof keyRow>[] = []
    const dropped: ReturnType<typeof keyRow>[] = []
    for (const { opening } of opened) {
      if (!same.has(opening.id)) continue
      const request = same.get(opening.id)
      if (request === undefined) {
        dropped.push(keyRow(opening, opening.id))
        continue
      }
      coalesced.push(...opening.coalesce(request))
      passed.push(keyRow(opening, request.id))
    }
    if (passed.length > 0) yield* execute(passKeyText, keys.parameter(passed))
    if (dropped.length > 0) yield* execute(dropKeyText, keys.parameter(dropped))
    const written = opened.filter(({ opening }) => !same.has(opening.id))
    yield* grants.update([...used.values()])
    yield* units.writeAround(written, coalesced)

    const results = new Map<string, OpenedOrNot>()
    for (const { opening, after } of written) results.set(opening.id, { outcome: 'opened', request: after })
    for (const [id, request] of same) {
      results.set(id, request === undefined ? { outcome: 'again' } : { outcome: 'coalesced', request })
    }
    const repeated = openings.filter(({ id }) => !news.has(id))
    const held = new Map<string, RequestRecord>()
    if (repeated.length > 0) {
      const given = keys.parameter(repeated.map((opening) => keyRow(opening, opening.id)))
      const found = yield* rows(heldText, given)
      const policyOf = yield* policies.of(found)
      for (const row of found) {
        held.set(JSON.stringify([row['key_tenant'], row['idempotency_key']]), requestOf(row, policyOf))
      }
    }
    return openings.map((opening) => {
      const known = results.get(opening.id)
      if (known !== undefined) return known
      const { tenant, idempotencyKey } = opening
      // The same key twice in one unit: the second goes with the first.
      const again = dropped.some((key) => key.tenant === tenant && key.idempotency_key === idempotencyKey)
      if (again) return { outcome: 'again' }
      return { outcome: 'found', request: held.get(JSON.stringify([tenant, idempotencyKey])) as RequestRecord }
    })
  }
}

const prefixed = (table: string): string =>
  REQUEST_COLUMNS.split(', ')
    .map((column) => `${table}.${column}`)
    .join(', ')
