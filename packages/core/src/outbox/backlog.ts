import { CoreError } from '../failure/core-error.ts'
import type { Sql } from '../sql/sql-database.ts'
import { firstRow, integerOf } from '../sql/statement.ts'
import type { Clock } from '../time/clock.ts'
import { isDead, isDue, isParked } from './outbox-schema.ts'

/** Keeps an outbox from growing without end. */
export interface Backlog {
  /** Counts some in, or throws `OVERLOADED` before anything is written. */
  admit(messages: number): Sql<void>
}

/** A count is used for this long at most, since other processes put messages too. */
const COUNT_USED_MS = 5_000
/** While it is full it is counted this often at most: a refusal must cost less than a put. */
const RECOUNT_MS = 100
/** It is counted again when this share of the room that there was is used up. */
const ROOM_RATIO = 0.25

/**
 * The bound of the outbox called `name`. Counting costs a look at each message, so puts go by the last count and what
 * this process has put since; what others put within 5 s may come on top.
 */
export function backlogOf(name: string, limit: number, clock: Clock): Backlog {
  const counted = (rest: string): string =>
    `(select count(*) from (select 1 as one from outbox_messages where outbox = ? and ${rest} limit ?) as counted)`
  // Dead messages count: an outbox whose receiver refuses everything is to be noticed, not to fill the disk.
  const text = `select ${counted(isDue)} + ${counted(isParked)} + ${counted(isDead)} as waiting`
  let waiting = 0
  /** Puts until the next count. */
  let untilCount = 0
  let countedAt = Number.NEGATIVE_INFINITY

  return {
    *admit(messages) {
      const sinceMs = clock.monotonic() - countedAt
      const hasRoom = (): boolean => waiting + messages <= limit
      if (untilCount < messages ? sinceMs >= RECOUNT_MS || hasRoom() : sinceMs >= COUNT_USED_MS) {
        const row = yield* firstRow(text, name, limit, name, limit, name, limit)
        waiting = integerOf(row ?? {}, 'waiting')
        countedAt = clock.monotonic()
        untilCount = Math.ceil((limit - waiting) * ROOM_RATIO)
      }
      if (!hasRoom()) {
        const message = `${waiting} messages wait in the outbox ${name}, and with ${messages} more it would exceed ${limit}`
        throw new CoreError('OVERLOADED', message, { what: `outbox ${name}`, waiting, limit })
      }
      waiting += messages
      untilCount -= messages
    }
  }
}
