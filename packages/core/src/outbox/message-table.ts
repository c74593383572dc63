import {
  createDueClaims,
  type DueClaim,
  type DueClaims,
  type DueOutlook,
  type HeldRow
} from '../schedule/due-claims.ts'
import { jsonRows } from '../sql/json-rows.ts'
import type { Sql, SqlDialect } from '../sql/sql-database.ts'
import { execute, firstRow, integerOf, rows, textOf } from '../sql/statement.ts'
import { type MessagePuts, messagePuts } from './message-puts.ts'
import type { OutboxMessage } from './outbox-message.ts'

/** A message that was claimed, and whose turn it is. */
export interface ClaimedMessage extends DueClaim {
  readonly messageKey: string | undefined
  readonly destination: string
}

/** Which messages to claim. */
interface MessageClaimOptions {
  readonly limit: number
  readonly leaseMs: number
  readonly only: 'fresh' | 'suspect'
  /** Destinations whose messages are passed over. That takes a look at each one that is due, so it is not for always. */
  readonly passOver?: readonly string[]
}

/** What a claim found. */
interface MessageClaim {
  readonly claimed: readonly ClaimedMessage[]
  /** Whether there may be more that is due. */
  readonly more: boolean
}

/** A message that is not attempted again, and why: never its payload. */
interface Burial extends HeldRow {
  readonly reason: string
}

/** The messages of one outbox, as parts of units. */
export interface MessageTable extends MessagePuts {
  /** Claims messages that are due and that have no earlier one of their key before them. */
  claim(options: MessageClaimOptions): Sql<MessageClaim>
  readonly extend: DueClaims['extend']
  readonly release: DueClaims['release']
  /** What waits; `at` is the store's time from before a claim. */
  outlook(at: number): Sql<DueOutlook>
  /** Removes delivered messages, or marks them. Gives the ids of those that were still held. */
  deliver(held: readonly HeldRow[], kept: boolean): Sql<Set<string>>
  /** Dead-letters messages, which hold their places before the later ones of their keys, or give them up. */
  bury(held: readonly Burial[], holdKey: boolean): Sql<Set<string>>
  /** Makes the first message of each key due if it waited for one that is gone. Call it in a unit that removed some. */
  promote(keys: readonly string[]): Sql<void>
  /** Locks a key's first message, if there is one, so that nobody removes it before this unit ends. */
  lockHead(key: string): Sql<void>
}

/** How long a message waits that was claimed while another unit was changing the one before it. */
const TURN_MS = 20

/** The parts of the units of the outbox called `name`. */
export function messageTable(dialect: SqlDialect, name: string): MessageTable {
  const { now, forUpdate } = dialect
  const onPostgres = dialect.name === 'postgres'
  const listed = jsonRows(dialect, { v: 'text' })
  const sequences = jsonRows(dialect, { v: 'integer' })
  const listOf = (texts: Iterable<string>): string => listed.parameter(Array.from(texts, (v) => ({ v })))
  const list = `${listed.select} as given`

  const columns = [
    'message_key',
    'destination',
    'sequence',
    'payload_text',
    'payload_bytes',
    'put_at',
    'budget_from_at'
  ]
  const table = { table: 'outbox_messages', key: 'id', columns }
  const ofThis = createDueClaims(dialect, { ...table, where: 'outbox = ?' })
  const passing = createDueClaims(dialect, {
    ...table,
    where: `outbox = ? and destination not in (select given.v from ${list})`
  })

  const headOf = (key: string): string =>
    `(select min(m.sequence) from outbox_messages as m where m.outbox = ? and m.in_line = 1 and m.message_key = ${key})`
  const headsText = `select given.v as message_key, ${headOf('given.v')} as head from ${list}`
  // Shared: several workers may give back later messages of one key at a time.
  const stayText = `select sequence from outbox_messages
    where in_line = 1 and sequence in (select given.v from ${sequences.select} as given)
    ${onPostgres ? 'for share skip locked' : ''}`
  // Due since it was put, so that it is claimed before what was put after it: with the time of now, a key's first message
  // would stand behind all its later ones that have not been claimed and given back yet.
  const promoteText = `update outbox_messages set budget_from_at = ${now},
      next_due_at = case when put_at < ${now} then put_at else ${now} end
    where next_due_at is null and state = 'pending'
      and sequence in (select ${headOf('given.v')} from ${list})`
  const lockHeadText = `select sequence from outbox_messages
    where in_line = 1 and sequence = ${headOf('?')}${forUpdate}`

  function* claim({ limit, leaseMs, only, passOver }: MessageClaimOptions): Sql<MessageClaim> {
    const found =
      passOver === undefined
        ? yield* ofThis.claim({ limit, leaseMs, only, values: [name] })
        : yield* passing.claim({ limit, leaseMs, only, values: [name, listOf(passOver)] })
    const messages = found.map((one): ClaimedMessage => {
      const { message_key: key, destination } = one.row
      return { ...one, messageKey: key === null ? undefined : String(key), destination: String(destination) }
    })
    return { claimed: yield* keepFirst(messages), more: found.length === limit }
  }

  /**
   * Gives back those before which another message of their key stands. They wait until it is removed, which this unit
   * keeps from happening meanwhile; where another unit has it locked, they wait for a moment.
   */
  function* keepFirst(messages: readonly ClaimedMessage[]): Sql<readonly ClaimedMessage[]> {
    const keys = new Set<string>()
    for (const { messageKey } of messages) if (messageKey !== undefined) keys.add(messageKey)
    if (keys.size === 0) return messages
    const heads = new Map<string, number>()
    for (const row of yield* rows(headsText, name, listOf(keys))) {
      heads.set(textOf(row, 'message_key'), integerOf(row, 'head'))
    }
    const headBefore = ({ messageKey, row }: ClaimedMessage): number | undefined => {
      const head = messageKey === undefined ? undefined : heads.get(messageKey)
      return head === integerOf(row, 'sequence') ? undefined : head
    }
    const first = messages.filter((message) => headBefore(message) === undefined)
    if (first.length === messages.length) return messages

    const later = messages.filter((message) => headBefore(message) !== undefined)
    // This unit has the rows that it claimed.
    const locked = new Set(first.map(({ row }) => integerOf(row, 'sequence')))
    const others = new Set(later.map((message) => headBefore(message) as number))
    for (const sequence of locked) others.delete(sequence)
    if (others.size > 0) {
      for (const row of yield* rows(stayText, sequences.parameter(Array.from(others, (v) => ({ v })))))
        locked.add(integerOf(row, 'sequence'))
    }
    const waits = (message: ClaimedMessage): boolean => locked.has(headBefore(message) as number)
    yield* ofThis.advance(later.filter(waits).map(({ key, fence }) => ({ key, fence, nextDueAt: undefined })))
    yield* ofThis.release(
      later
        .filter((message) => !waits(message))
        .map(({ key, fence }) => ({ key, fence, delayMs: TURN_MS, uncounted: true }))
    )
    return first
  }

  const settled = jsonRows(dialect, { k: 'text', f: 'integer', r: 'text' })
  const settle = (set: string): string =>
    `update outbox_messages set ${set}, next_due_at = null, unanswered = 0, settled_at = ${now} from ${settled.select} as given
      where id = given.k and fence = given.f and unanswered > 0 returning id`
  const deliveredText = settle(`state = 'delivered', in_line = 0`)
  const buriedText = settle(`state = 'dead', in_line = cast(? as bigint), reason = given.r`)

  return {
    ...messagePuts(dialect, name),
    claim,
    extend: ofThis.extend,
    release: ofThis.release,
    outlook: (at) => ofThis.outlook({ at, values: [name] }),
    *deliver(held, kept) {
      if (!kept || held.length === 0) return yield* ofThis.finish(held)
      const given = settled.parameter(held.map(({ key: k, fence: f }) => ({ k, f, r: null })))
      return new Set((yield* rows(deliveredText, given)).map((row) => textOf(row, 'id')))
    },
    *bury(held, holdKey) {
      if (held.length === 0) return new Set()
      const given = settled.parameter(held.map(({ key: k, fence: f, reason: r }) => ({ k, f, r })))
      return new Set((yield* rows(buriedText, holdKey ? 1 : 0, given)).map((row) => textOf(row, 'id')))
    },
    *promote(keys) {
      if (keys.length > 0) yield* execute(promoteText, name, listOf(new Set(keys)))
    },
    *lockHead(key) {
      const headText = `select ${headOf('?')} as head`
      // Another round only when another unit has removed the first one meanwhile.
      for (;;) {
        const isThere = (yield* firstRow(headText, name, key))?.['head'] !== null
        if (!isThere || (yield* firstRow(lockHeadText, name, key)) !== undefined) return
      }
    }
  }
}

/** A claimed message as its deliverer sees it. */
export function messageOf({
  key: id,
  messageKey: key,
  destination,
  attempt,
  fence,
  row
}: ClaimedMessage): OutboxMessage {
  const payload = (row['payload_text'] ?? row['payload_bytes']) as OutboxMessage['payload']
  const [sequence, putAt] = [integerOf(row, 'sequence'), integerOf(row, 'put_at')]
  return { id, key, destination, payload, sequence, attempt, fence, putAt }
}
