import { isSuiteError } from '../failure/suite-error.ts'
import type { Sql } from '../sql/sql-database.ts'
import type { OutboxMessage } from './outbox-message.ts'

/** That a message will not be attempted again, unless it is revived. */
export interface Settlement {
  readonly message: Pick<OutboxMessage, 'id' | 'key' | 'destination' | 'payload' | 'attempt'>
  readonly end: 'delivered' | 'dead'
  /** Of a dead one, the code of its last attempt's error. */
  readonly reason?: string
  /** What the deliverer said in words when it refused the message. */
  readonly detail?: string
  /** What the deliverer said that the receiver knows the message by. */
  readonly receipt?: string
}

/** Runs what hangs on settlements, as a part of the unit that settles. */
export type SettledHook = (settlements: readonly Settlement[]) => Sql<void>

/** How far a unit has got with telling the hook: what the hook throws is not the store's failure. */
export interface Telling {
  inside: boolean
}

/** Runs the hook. The driver may run a unit again, from its start. */
export function* tellHook(hook: SettledHook, settlements: readonly Settlement[], telling: Telling): Sql<void> {
  telling.inside = true
  yield* hook(settlements)
  telling.inside = false
}

/**
 * Whether a unit failed because of the hook: it threw, or a statement of its own failed. A store that went away meanwhile
 * is the store's failure, and the unit is repeated as it was.
 */
export function hookFailed({ inside }: Telling, error: unknown): boolean {
  return inside && !isSuiteError(error, 'STORE_UNAVAILABLE')
}
