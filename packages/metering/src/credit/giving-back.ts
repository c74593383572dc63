import type { Sql } from '@enablement/core/sql'
import type { Funding } from './credit-store.ts'
import type { Lot } from './lot.ts'
import type { Cause, WalletSession } from './wallet-session.ts'

/** What becomes of credits that a reversal gives back to a grant that has expired meanwhile. */
export type ExpiredReversal =
  /** They expire at once: reversing does not make old credits young. */
  | 'breakage'
  /** They live on for so long, as a part of the same grant. */
  | { readonly restoreForMs: number }

/** The lots that fundings are pinned to, by number. */
export function lotsOfFundings(session: WalletSession, fundings: readonly Funding[]): Sql<Map<number, Lot>> {
  return session.lots(fundings.flatMap(({ lot }) => (lot === null ? [] : [lot])))
}

/**
 * Gives an amount back to a lot, from a hold or a charge. What comes back to an active lot pays the overdraft first; what
 * comes back to one that was voided is voided; to one that expired it expires, unless a reversal restores it.
 */
export function giveBack(
  session: WalletSession,
  to: Lot,
  kind: 'returned' | 'reversed',
  amount: number,
  cause: Cause,
  expired: ExpiredReversal = 'breakage'
): void {
  if (amount === 0) return
  const lot = session.move(to, kind, amount, cause)
  if (lot.state === 'voided') {
    session.move(lot, 'voided', amount, cause)
    return
  }
  if (lot.state !== 'expired') {
    session.settle(lot, cause)
    return
  }
  if (expired === 'breakage') {
    session.move(lot, 'expired', amount, cause)
    session.note('credits.expired', `grant:${lot.grant}`, { lot: lot.lot, amount, at: cause.at })
    return
  }
  session.move(lot, 'restored', amount, cause)
  const { grant, terms } = lot
  const expiresAt = cause.at + expired.restoreForMs
  session.open({ grant, origin: 'restored', amount, terms, state: 'active', effectiveAt: cause.at, expiresAt }, cause)
}
