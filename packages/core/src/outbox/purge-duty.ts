import type { Duty } from '../schedule/duty.ts'
import type { SqlDatabase } from '../sql/sql-database.ts'
import { changes } from '../sql/statement.ts'
import type { Clock } from '../time/clock.ts'
import { DAY_MS } from './message-puts.ts'

/** How long there is nothing to do after a run that found little: nobody waits for what it removes. */
const REST_MS = 60_000

/** Rows of a kind that one run removes at most: some milliseconds of a writer. */
const PURGED_MAX = 1_000

/**
 * Removes delivered messages that were kept for their time, and on Postgres the rows of keys that nobody has put to for
 * a day, which is longer than any unit lasts.
 */
export function purgeDuty(db: SqlDatabase, name: string, retentionMs: number, clock: Clock): Duty {
  const { dialect } = db
  const { now, skipLocked } = dialect
  const messagesText = `delete from outbox_messages where sequence in (
    select sequence from outbox_messages
    where outbox = ? and state = 'delivered' and settled_at <= (select ${now}) - ? order by settled_at limit ?)`
  const keysText = `delete from outbox_keys where (outbox, message_key) in (
    select outbox, message_key from outbox_keys
    where outbox = ? and used_on < (select ${now}) / ${DAY_MS} - 1 limit ?${skipLocked})`
  let restUntil = Number.NEGATIVE_INFINITY
  return {
    name: `outbox.${name}.purge`,
    run: async ({ signal }) => {
      if (clock.monotonic() < restUntil) return { handled: 0 }
      let handled = 0
      if (retentionMs > 0) {
        handled += await db.run(() => changes(messagesText, name, retentionMs, PURGED_MAX), { signal })
      }
      if (dialect.name === 'postgres') {
        handled += await db.run(() => changes(keysText, name, PURGED_MAX), { signal })
      }
      if (handled < PURGED_MAX) restUntil = clock.monotonic() + REST_MS
      return { handled }
    }
  }
}
