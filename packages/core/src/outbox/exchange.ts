import type { HeldRow } from '../schedule/due-claims.ts'
import type { Sql, SqlDialect } from '../sql/sql-database.ts'
import { firstRow, integerOf } from '../sql/statement.ts'
import type { Reading } from '../time/reckoning.ts'
import type { Destinations } from './destinations.ts'
import { type ClaimedMessage, type MessageTable, messageOf } from './message-table.ts'
import { type SettledHook, type Settlement, type Telling, tellHook } from './settlement.ts'
import type { Verdict } from './verdict.ts'

/** Claims in one unit: what they find may have to wait for others, and a commit for each round would take longer. */
const ROUNDS_MAX = 16

/** What is to be written about a message that was held. `given-back`: its attempt was none. */
export interface Answer {
  readonly message: ClaimedMessage
  readonly verdict: Verdict | { readonly outcome: 'given-back'; readonly delayMs: number }
  /** From before the store was asked for the lease: once that has ended nobody waits for the answer. */
  readonly askedAt: Reading
  /** How long the message had been there when the attempt ended, by the store's clock. */
  readonly lagMs: number
  /** What the deliverer threw, if it did, for those who observe. */
  readonly error?: unknown
  /** Whether it is settled without the hook, which has thrown for it too often. */
  readonly unheard?: true
}

/** What one unit is to do. */
interface ExchangeOptions {
  readonly answers: readonly Answer[]
  readonly extending: readonly HeldRow[]
  /** How many more messages may be held; 0 while the worker closes. */
  readonly room: number
  /** Whether one that others died with may be among them. */
  readonly suspect: boolean
  /** Whether there is time to look past destinations that take no more. */
  readonly lookPast: boolean
  /** Whether to look how much waits. */
  readonly outlook: boolean
}

/** What came of it. */
export interface Exchanged {
  /** Ids of the answers that counted; the others' messages had been taken over. */
  readonly settled: ReadonlySet<string>
  readonly extended: ReadonlySet<string>
  readonly claimed: readonly ClaimedMessage[]
  /** Whether there may be more to claim at once. */
  readonly more: boolean
  /** Whether messages to destinations that take no more may stand before whatever else is due. */
  readonly clogged: boolean
  readonly outlook: Outlook | undefined
}

/** How much waits, by the store's clock. */
interface Outlook {
  readonly lagMs: number
  readonly nextDueInMs: number | undefined
  readonly dead: number
}

type Claims = Pick<Exchanged, 'claimed' | 'more' | 'clogged'>

/** Parts of units, which say in `telling` how far the hook has got, also when they throw. */
export interface Exchange {
  /** Answers for what has ended and claims what can begin, both in one commit. */
  trade(wanted: ExchangeOptions, telling: Telling): Sql<Exchanged>
  /** Only answers. Gives the ids of the answers that counted. */
  settle(answers: readonly Answer[], telling: Telling): Sql<ReadonlySet<string>>
}

/** Makes the units in which a worker trades with the store. */
export function exchangeOf(options: {
  readonly name: string
  readonly dialect: SqlDialect
  readonly table: MessageTable
  readonly destinations: Destinations
  readonly leaseMs: number
  readonly holdKey: boolean
  readonly retained: boolean
  readonly settled: SettledHook | undefined
}): Exchange {
  const { name, dialect, table, destinations, leaseMs, holdKey, retained, settled: hook } = options
  const clockText = `select ${dialect.now} as now`
  const deadText = `select count(*) as dead from outbox_messages
    where outbox = ? and state = 'dead' and settled_at is not null`

  function* settle(answers: readonly Answer[], telling: Telling): Sql<Set<string>> {
    telling.inside = false
    const done: HeldRow[] = []
    const dead: (HeldRow & { readonly reason: string })[] = []
    const again: (HeldRow & { readonly delayMs: number; readonly uncounted: boolean })[] = []
    const leaving: ClaimedMessage[] = []
    for (const { message, verdict } of answers) {
      const { key, fence } = message
      if (verdict.outcome === 'delivered') done.push({ key, fence })
      else if (verdict.outcome === 'dead') dead.push({ key, fence, reason: verdict.reason })
      else again.push({ key, fence, delayMs: verdict.delayMs, uncounted: verdict.outcome !== 'again' })
      if (verdict.outcome === 'delivered' || (verdict.outcome === 'dead' && !holdKey)) leaving.push(message)
    }
    const settled = new Set([
      ...(yield* table.deliver(done, retained)),
      ...(yield* table.bury(dead, holdKey)),
      ...(yield* table.release(again))
    ])
    const keys: string[] = []
    for (const { key, messageKey } of leaving) {
      if (messageKey !== undefined && settled.has(key)) keys.push(messageKey)
    }
    yield* table.promote(keys)
    if (hook !== undefined) {
      const settlements = answers.flatMap((answer) => (settled.has(answer.message.key) ? settlementsOf(answer) : []))
      if (settlements.length > 0) yield* tellHook(hook, settlements, telling)
    }
    return settled
  }

  function* claim({ room, suspect, lookPast }: ExchangeOptions): Sql<Claims> {
    const claimed: ClaimedMessage[] = []
    const taken = new Map<string, number>()

    /** How many may be claimed without knowing for whom they are. */
    const limit = (except?: ReadonlySet<string>): number => {
      let most = destinations.roomOfEach(except)
      for (const [destination, count] of taken) {
        if (except?.has(destination) !== true) most = Math.min(most, destinations.roomOf(destination) - count)
      }
      return Math.max(0, Math.min(most, room - claimed.length))
    }
    const take = function* (found: readonly ClaimedMessage[]): Sql<void> {
      const putOff: (HeldRow & { readonly delayMs: number; readonly uncounted: true })[] = []
      for (const message of found) {
        const { key, fence, destination } = message
        // What is for a receiver that is down gets out of the way until that is asked again.
        const breakMs = destinations.breakMsOf(destination)
        if (breakMs > 0) {
          putOff.push({ key, fence, delayMs: Math.ceil(breakMs), uncounted: true })
          continue
        }
        claimed.push(message)
        taken.set(destination, (taken.get(destination) ?? 0) + 1)
      }
      yield* table.release(putOff)
    }

    if (suspect && limit() > 0) yield* take((yield* table.claim({ limit: 1, leaseMs, only: 'suspect' })).claimed)
    let more = true
    for (let round = 0; more && limit() > 0 && round < ROUNDS_MAX; round++) {
      const found = yield* table.claim({ limit: limit(), leaseMs, only: 'fresh' })
      more = found.more
      yield* take(found.claimed)
    }
    const clogged = more && limit() === 0 && claimed.length < room
    if (!clogged || !lookPast) return { claimed, more: more && limit() > 0, clogged }
    const isFull = (destination: string): boolean => destinations.roomOf(destination) <= (taken.get(destination) ?? 0)
    const full = new Set([...taken.keys(), ...destinations.busy()].filter(isFull))
    const past = yield* table.claim({ limit: limit(full), leaseMs, only: 'fresh', passOver: [...full] })
    yield* take(past.claimed)
    return { claimed, more: false, clogged }
  }

  function* lookAhead(at: number): Sql<Outlook> {
    const { lagMs, nextDueInMs } = yield* table.outlook(at)
    const row = yield* firstRow(deadText, name)
    return { lagMs, nextDueInMs, dead: integerOf(row ?? {}, 'dead') }
  }

  return {
    settle,
    *trade(wanted, telling) {
      const settled = yield* settle(wanted.answers, telling)
      const extended = yield* table.extend(wanted.extending, leaseMs)
      // Read before the claim, so that what falls due between the two is still ahead.
      const at = wanted.outlook ? integerOf((yield* firstRow(clockText)) ?? {}, 'now') : undefined
      const found: Claims = wanted.room > 0 ? yield* claim(wanted) : { claimed: [], more: false, clogged: false }
      const outlook = at === undefined ? undefined : yield* lookAhead(at)
      return { settled, extended, ...found, outlook }
    }
  }
}

/** What the hook hears of an answer that counts: nothing of a message that will be attempted again. */
export function settlementsOf({ message, verdict, unheard }: Answer): readonly Settlement[] {
  if (unheard === true || (verdict.outcome !== 'delivered' && verdict.outcome !== 'dead')) return []
  const { id, key, destination, payload, attempt } = messageOf(message)
  const about = { id, key, destination, payload, attempt }
  if (verdict.outcome === 'delivered') {
    const { receipt } = verdict
    return [{ message: about, end: 'delivered', ...(receipt === undefined ? {} : { receipt }) }]
  }
  const { reason, detail } = verdict
  return [{ message: about, end: 'dead', reason, ...(detail === undefined ? {} : { detail }) }]
}
