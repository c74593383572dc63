import type { JsonObject } from '@enablement/core'
import type { Sql } from '@enablement/core/sql'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import type { ChargeAnswer, PaidBy } from './credit-answers.ts'
import type { CreditPolicy } from './credit-policy.ts'
import type { WalletRows } from './credit-store.ts'
import { fingerprint } from './fingerprint.ts'
import { availableFor, type Draw, fund, take } from './taking.ts'
import { freeOf, type WalletSession, walletSession } from './wallet-session.ts'

export interface ChargeCall {
  /** In [1, 9e15]. */
  readonly amount: number
  readonly key: string
  readonly metric: string | null
}

/** Charges at once: all of the amount, from grants first and then from the overdraft, or nothing. */
export function* chargeStep(
  rows: WalletRows,
  { amount, key, metric }: ChargeCall,
  policy: CreditPolicy
): Sql<ChargeAnswer<number>> {
  const print = fingerprint('charge', amount, metric)
  const earlier = yield* rows.charge(key)
  if (earlier !== undefined) {
    if (earlier.fingerprint !== print) return { outcome: 'conflict', key }
    return { ...(earlier.made as unknown as ChargeAnswer<number>), replayed: true } as ChargeAnswer<number>
  }
  const session = walletSession(rows)
  const free = availableFor(session.wallet(), metric)
  const room = Math.max(0, policy.overdraftMax - session.wallet().owed)
  const available = Math.min(free + room, QUANTITY_MAX)
  if (amount > available) return { outcome: 'insufficient-credits', requested: amount, available }
  const cause = { call: 'charge', reference: key, at: session.now } as const
  const draws = yield* take(session, metric, Math.min(amount, free), 'charged', cause)
  const overdrawn = amount - Math.min(amount, free)
  session.owe('overdrawn', overdrawn, cause)
  if (overdrawn > 0) draws.push({ lot: null, amount: overdrawn })
  fund(session, key, draws)
  const answer = {
    outcome: 'charged',
    amount,
    fundings: draws.map(paidBy),
    overdrawn,
    balance: balanceOf(session),
    replayed: false
  } as const
  session.setCharge({
    charge: key,
    state: 'charged',
    fingerprint: print,
    metric,
    amount,
    charged: amount,
    reversed: 0,
    dueAt: null,
    made: asJson(answer),
    ended: null
  })
  session.note('credits.charged', `charge:${key}`, { amount, overdrawn, metric })
  yield* session.commit()
  return answer
}

export function paidBy({ lot, amount }: Draw): PaidBy<number> {
  return { grant: lot?.grant ?? null, origin: lot?.origin ?? null, amount }
}

/** What the wallet has free, less what it owes. */
export function balanceOf(session: WalletSession): number {
  return freeOf(session.wallet()) - session.wallet().owed
}

/** An answer of the engine as its store keeps it: answers are made of text, safe integers, lists and null. */
export function asJson(answer: object): JsonObject {
  return answer as JsonObject
}
