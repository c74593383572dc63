import type { Sql } from '@enablement/core/sql'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { asJson, balanceOf, type ChargeCall, paidBy } from './charge-step.ts'
import type { CommitAnswer, CreditExtendAnswer, CreditHoldAnswer, ReleaseAnswer } from './credit-answers.ts'
import type { CreditPolicy } from './credit-policy.ts'
import type { ChargeRecord, Funding, WalletRows } from './credit-store.ts'
import { fingerprint } from './fingerprint.ts'
import { giveBack, lotsOfFundings } from './giving-back.ts'
import type { Lot } from './lot.ts'
import { availableFor, type Draw, fund, take } from './taking.ts'
import { type Cause, type WalletSession, walletSession } from './wallet-session.ts'

/**
 * Pins grants for an amount that is not known yet. What they hold can be used until the hold ends, whether or not the
 * grants expire before. The overdraft is not pinned: a hold is for credits that are there.
 */
export function* holdStep(
  rows: WalletRows,
  { amount, key, metric, ttlMs }: ChargeCall & { readonly ttlMs: number }
): Sql<CreditHoldAnswer<number>> {
  const print = fingerprint('hold', amount, metric)
  const earlier = yield* rows.charge(key)
  if (earlier !== undefined) {
    if (earlier.fingerprint !== print) return { outcome: 'conflict', key }
    const { state, made } = earlier
    if (state !== 'held') return { outcome: 'ended', how: state === 'charged' ? 'committed' : state }
    const first = made as unknown as CreditHoldAnswer<number> & { readonly outcome: 'held' }
    return { ...first, expiresAt: earlier.dueAt ?? first.expiresAt, replayed: true }
  }
  const session = walletSession(rows)
  const available = availableFor(session.wallet(), metric)
  if (amount > available) return { outcome: 'insufficient-credits', requested: amount, available }
  const cause = { call: 'hold', reference: key, at: session.now } as const
  const draws = yield* take(session, metric, amount, 'held', cause)
  fund(session, key, draws)
  const expiresAt = session.now + ttlMs
  const answer = { outcome: 'held', amount, fundings: draws.map(paidBy), expiresAt, replayed: false } as const
  session.setCharge({
    charge: key,
    state: 'held',
    fingerprint: print,
    metric,
    amount,
    charged: 0,
    reversed: 0,
    dueAt: expiresAt,
    made: asJson(answer),
    ended: null
  })
  session.note('credits.held', `hold:${key}`, { amount, metric, expiresAt })
  yield* session.commit()
  return answer
}

/**
 * Ends a hold with what was used. Up to what was held is paid by the grants that it pinned, and they get the rest back;
 * more, or all of it when the hold has lapsed, is taken from what is free now. What no grant can pay was used all the same:
 * it is owed, whatever the overdraft's limit is, or waived.
 */
export function* commitStep(
  rows: WalletRows,
  { amount, key }: { readonly amount: number; readonly key: string },
  { onOverrun }: CreditPolicy
): Sql<CommitAnswer<number>> {
  const hold = yield* rows.charge(key)
  if (hold === undefined || isDirect(hold)) return { outcome: 'unknown-hold' }
  if (hold.state === 'released') return { outcome: 'released' }
  if (hold.state === 'charged') {
    if (hold.amount !== amount) return { outcome: 'conflict', firstAmount: hold.amount }
    return { ...(hold.ended as unknown as CommitAnswer<number>), replayed: true } as CommitAnswer<number>
  }
  const session = walletSession(rows)
  const cause = { call: 'commit', reference: key, at: session.now } as const
  const late = hold.state === 'lapsed'
  const held = yield* rows.fundings(key)
  const pinned = late ? [] : yield* capture(session, held, amount, cause)
  const captured = pinned.reduce((sum, draw) => sum + draw.amount, 0)
  const more = Math.min(amount - captured, availableFor(session.wallet(), hold.metric))
  const further = yield* take(session, hold.metric, more, 'charged', cause)
  const unpaid = amount - captured - more
  const overdrawn = onOverrun === 'owe' ? unpaid : 0
  if (session.wallet().owed + overdrawn > QUANTITY_MAX) return { outcome: 'wallet-full' }
  session.owe('overdrawn', overdrawn, cause)
  if (overdrawn > 0) further.push({ lot: null, amount: overdrawn })
  fund(session, key, further, held.length)
  const answer = {
    outcome: 'committed',
    amount,
    fundings: [...pinned, ...further].map(paidBy),
    returned: late ? 0 : hold.amount - captured,
    overdrawn,
    waived: unpaid - overdrawn,
    late,
    balance: balanceOf(session),
    replayed: false
  } as const
  const charged = amount - answer.waived
  session.setCharge({ ...hold, state: 'charged', amount, charged, dueAt: null, ended: asJson(answer) })
  session.note('credits.committed', `hold:${key}`, { amount, charged, overdrawn, waived: answer.waived, late })
  yield* session.commit()
  return answer
}

/** Uses up to `amount` of what is pinned, as it was drawn, and gives the rest back, the last first. */
function* capture(session: WalletSession, fundings: readonly Funding[], amount: number, cause: Cause): Sql<Draw[]> {
  const lots = yield* lotsOfFundings(session, fundings)
  let open = amount
  const draws = fundings.map((funding): Draw => {
    const used = Math.min(open, funding.amount)
    open -= used
    session.setFunding({ ...funding, amount: used })
    return { lot: session.move(lots.get(funding.lot as number) as Lot, 'captured', used, cause), amount: used }
  })
  for (let at = fundings.length - 1; at >= 0; at--) {
    const { lot, amount: used } = draws[at] as Draw
    giveBack(session, lot as Lot, 'returned', (fundings[at]?.amount ?? 0) - used, cause)
  }
  return draws.filter(({ amount: used }) => used > 0)
}

/** Gives all of a hold back. */
export function* releaseStep(rows: WalletRows, key: string): Sql<ReleaseAnswer<number>> {
  const hold = yield* rows.charge(key)
  if (hold === undefined || isDirect(hold)) return { outcome: 'unknown-hold' }
  if (hold.state === 'charged') return { outcome: 'committed', amount: hold.amount }
  if (hold.state !== 'held') return { outcome: 'released', lapsed: hold.state === 'lapsed', replayed: true }
  const session = walletSession(rows)
  const cause = { call: 'release', reference: key, at: session.now } as const
  yield* capture(session, yield* rows.fundings(key), 0, cause)
  session.setCharge({ ...hold, state: 'released', dueAt: null })
  session.note('credits.released', `hold:${key}`, { amount: hold.amount })
  yield* session.commit()
  return { outcome: 'released', lapsed: false, replayed: false }
}

/** Gives a hold more time, from now; it is never shortened. */
export function* extendStep(rows: WalletRows, key: string, ttlMs: number): Sql<CreditExtendAnswer<number>> {
  const hold = yield* rows.charge(key)
  if (hold === undefined || isDirect(hold)) return { outcome: 'unknown-hold' }
  if (hold.state === 'charged') return { outcome: 'committed', amount: hold.amount }
  if (hold.state !== 'held') return { outcome: 'released', lapsed: hold.state === 'lapsed' }
  const session = walletSession(rows)
  const expiresAt = Math.max(hold.dueAt ?? 0, session.now + ttlMs)
  if (expiresAt !== hold.dueAt) {
    session.setCharge({ ...hold, dueAt: expiresAt })
    yield* session.commit()
  }
  return { outcome: 'held', expiresAt }
}

/** A charge that no hold preceded shares the names of holds, and is none. */
function isDirect({ made }: ChargeRecord): boolean {
  return made['outcome'] !== 'held'
}
