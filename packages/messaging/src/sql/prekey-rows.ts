import { bytesOf, changes, execute, firstRow, integerOf, rows, type Sql, type SqlRow } from '@enablement/core/sql'
import type { RecordPlace, RecordSealer } from '../session/sealed-record.ts'
import type { PrekeyKind, PrekeyListing, PrekeyRecord, PrekeyStock, StoreChange } from '../store/message-store.ts'

/** Prekeys are written once: their version is always 1. */
function placeOf(owner: string, kind: PrekeyKind, id: number): RecordPlace {
  return { kind: `${kind} prekey`, owner, key: String(id), version: 1 }
}

/** Reads one private prekey, still sealed. */
export function* findPrekey(owner: string, kind: PrekeyKind, id: number): Sql<SqlRow | undefined> {
  return yield* firstRow(
    'select record, created_at, published_at from messaging_prekey where owner = ? and kind = ? and id = ?',
    owner,
    kind,
    id
  )
}

/** Opens what `findPrekey` found. */
export function openPrekey(
  sealer: RecordSealer,
  owner: string,
  kind: PrekeyKind,
  id: number,
  row: SqlRow
): PrekeyRecord {
  return {
    kind,
    id,
    secret: sealer.open(placeOf(owner, kind, id), bytesOf(row, 'record')),
    createdAt: integerOf(row, 'created_at'),
    publishedAt: integerOf(row, 'published_at')
  }
}

export function* readPrekeyStock(owner: string): Sql<PrekeyStock> {
  const stock = yield* firstRow('select version, next_id from messaging_prekey_stock where owner = ?', owner)
  const signed = yield* rows(
    `select id, created_at, published_at from messaging_prekey where owner = ? and kind = 'signed' order by id desc`,
    owner
  )
  const oneTime = yield* firstRow(
    `select count(*) as held from messaging_prekey where owner = ? and kind = 'one-time'`,
    owner
  )
  return {
    version: stock === undefined ? 0 : integerOf(stock, 'version'),
    nextId: stock === undefined ? 0 : integerOf(stock, 'next_id'),
    signed: signed.map(
      (row): PrekeyListing => ({
        kind: 'signed',
        id: integerOf(row, 'id'),
        createdAt: integerOf(row, 'created_at'),
        publishedAt: integerOf(row, 'published_at')
      })
    ),
    oneTimeCount: oneTime === undefined ? 0 : integerOf(oneTime, 'held')
  }
}

/** Sealed before the unit begins: a unit may run again, and touches nothing but its statements. */
export function sealPrekeys(
  sealer: RecordSealer,
  owner: string,
  added: readonly PrekeyRecord[]
): readonly { readonly prekey: PrekeyRecord; readonly record: Uint8Array }[] {
  return added.map((prekey) => ({ prekey, record: sealer.seal(placeOf(owner, prekey.kind, prekey.id), prekey.secret) }))
}

/** Writes a change of the stock. False when the stock has moved on. */
export function* writePrekeys(
  owner: string,
  change: NonNullable<StoreChange['prekeys']>,
  sealed: ReturnType<typeof sealPrekeys>
): Sql<boolean> {
  const { expectedVersion, nextId, republished, forgottenSignedIds, forgetOneTimeBelow } = change
  const moved =
    expectedVersion === 0
      ? yield* changes(
          'insert into messaging_prekey_stock (owner, version, next_id) values (?, 1, ?) on conflict do nothing',
          owner,
          nextId
        )
      : yield* changes(
          'update messaging_prekey_stock set version = version + 1, next_id = ? where owner = ? and version = ?',
          nextId,
          owner,
          expectedVersion
        )
  if (moved === 0) return false
  for (const { prekey, record } of sealed) {
    yield* execute(
      `insert into messaging_prekey (owner, kind, id, record, created_at, published_at) values (?, ?, ?, ?, ?, ?)`,
      owner,
      prekey.kind,
      prekey.id,
      record,
      prekey.createdAt,
      prekey.publishedAt
    )
  }
  if (republished !== undefined) {
    yield* execute(
      `update messaging_prekey set published_at = ? where owner = ? and kind = 'signed' and id = ?`,
      republished.at,
      owner,
      republished.id
    )
  }
  for (const id of forgottenSignedIds) {
    yield* execute(`delete from messaging_prekey where owner = ? and kind = 'signed' and id = ?`, owner, id)
    yield* execute('delete from messaging_base_key where owner = ? and signed_prekey_id = ?', owner, id)
  }
  yield* execute(
    `delete from messaging_prekey where owner = ? and kind = 'one-time' and id < ?`,
    owner,
    forgetOneTimeBelow
  )
  return true
}
