import type { JsonValue } from '@enablement/core'
import type { Sql } from '@enablement/core/sql'
import { MeteringError } from '../metering-error.ts'
import { asJson } from './charge-step.ts'
import type { ActivateAnswer, GrantAnswer, VoidAnswer } from './credit-answers.ts'
import type { WalletRows } from './credit-store.ts'
import { firstEnd } from './due-step.ts'
import { fingerprint } from './fingerprint.ts'
import type { GrantTerms, Lot } from './lot.ts'
import { LANES_MAX, roomOf, walletSession } from './wallet-session.ts'

export interface GrantCall {
  readonly grant: string
  readonly terms: GrantTerms
  /** Null for now, by the store's clock. */
  readonly effectiveAt: number | null
  readonly payment: 'settled' | 'pending'
}

/** Adds credits, once for a grant's id. */
export function* grantStep(
  rows: WalletRows,
  { grant, terms, effectiveAt, payment }: GrantCall
): Sql<GrantAnswer<number>> {
  const print = fingerprint('grant', terms as unknown as JsonValue, effectiveAt, payment)
  const earlier = yield* rows.call('grant', grant)
  if (earlier !== undefined) {
    if (earlier.fingerprint !== print) return { outcome: 'conflict', key: grant }
    return { ...(earlier.answer as unknown as GrantAnswer<number>), replayed: true } as GrantAnswer<number>
  }
  const session = walletSession(rows)
  const { now } = session
  const from = effectiveAt ?? now
  const { recurs, endsAt } = terms
  const expiresAt = recurs === undefined ? endsAt : firstEnd(recurs, endsAt, from)
  if (expiresAt !== null && (expiresAt <= from || expiresAt <= now)) return { outcome: 'expired', expiresAt }
  if (terms.amount > roomOf(session.wallet())) return { outcome: 'wallet-full' }
  const scope = JSON.stringify(terms.metrics)
  const { lanes, owed } = session.wallet()
  if (lanes.length === LANES_MAX && !lanes.some(({ metrics }) => JSON.stringify(metrics) === scope)) {
    const message = `a wallet has grants of at most ${LANES_MAX} different scopes`
    throw new MeteringError('TOO_MANY_SCOPES', message, { limit: LANES_MAX })
  }
  const state = payment === 'pending' ? 'pending' : from > now ? 'scheduled' : 'active'
  const cause = { call: 'grant', reference: grant, at: now } as const
  const lot = { grant, origin: 'granted', amount: terms.amount, terms, state, effectiveAt: from, expiresAt } as const
  session.open(lot, cause)
  const settled = owed - session.wallet().owed
  const answer = { outcome: 'granted', state, effectiveAt: from, expiresAt, settled, replayed: false } as const
  session.remember({ kind: 'grant', key: grant, fingerprint: print, answer: asJson(answer) })
  const { amount, category } = terms
  session.note('credits.granted', `grant:${grant}`, { amount, category, state, effectiveAt: from, expiresAt })
  yield* session.commit()
  return answer
}

/** A pending grant has been paid: it may be spent, from its time on. */
export function* activateStep(rows: WalletRows, grant: string): Sql<ActivateAnswer> {
  if ((yield* rows.call('grant', grant)) === undefined) return { outcome: 'unknown-grant' }
  const [lot] = yield* rows.lotsOf(grant, -1, 1)
  if (lot === undefined) return { outcome: 'ended' }
  if (lot.state !== 'pending') {
    return { outcome: 'activated', state: lot.state === 'scheduled' ? 'scheduled' : 'active', replayed: true }
  }
  const session = walletSession(rows)
  const cause = { call: 'activate', reference: grant, at: session.now } as const
  const state = lot.effectiveAt > session.now ? 'scheduled' : 'active'
  const paid: Lot = { ...lot, state, dueAt: state === 'scheduled' ? lot.effectiveAt : lot.expiresAt }
  session.setLot(paid)
  if (state === 'active') session.settle(session.move(paid, 'activated', lot.amount, cause), cause)
  session.note('credits.activated', `grant:${grant}`, { amount: lot.amount, state })
  yield* session.commit()
  return { outcome: 'activated', state, replayed: false }
}

/** Lots read at a time. */
const PAGE = 1_024

/** All that there are, in pages: where what is rolled over lives on for good, each period of a grant leaves one. */
function* allLotsOf(rows: WalletRows, grant: string): Sql<readonly Lot[]> {
  const lots: Lot[] = []
  for (;;) {
    const page = yield* rows.lotsOf(grant, lots.at(-1)?.lot ?? -1, PAGE)
    lots.push(...page)
    if (page.length < PAGE) return lots
  }
}

/**
 * Takes back what is left of a grant: all of it, which also ends its periods, or an amount, all or nothing. What is spent
 * stays spent; what holds have pinned stays pinned, and is voided when it comes back.
 */
export function* voidStep(
  rows: WalletRows,
  { grant, amount, key }: { readonly grant: string; readonly amount: number | null; readonly key: string }
): Sql<VoidAnswer<number>> {
  const print = fingerprint('void', grant, amount)
  const earlier = yield* rows.call('void', key)
  if (earlier !== undefined) {
    if (earlier.fingerprint !== print) return { outcome: 'conflict', key }
    return { ...(earlier.answer as unknown as VoidAnswer<number>), replayed: true } as VoidAnswer<number>
  }
  if ((yield* rows.call('grant', grant)) === undefined) return { outcome: 'unknown-grant' }
  const lots = yield* allLotsOf(rows, grant)
  const session = walletSession(rows)
  const cause = { call: 'void', reference: grant, at: session.now } as const
  let voided = 0
  if (amount === null) {
    for (const lot of lots) {
      session.setLot({ ...lot, state: 'voided', dueAt: null })
      const left = lot.state === 'active' ? lot.free : lot.amount
      session.move(lot, lot.state === 'active' ? 'voided' : 'cancelled', left, cause)
      voided += left
    }
  } else {
    const available = lots.reduce((sum, { free }) => sum + free, 0)
    if (amount > available) return { outcome: 'insufficient-credits', requested: amount, available }
    for (const lot of lots.toReversed()) {
      const left = Math.min(amount - voided, lot.free)
      session.move(lot, 'voided', left, cause)
      voided += left
    }
  }
  const answer = { outcome: 'voided', amount: voided, replayed: false } as const
  session.remember({ kind: 'void', key, fingerprint: print, answer: asJson(answer) })
  session.note('credits.voided', `grant:${grant}`, { amount: voided, whole: amount === null })
  yield* session.commit()
  return answer
}
