import type { Sql } from '@enablement/core/sql'
import { periodFinder } from '../calendar/period-finder.ts'
import type { ChargeRecord, WalletRows } from './credit-store.ts'
import { giveBack, lotsOfFundings } from './giving-back.ts'
import type { CreditRecurrence, Lot } from './lot.ts'
import { roomOf, type WalletSession, walletSession } from './wallet-session.ts'

/** Lots and holds whose time has come that one unit handles: some 20 ms of a database. */
const DUE_MAX = 256

/**
 * What falls due, in the order in which that of one instant is handled: lots end, holds end, lots begin. Expiry is
 * exclusive: what a hold gives back at the instant at which its lot ends has expired, and pays no overdraft.
 */
type Due = { readonly at: number; readonly rank: 0 | 1 | 2; readonly key: string } & (
  | { readonly hold: ChargeRecord }
  | { readonly lot: Lot }
)

/**
 * Books what has happened to a wallet by itself since the last call, in the order in which it happened, each with the
 * instant at which it did: so the ledger says the same however late and however often anybody looks. Answers how many
 * there were, and whether there may be more.
 */
export function* settleDue(rows: WalletRows): Sql<{ readonly handled: number; readonly more: boolean }> {
  const { now, wallet } = rows
  if (wallet === undefined || wallet.dueAt === null || wallet.dueAt > now) return { handled: 0, more: false }
  const dueLots = yield* rows.dueLots(now, DUE_MAX)
  const dueHolds = yield* rows.dueHolds(now, DUE_MAX)
  // Of a full page, what lies beyond its last instant is not known: nothing after that may be handled yet.
  let bound = now
  for (const page of [dueLots, dueHolds]) {
    if (page.length === DUE_MAX) bound = Math.min(bound, page.at(-1)?.dueAt ?? now)
  }
  const session = walletSession(rows, { looksUpDue: true })
  const queue: Due[] = [...dueLots.map(dueOf), ...dueHolds.map((hold) => dueOfHold(hold))]
  queue.sort(compareDue)
  let handled = 0
  while (queue.length > 0 && (queue[0] as Due).at <= bound && handled < DUE_MAX) {
    const due = queue.shift() as Due
    handled += 1
    const began = 'hold' in due ? yield* lapse(session, due.hold) : passOf(session, due.lot)
    for (const lot of began) {
      if (lot.dueAt === null || lot.dueAt > now) continue
      const next = dueOf(lot)
      const place = queue.findIndex((other) => compareDue(next, other) < 0)
      queue.splice(place === -1 ? queue.length : place, 0, next)
    }
  }
  yield* session.commit()
  return { handled, more: queue.length > 0 || dueLots.length === DUE_MAX || dueHolds.length === DUE_MAX }
}

const dueOf = (lot: Lot): Due => ({
  at: lot.dueAt as number,
  rank: lot.state === 'scheduled' ? 2 : 0,
  key: lot.burnKey,
  lot
})

const dueOfHold = (hold: ChargeRecord): Due => ({ at: hold.dueAt as number, rank: 1, key: hold.charge, hold })

function compareDue(a: Due, b: Due): number {
  return a.at - b.at || a.rank - b.rank || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)
}

/** A hold's time is over: what it pinned goes back. */
function* lapse(session: WalletSession, hold: ChargeRecord): Sql<readonly Lot[]> {
  const at = hold.dueAt as number
  const cause = { call: 'time', reference: hold.charge, at } as const
  const fundings = yield* session.rows.fundings(hold.charge)
  const lots = yield* lotsOfFundings(session, fundings)
  for (const funding of [...fundings].reverse()) {
    giveBack(session, lots.get(funding.lot as number) as Lot, 'returned', funding.amount, cause)
    session.setFunding({ ...funding, reversed: funding.amount })
  }
  session.setCharge({ ...hold, state: 'lapsed', dueAt: null })
  session.note('credits.hold-lapsed', `hold:${hold.charge}`, { amount: hold.amount, at })
  return []
}

/** A lot begins or ends. Gives the lots that began by it, or that have another end ahead. */
function passOf(session: WalletSession, due: Lot): readonly Lot[] {
  const lot = session.current(due)
  const at = lot.dueAt as number
  const cause = { call: 'time', reference: lot.grant, at } as const
  if (lot.state === 'scheduled') {
    const active: Lot = { ...lot, state: 'active', dueAt: lot.expiresAt }
    session.setLot(active)
    session.settle(session.move(active, 'activated', lot.amount, cause), cause)
    return [session.current(active)]
  }
  if (lot.state === 'pending') {
    session.setLot({ ...lot, state: 'expired', dueAt: null })
    session.move(lot, 'cancelled', lot.amount, cause)
    session.note('credits.grant-lapsed', `grant:${lot.grant}`, { amount: lot.amount, at })
    return []
  }
  const ended: Lot = { ...lot, state: 'expired', dueAt: null }
  session.setLot(ended)
  const { terms } = lot
  const mayGoOn = lot.origin === 'granted' || lot.origin === 'renewed'
  const nextEndsAt = mayGoOn ? periodEnd(terms.recurs, terms.endsAt, lot) : undefined
  const kept = mayGoOn && terms.rollOver !== undefined ? Math.min(terms.rollOver.max, lot.free) : 0
  const lost = lot.free - kept
  session.move(ended, 'expired', lost, cause)
  session.move(ended, 'rolled-over', kept, cause)
  if (lost > 0) session.note('credits.expired', `grant:${lot.grant}`, { lot: lot.lot, amount: lost, at })
  const began: Lot[] = []
  if (kept > 0) {
    const forMs = terms.rollOver?.forMs
    const expiresAt = forMs === undefined ? (nextEndsAt ?? null) : at + forMs
    began.push(
      session.open(
        { grant: lot.grant, origin: 'rolled-over', amount: kept, terms, state: 'active', effectiveAt: at, expiresAt },
        cause
      )
    )
  }
  if (nextEndsAt !== undefined) {
    const amount = Math.min(terms.amount, roomOf(session.wallet()))
    const renewed = { grant: lot.grant, origin: 'renewed', amount, terms, state: 'active', effectiveAt: at } as const
    began.push(session.open({ ...renewed, expiresAt: nextEndsAt }, cause))
    session.note('credits.renewed', `grant:${lot.grant}`, { amount, at })
  }
  return began.map((opened) => session.current(opened))
}

/** When the period after this lot ends; undefined when there is none. */
function periodEnd(recurs: CreditRecurrence | undefined, endsAt: number | null, lot: Lot): number | undefined {
  const at = lot.expiresAt as number
  if (recurs === undefined || (endsAt !== null && at >= endsAt)) return undefined
  return firstEnd(recurs, endsAt, at)
}

/** When the period that begins, or runs, at an instant ends. */
export function firstEnd(recurs: CreditRecurrence, endsAt: number | null, at: number): number {
  const end = 'everyMs' in recurs ? at + recurs.everyMs : periodFinder(recurs.calendar).periodAt(at).to
  return endsAt === null ? end : Math.min(end, endsAt)
}
