import { CoreError, parseOptions } from '@enablement/core'
import {
  bytesOf,
  changes,
  execute,
  firstRow,
  integerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { z } from 'zod'
import { cryptoProvider } from '#crypto'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { KEY_BYTES } from '../crypto/curve25519.ts'
import { createRecordSealer, type RecordPlace, type RecordSealer } from '../session/sealed-record.ts'
import type { InboxEntry, MessageStore, OutboxEntry, OutboxStatus, StoreChange } from '../store/message-store.ts'
import { findPrekey, openPrekey, readPrekeyStock, sealPrekeys, writePrekeys } from './prekey-rows.ts'

/** How a store in a database is made. */
export interface SqlMessageStoreOptions {
  /** 32 secret bytes, from `createSealingKey`, kept outside the database. Without it nothing in the store opens. */
  readonly sealingKey: Uint8Array
  /** Seals the records; Node's provider under Node and noble elsewhere, unless given. */
  readonly crypto?: CryptoProvider
}

const optionsSchema: z.ZodType<SqlMessageStoreOptions> = z.strictObject({
  sealingKey: z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === KEY_BYTES,
    `must be ${KEY_BYTES} bytes`
  ),
  crypto: z
    .custom<CryptoProvider>((value) => typeof value === 'object' && value !== null, 'must be a crypto provider')
    .exactOptional()
})

/** Undoes a unit that found a conflict half-way. Never leaves this file. */
class Conflict extends Error {}

/**
 * Keeps messengers' state in a database that has `messagingSchema`. Sessions, private prekeys and received plaintexts
 * are sealed under `sealingKey`, each bound to its place and version; a change is one transaction.
 */
export function sqlMessageStore(db: SqlDatabase, options: SqlMessageStoreOptions): MessageStore {
  const { sealingKey, crypto = cryptoProvider } = parseOptions(optionsSchema, 'sqlMessageStore', options)
  const sealer = createRecordSealer(sealingKey, crypto)

  return {
    supports: { durable: db.supports.durable, sealedAtRest: true },

    async loadSession(owner, peer) {
      const row = await db.run(() =>
        firstRow('select version, record from messaging_session where owner = ? and peer = ?', owner, peer)
      )
      if (row === undefined) return undefined
      const version = integerOf(row, 'version')
      return { version, record: sealer.open(sessionPlace(owner, peer, version), bytesOf(row, 'record')) }
    },

    async loadPrekey(owner, kind, id) {
      const row = await db.run(() => findPrekey(owner, kind, id))
      return row === undefined ? undefined : openPrekey(sealer, owner, kind, id, row)
    },

    loadPrekeyStock: (owner) => db.run(() => readPrekeyStock(owner)),

    async loadBaseKeys(owner, signedPrekeyId, baseKey) {
      const row = await db.run(() =>
        firstRow(
          `select count(*) as total, coalesce(sum(case when base_key = ? then 1 else 0 end), 0) as used
           from messaging_base_key where owner = ? and signed_prekey_id = ?`,
          baseKey,
          owner,
          signedPrekeyId
        )
      )
      return row === undefined
        ? { used: false, count: 0 }
        : { used: integerOf(row, 'used') > 0, count: integerOf(row, 'total') }
    },

    async commit(owner, change) {
      const sealed = sealChange(sealer, owner, change)
      try {
        await db.run(() => writeChange(owner, change, sealed))
        return { outcome: 'committed' }
      } catch (error) {
        if (error instanceof Conflict) return { outcome: 'conflict' }
        throw error
      }
    },

    async loadSent(owner, idempotencyKey) {
      const row = await db.run(() =>
        firstRow('select * from messaging_outbox where owner = ? and idempotency_key = ?', owner, idempotencyKey)
      )
      return row === undefined ? undefined : outboxEntryOf(row)
    },

    async loadQueuedPeers(owner) {
      const found = await db.run(() =>
        rows(`select distinct peer from messaging_outbox where owner = ? and status = 'queued'`, owner)
      )
      return found.map((row) => textOf(row, 'peer'))
    },

    async loadQueued(owner, peer, { limit }) {
      const found = await db.run(() =>
        rows(
          `select * from messaging_outbox where owner = ? and status = 'queued' and peer = ? order by sequence limit ?`,
          owner,
          peer,
          limit
        )
      )
      return found.map(outboxEntryOf)
    },

    settle: (owner, id, status) => db.run(() => settle(owner, id, status)),

    expire: (owner, { now, limit }) =>
      db.run(function* () {
        const due = yield* rows(
          `select id, peer, status from messaging_outbox where owner = ? and expires_at <= ?
           order by expires_at limit ?`,
          owner,
          now,
          limit
        )
        const expired: { id: string; peer: string }[] = []
        let forgotten = 0
        for (const row of due) {
          const id = textOf(row, 'id')
          // Another process may have been here since; whoever deletes the row tells of it.
          const gone = yield* changes(
            'delete from messaging_outbox where owner = ? and id = ? and status = ?',
            owner,
            id,
            textOf(row, 'status')
          )
          if (gone === 0) continue
          if (row['status'] === 'queued') expired.push({ id, peer: textOf(row, 'peer') })
          else forgotten += 1
        }
        return { expired, forgotten }
      }),

    async loadWaitingPeers(owner) {
      const found = await db.run(() => rows('select distinct peer from messaging_inbox where owner = ?', owner))
      return found.map((row) => textOf(row, 'peer'))
    },

    async loadUnacknowledged(owner, peer, { limit }) {
      const found = await db.run(() =>
        rows(
          `select id, record, received_at from messaging_inbox where owner = ? and peer = ? order by sequence limit ?`,
          owner,
          peer,
          limit
        )
      )
      return found.map((row): InboxEntry => {
        const id = textOf(row, 'id')
        const plaintext = sealer.open(inboxPlace(owner, id), bytesOf(row, 'record'))
        return { id, peer, plaintext, receivedAt: integerOf(row, 'received_at') }
      })
    },

    acknowledge: (owner, id) =>
      db.run(function* () {
        return (yield* changes('delete from messaging_inbox where owner = ? and id = ?', owner, id)) > 0
      }),

    countWaiting: (owner) =>
      db.run(function* () {
        const queued = yield* firstRow(
          `select count(*) as held from messaging_outbox where owner = ? and status = 'queued'`,
          owner
        )
        const unacknowledged = yield* firstRow('select count(*) as held from messaging_inbox where owner = ?', owner)
        return {
          queued: queued === undefined ? 0 : integerOf(queued, 'held'),
          unacknowledged: unacknowledged === undefined ? 0 : integerOf(unacknowledged, 'held')
        }
      })
  }
}

function sessionPlace(owner: string, peer: string, version: number): RecordPlace {
  return { kind: 'session', owner, key: peer, version }
}

/** Inbox rows are written once. */
function inboxPlace(owner: string, id: string): RecordPlace {
  return { kind: 'inbox', owner, key: id, version: 1 }
}

/** The sealed records of a change, made before the unit begins: a unit may run again and only states statements. */
interface SealedChange {
  readonly session: Uint8Array | undefined
  readonly inbox: Uint8Array | undefined
  readonly prekeys: ReturnType<typeof sealPrekeys>
}

function sealChange(sealer: RecordSealer, owner: string, { session, inbox, prekeys }: StoreChange): SealedChange {
  return {
    session: session && sealer.seal(sessionPlace(owner, session.peer, session.expectedVersion + 1), session.record),
    inbox: inbox && sealer.seal(inboxPlace(owner, inbox.id), inbox.plaintext),
    prekeys: prekeys === undefined ? [] : sealPrekeys(sealer, owner, prekeys.added)
  }
}

/**
 * The session's version comes first: of two processes with one owner, the later waits there and then finds it moved.
 */
function* writeChange(owner: string, change: StoreChange, sealed: SealedChange): Sql<void> {
  const { session, outbox, inbox, usedOneTimePrekeyId, usedBaseKey, prekeys } = change
  if (session !== undefined && sealed.session !== undefined) {
    yield* insist(writeSession(owner, session.peer, session.expectedVersion, sealed.session))
  }
  if (usedOneTimePrekeyId !== undefined) {
    yield* insist(
      changes(
        `delete from messaging_prekey where owner = ? and kind = 'one-time' and id = ?`,
        owner,
        usedOneTimePrekeyId
      )
    )
  }
  if (usedBaseKey !== undefined) {
    yield* insist(
      changes(
        `insert into messaging_base_key (owner, signed_prekey_id, base_key) values (?, ?, ?) on conflict do nothing`,
        owner,
        usedBaseKey.signedPrekeyId,
        usedBaseKey.baseKey
      )
    )
  }
  if (outbox !== undefined) yield* insist(insertOutbox(owner, outbox))
  if (inbox !== undefined && sealed.inbox !== undefined) {
    yield* insist(
      changes(
        `insert into messaging_inbox (owner, id, peer, record, received_at) values (?, ?, ?, ?, ?)
         on conflict do nothing`,
        owner,
        inbox.id,
        inbox.peer,
        sealed.inbox,
        inbox.receivedAt
      )
    )
  }
  if (prekeys !== undefined && !(yield* writePrekeys(owner, prekeys, sealed.prekeys))) throw new Conflict()
}

/** Runs a statement that must change a row. */
function* insist(statement: Sql<number>): Sql<void> {
  if ((yield* statement) === 0) throw new Conflict()
}

function writeSession(owner: string, peer: string, expectedVersion: number, record: Uint8Array): Sql<number> {
  return expectedVersion === 0
    ? changes(
        'insert into messaging_session (owner, peer, version, record) values (?, ?, 1, ?) on conflict do nothing',
        owner,
        peer,
        record
      )
    : changes(
        'update messaging_session set version = version + 1, record = ? where owner = ? and peer = ? and version = ?',
        record,
        owner,
        peer,
        expectedVersion
      )
}

function insertOutbox(owner: string, entry: OutboxEntry): Sql<number> {
  return changes(
    `insert into messaging_outbox
       (owner, id, peer, idempotency_key, digest, envelope, status, queued_at, expires_at)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
    owner,
    entry.id,
    entry.peer,
    entry.idempotencyKey ?? null,
    entry.digest ?? null,
    entry.envelope,
    entry.status,
    entry.queuedAt,
    entry.expiresAt
  )
}

/**
 * An entry with an idempotency key is remembered without its envelope; the others have nothing to be remembered for.
 */
function* settle(owner: string, id: string, status: OutboxStatus): Sql<boolean> {
  const forgotten = yield* changes(
    `delete from messaging_outbox where owner = ? and id = ? and status = 'queued' and idempotency_key is null`,
    owner,
    id
  )
  if (forgotten > 0) return true
  const settled = yield* execute(
    `update messaging_outbox set status = ?, envelope = ? where owner = ? and id = ? and status = 'queued'`,
    status,
    new Uint8Array(0),
    owner,
    id
  )
  return settled.changes > 0
}

const STATUSES: ReadonlySet<string> = new Set<OutboxStatus>(['queued', 'delivered', 'rejected', 'expired'])

function outboxEntryOf(row: SqlRow): OutboxEntry {
  const status = textOf(row, 'status')
  if (!STATUSES.has(status)) {
    // From a later version, perhaps: how the message ended is not for this one to guess.
    const reason = 'an outbox entry has a status that is not known here'
    throw new CoreError('STORE_DAMAGED', `messaging: ${reason}`, { store: 'messaging', reason })
  }
  const digest = row['digest']
  return {
    id: textOf(row, 'id'),
    peer: textOf(row, 'peer'),
    idempotencyKey: optionalTextOf(row, 'idempotency_key'),
    digest: digest === null ? undefined : bytesOf(row, 'digest'),
    envelope: bytesOf(row, 'envelope'),
    status: status as OutboxStatus,
    queuedAt: integerOf(row, 'queued_at'),
    expiresAt: integerOf(row, 'expires_at')
  }
}
