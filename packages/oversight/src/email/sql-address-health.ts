import { parseOptions } from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import {
  changes,
  execute,
  firstRow,
  integerOf,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { z } from 'zod'
import {
  type AddressHealth,
  type AddressHealthRule,
  type AddressRecord,
  type AddressStanding,
  blankRecord,
  checkAddress,
  checkFinding,
  checkInvitations,
  checkMail,
  checkMessageId,
  countedAfter,
  type MailedInvitation,
  type MailFinding,
  type MailId,
  type MailTrace,
  mailKeptMs,
  recordAt,
  recordKeptUntil,
  ruleShape,
  standingOf,
  wholeRule,
  withAcceptance,
  withHardBounce
} from './address-health.ts'

export interface SqlAddressHealthOptions extends AddressHealthRule {
  /** A database that has taken `emailSchema`. */
  readonly db: SqlDatabase
}

/** Address health in SQL. */
export interface SqlAddressHealth extends AddressHealth {
  /** For a worker: forgets what nobody will ask for again, up to 1,000 rows of either kind a run. */
  readonly sweep: Duty
}

const optionsSchema: z.ZodType<SqlAddressHealthOptions> = z.strictObject({
  ...ruleShape,
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value)
})

/** What one run of the sweep deletes at most of either: some milliseconds of a writer. */
const SWEPT_MAX = 1_000

/**
 * Address health in the tables of `emailSchema`, for any number of processes. Findings about one address are taken one
 * after another, by the database's clock. An address that has never bounced has no row. Throws `INVALID_OPTIONS`.
 */
export function sqlAddressHealth(options: SqlAddressHealthOptions): SqlAddressHealth {
  const { db, ...given } = parseOptions(optionsSchema, 'sqlAddressHealth', options)
  const rule = wholeRule(given)
  const { now: clockNow, forUpdate } = db.dialect

  // A record that nobody asks for any more is none, swept away or not.
  const find = `select counted_from, accepted_message, accepted_at, invalid_since from email_addresses
    where address = ? and kept_until > ${clockNow}`
  // Locks the row, which need not have been there.
  const claim = `insert into email_addresses (address, counted_from, kept_until) values (?, 0, 0)
    on conflict (address) do update set address = excluded.address`
  const keep = `update email_addresses set counted_from = ?, accepted_message = ?, accepted_at = ?, invalid_since = ?,
    kept_until = ? where address = ?`
  const findMail = 'select soft_failures, ended from email_mails where address = ? and message_id = ?'
  // What has ended stays as it is.
  const keepMail = `insert into email_mails (address, message_id, soft_failures, ended, ended_at, kept_until)
    values (?, ?, ?, ?, ?, ?)
    on conflict (address, message_id) do update set
      soft_failures = email_mails.soft_failures + excluded.soft_failures, ended = excluded.ended,
      ended_at = excluded.ended_at, kept_until = excluded.kept_until
    where email_mails.ended is null`
  const enterMail = `insert into email_mails (address, message_id, soft_failures, invitations, kept_until)
    values (?, ?, 0, ?, ?)
    on conflict (address, message_id) do update set
      invitations = excluded.invitations, kept_until = excluded.kept_until`
  const findEntries = `select address, invitations from email_mails
    where message_id = ? and invitations is not null and kept_until > ${clockNow}`
  const count = `select count(*) as bounces from email_mails where address = ? and ended = 'hard' and ended_at > ?`

  function* clock(): Sql<number> {
    return integerOf((yield* firstRow(`select ${clockNow} as read_at`)) ?? {}, 'read_at')
  }

  function* hardBounces(address: string, record: AddressRecord, now: number): Sql<number> {
    return integerOf((yield* firstRow(count, address, countedAfter(record, rule, now))) ?? {}, 'bounces')
  }

  function* standing(address: string): Sql<AddressStanding> {
    const row = yield* firstRow(find, address)
    // A hard bounce leaves a row in both tables: where there is none here, there are none to count.
    if (row === undefined) return standingOf(blankRecord, 0, rule)
    const now = yield* clock()
    const record = recordAt(recordIn(row), rule, now)
    return standingOf(record, yield* hardBounces(address, record, now), rule)
  }

  function* trace({ address, messageId }: MailId): Sql<MailTrace> {
    const row = yield* firstRow(findMail, address, messageId)
    return {
      standing: yield* standing(address),
      softFailures: row === undefined ? 0 : integerOf(row, 'soft_failures'),
      ended: row !== undefined && row['ended'] !== null
    }
  }

  function* write(address: string, record: AddressRecord, now: number): Sql<void> {
    const { countedFrom, accepted, invalidSince } = record
    const keptUntil = recordKeptUntil(record, rule, now)
    const success = [accepted?.messageId ?? null, accepted?.at ?? null]
    yield* execute(keep, countedFrom, ...success, invalidSince ?? null, keptUntil, address)
  }

  function* accept({ address, messageId }: MailId): Sql<true> {
    const row = yield* firstRow(`${find} ${forUpdate}`, address)
    if (row === undefined) return true
    const now = yield* clock()
    const before = recordIn(row)
    const after = withAcceptance(recordAt(before, rule, now), messageId, now)
    if (after !== before) yield* write(address, after, now)
    return true
  }

  /** Whether it changed anything. */
  function* refuse({ address, messageId }: MailId, finding: Exclude<MailFinding, 'accepted'>): Sql<boolean> {
    // Bounces of one address are counted one after another.
    if (finding === 'hard') yield* execute(claim, address)
    const now = yield* clock()
    const [softFailures, ended, endedAt] = finding === 'soft' ? [1, null, null] : [0, finding, now]
    const kept = now + mailKeptMs(rule)
    const taken = yield* changes(keepMail, address, messageId, softFailures, ended, endedAt, kept)
    if (taken === 0) return false
    if (finding !== 'hard') return true
    const record = recordAt(recordIn(yield* firstRow(find, address)), rule, now)
    const bounce = { messageId, hardBounces: yield* hardBounces(address, record, now) }
    yield* write(address, withHardBounce(record, bounce, rule, now), now)
    return true
  }

  return {
    async standing(address) {
      const checked = checkAddress('sqlAddressHealth.standing', address)
      return db.run(() => standing(checked))
    },
    async trace(mail) {
      const checked = checkMail('sqlAddressHealth.trace', mail)
      return db.run(() => trace(checked))
    },
    async enter(mail, invitations) {
      const { address, messageId } = checkMail('sqlAddressHealth.enter', mail)
      const entered = JSON.stringify(checkInvitations('sqlAddressHealth.enter', invitations))
      await db.run(function* () {
        yield* execute(enterMail, address, messageId, entered, (yield* clock()) + mailKeptMs(rule))
      })
    },
    async entries(messageId) {
      const checked = checkMessageId('sqlAddressHealth.entries', messageId)
      const found = await db.run(() => rows(findEntries, checked))
      // Sorted here, for databases have orders of their own.
      return found
        .map((row) => ({ address: textOf(row, 'address'), invitations: invitationsIn(row) }))
        .toSorted((one, other) => (one.address < other.address ? -1 : 1))
    },
    async record(mail, finding) {
      const checked = checkMail('sqlAddressHealth.record', mail)
      checkFinding('sqlAddressHealth.record', finding)
      return db.run(function* () {
        const before = yield* trace(checked)
        if (before.ended) return { ...before, outcome: 'repeated' as const }
        const isTaken = finding === 'accepted' ? yield* accept(checked) : yield* refuse(checked, finding)
        return { ...(yield* trace(checked)), outcome: isTaken ? ('recorded' as const) : ('repeated' as const) }
      })
    },
    async reinstate(address) {
      const checked = checkAddress('sqlAddressHealth.reinstate', address)
      return db.run(function* () {
        const row = yield* firstRow(`${find} ${forUpdate}`, checked)
        const now = yield* clock()
        if (row === undefined || recordAt(recordIn(row), rule, now).invalidSince === undefined) {
          return { outcome: 'not-invalid' as const }
        }
        yield* write(checked, { ...blankRecord, countedFrom: now }, now)
        return { outcome: 'reinstated' as const }
      })
    },
    sweep: {
      name: 'email.sweep',
      run: async ({ signal }) => {
        // The outer condition is looked at again where a row was changed meanwhile; that of the list is not.
        const over = `kept_until <= ${clockNow}`
        const addresses = `delete from email_addresses where ${over}
          and address in (select address from email_addresses where ${over} order by kept_until limit ${SWEPT_MAX})`
        const mails = `delete from email_mails where ${over} and (address, message_id) in
          (select address, message_id from email_mails where ${over} order by kept_until limit ${SWEPT_MAX})`
        const handled = await db.run(
          function* () {
            return (yield* changes(addresses)) + (yield* changes(mails))
          },
          { signal }
        )
        return { handled }
      }
    }
  }
}

const invitationsIn = (row: SqlRow): readonly MailedInvitation[] =>
  JSON.parse(textOf(row, 'invitations')) as readonly MailedInvitation[]

function recordIn(row: SqlRow | undefined): AddressRecord {
  if (row === undefined) return blankRecord
  const messageId = optionalTextOf(row, 'accepted_message')
  const at = optionalIntegerOf(row, 'accepted_at')
  return {
    countedFrom: integerOf(row, 'counted_from'),
    accepted: messageId === undefined || at === undefined ? undefined : { messageId, at },
    invalidSince: optionalIntegerOf(row, 'invalid_since')
  }
}
