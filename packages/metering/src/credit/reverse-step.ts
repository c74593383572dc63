import type { Sql } from '@enablement/core/sql'
import { asJson, balanceOf } from './charge-step.ts'
import type { PaidBy, ReverseAnswer } from './credit-answers.ts'
import type { CreditPolicy } from './credit-policy.ts'
import type { Funding, WalletRows } from './credit-store.ts'
import { fingerprint } from './fingerprint.ts'
import { giveBack, lotsOfFundings } from './giving-back.ts'
import type { Lot } from './lot.ts'
import { type Cause, roomOf, type WalletSession, walletSession } from './wallet-session.ts'

export interface ReverseCall {
  readonly charge: string
  /** In [1, 9e15]; null for all that is left. */
  readonly amount: number | null
  readonly key: string
}

/** Payments of the overdraft read at a time, when one that was settled is reversed. */
const SETTLEMENTS_PAGE = 64

/** Takes a charge back, whole or in part: to the grants that paid, the last first. */
export function* reverseStep(
  rows: WalletRows,
  { charge: of, amount: asked, key }: ReverseCall,
  { expiredReversal }: CreditPolicy
): Sql<ReverseAnswer<number>> {
  const print = fingerprint('reverse', of, asked)
  const earlier = yield* rows.call('reverse', key)
  if (earlier !== undefined) {
    if (earlier.fingerprint !== print) return { outcome: 'conflict', key }
    return { ...(earlier.answer as unknown as ReverseAnswer<number>), replayed: true } as ReverseAnswer<number>
  }
  const charge = yield* rows.charge(of)
  if (charge === undefined || charge.state !== 'charged') return { outcome: 'unknown-charge' }
  const left = charge.charged - charge.reversed
  const amount = asked ?? left
  if (amount > left || amount === 0) return { outcome: 'exceeds-charge', requested: amount, reversible: left }
  const session = walletSession(rows)
  if (amount > roomOf(session.wallet())) return { outcome: 'wallet-full' }
  const cause = { call: 'reverse', reference: key, at: session.now } as const

  const parts: { readonly funding: Funding; readonly amount: number }[] = []
  let open = amount
  for (const funding of (yield* rows.fundings(of)).toReversed()) {
    const back = Math.min(open, funding.amount - funding.reversed)
    if (back > 0) parts.push({ funding, amount: back })
    open -= back
  }
  const lots = yield* lotsOfFundings(
    session,
    parts.map(({ funding }) => funding)
  )
  const returned: PaidBy<number>[] = []
  for (const { funding, amount: back } of parts) {
    session.setFunding({ ...funding, reversed: funding.reversed + back })
    if (funding.lot === null) {
      returned.push(...(yield* repay(session, back, cause, expiredReversal)))
      continue
    }
    const lot = lots.get(funding.lot) as Lot
    giveBack(session, lot, 'reversed', back, cause, expiredReversal)
    returned.push({ grant: lot.grant, origin: lot.origin, amount: back })
  }
  session.setCharge({ ...charge, reversed: charge.reversed + amount })
  const answer = {
    outcome: 'reversed',
    amount,
    returned,
    reversible: left - amount,
    balance: balanceOf(session),
    replayed: false
  } as const
  session.remember({ kind: 'reverse', key, fingerprint: print, answer: asJson(answer) })
  session.note('credits.reversed', `charge:${of}`, { amount, reversal: key })
  yield* session.commit()
  return answer
}

/**
 * An overdraft that is taken back lessens what is owed. What grants have paid of it meanwhile goes back to them, the last
 * payment first: the overdraft is one account, whichever charges ran it up.
 */
function* repay(
  session: WalletSession,
  amount: number,
  cause: Cause,
  expiredReversal: CreditPolicy['expiredReversal']
): Sql<PaidBy<number>[]> {
  const returned: PaidBy<number>[] = []
  const owed = Math.min(amount, session.wallet().owed)
  session.owe('repaid', owed, cause)
  if (owed > 0) returned.push({ grant: null, origin: null, amount: owed })
  let open = amount - owed
  let before = session.wallet().settlements
  while (open > 0) {
    const page = yield* session.rows.settlements(before, SETTLEMENTS_PAGE)
    if (page.length === 0) throw new Error(`${open} of the overdraft was paid, and by no grant`)
    const lots = yield* lotsOfFundings(session, page)
    for (const funding of page) {
      const back = Math.min(open, funding.amount - funding.reversed)
      if (back === 0) break
      open -= back
      session.setFunding({ ...funding, reversed: funding.reversed + back })
      const lot = lots.get(funding.lot as number) as Lot
      giveBack(session, lot, 'reversed', back, cause, expiredReversal)
      returned.push({ grant: lot.grant, origin: lot.origin, amount: back })
    }
    before = page.at(-1)?.place ?? 0
  }
  return returned
}
