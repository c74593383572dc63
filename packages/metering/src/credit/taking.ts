import type { Sql } from '@enablement/core/sql'
import { MeteringError } from '../metering-error.ts'
import type { WalletRecord } from './credit-store.ts'
import type { Lot } from './lot.ts'
import { type Cause, lanesFor, type WalletSession } from './wallet-session.ts'

/** Lots that one call may draw on: beyond it, thousands of remnants would be written under one lock. */
const FUNDINGS_MAX = 5_000

/** Lots read at first from each lane: most charges are paid by one or two. Later pages are four times as large. */
const PAGE = 8
const PAGE_MAX = 1_024

/** What one lot gave, or the overdraft. */
export interface Draw {
  readonly lot: Lot | null
  readonly amount: number
}

/** What a call on this metric could take from the wallet's grants. */
export function availableFor(wallet: WalletRecord, metric: string | null): number {
  return lanesFor(wallet, metric).reduce((sum, lane) => sum + (wallet.lanes[lane]?.free ?? 0), 0)
}

/**
 * Takes `amount` in the wallet's burn order; that much is there. Lanes are in order each, so the next lot is the first of
 * one of them: a few are read, however many the wallet has.
 *
 * Throws `CREDITS_FRAGMENTED` when more than 5,000 lots would pay.
 */
export function* take(
  session: WalletSession,
  metric: string | null,
  amount: number,
  kind: 'charged' | 'held',
  cause: Cause
): Sql<Draw[]> {
  const lanes = lanesFor(session.wallet(), metric).map((lane) => ({ lane, read: [] as Lot[], after: '', page: PAGE }))
  const draws: Draw[] = []
  let open = amount
  while (open > 0) {
    let first: { readonly lot: Lot; readonly from: { read: Lot[] } } | undefined
    for (const from of lanes) {
      if (from.read.length === 0 && from.page > 0) {
        const read = yield* session.rows.spendable(from.lane, from.after, from.page)
        from.after = read.at(-1)?.burnKey ?? from.after
        // A lane that gave less than it was asked for is at its end.
        from.page = read.length < from.page ? 0 : Math.min(4 * from.page, PAGE_MAX)
        from.read = read.map((lot) => session.current(lot)).filter(({ free }) => free > 0)
      }
      const [lot] = from.read
      if (lot !== undefined && (first === undefined || lot.burnKey < first.lot.burnKey)) first = { lot, from }
    }
    if (first === undefined) {
      if (lanes.some(({ page }) => page > 0)) continue
      throw new Error(`a wallet's lanes say that ${open} more is free than its lots have`)
    }
    if (draws.length === FUNDINGS_MAX) {
      const message = `more than ${FUNDINGS_MAX} grants would pay for one charge: charge it in parts`
      throw new MeteringError('CREDITS_FRAGMENTED', message, { limit: FUNDINGS_MAX })
    }
    first.from.read.shift()
    const taken = Math.min(open, first.lot.free)
    draws.push({ lot: session.move(first.lot, kind, taken, cause), amount: taken })
    open -= taken
  }
  return draws
}

/** Writes down who paid, from `place` on. */
export function fund(session: WalletSession, charge: string, draws: readonly Draw[], place = 0): void {
  draws.forEach(({ lot, amount }, index) => {
    const whose = { lot: lot?.lot ?? null, grant: lot?.grant ?? null }
    session.setFunding({ charge, place: place + index, ...whose, amount, reversed: 0 })
  })
}
