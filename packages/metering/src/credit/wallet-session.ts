import type { JsonObject } from '@enablement/core'
import type { Sql } from '@enablement/core/sql'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { burnKey } from './burn-order.ts'
import { type CreditCallKind, type CreditEntryKind, EFFECTS, type LedgerEntry } from './credit-entry.ts'
import {
  type CallRecord,
  type ChargeRecord,
  type CreditEvidence,
  emptyWallet,
  type Funding,
  type Lane,
  type WalletRecord,
  type WalletRows
} from './credit-store.ts'
import type { GrantTerms, Lot, LotOrigin } from './lot.ts'

/** Scopes of one wallet that may differ: a charge looks at those that it may use, a page of each. */
export const LANES_MAX = 64

/** The call that entries are booked under, and when it took effect. */
export interface Cause {
  readonly call: CreditCallKind
  readonly reference: string
  readonly at: number
}

/**
 * One step on a wallet: reads rows, changes copies, writes them all at the end. Nothing is written before `commit`, so a
 * step that throws, or that finds out late that it must refuse, has changed nothing.
 */
export interface WalletSession {
  readonly now: number
  readonly rows: WalletRows
  wallet(): WalletRecord
  /** The lot as this step has left it. */
  current(lot: Lot): Lot
  lots(numbers: readonly number[]): Sql<Map<number, Lot>>
  /** Books an entry and changes lot and wallet by it. Gives the lot as it is then. */
  move(lot: Lot, kind: CreditEntryKind, amount: number, cause: Cause): Lot
  owe(kind: 'overdrawn' | 'repaid', amount: number, cause: Cause): void
  setLot(lot: Lot): void
  /** Makes a lot: active, when its time has come by the cause, or waiting. */
  open(
    made: {
      readonly grant: string
      readonly origin: LotOrigin
      readonly amount: number
      readonly terms: GrantTerms
      readonly state: 'pending' | 'scheduled' | 'active'
      readonly effectiveAt: number
      readonly expiresAt: number | null
    },
    cause: Cause
  ): Lot
  /** Pays the overdraft from what the lot has free; lots with a scope do not. */
  settle(lot: Lot, cause: Cause): void
  setFunding(funding: Funding): void
  setCharge(charge: ChargeRecord): void
  remember(call: CallRecord): void
  note(action: string, subject: string, detail: JsonObject): void
  commit(): Sql<void>
}

/** What is free in lanes that may pay for the metric; those without a scope alone when there is no metric. */
export function lanesFor(wallet: WalletRecord, metric: string | null): readonly number[] {
  return wallet.lanes.flatMap(({ metrics }, lane) =>
    metrics.length === 0 || (metric !== null && metrics.includes(metric)) ? [lane] : []
  )
}

/** What all of a wallet's active lots have free. */
export function freeOf(wallet: WalletRecord): number {
  return wallet.lanes.reduce((sum, { free }) => sum + free, 0)
}

/** How much more a wallet can hold: all that it has stays below 9e15, so that every sum is exact. */
export function roomOf(wallet: WalletRecord): number {
  return QUANTITY_MAX - freeOf(wallet) - wallet.held - wallet.waiting
}

/** `looksUpDue`: have the store look up what is due next, for what was due has been handled. */
export function walletSession(rows: WalletRows, { looksUpDue = false } = {}): WalletSession {
  const { now } = rows
  // A step that would need a wallet, and has none, refuses: this one is never written.
  let wallet = rows.wallet ?? emptyWallet({ scale: 0, burnOrder: 'expiry-fifo' })
  const lots = new Map<number, Lot>()
  const entries: LedgerEntry[] = []
  const fundings = new Map<string, Funding>()
  const charges: ChargeRecord[] = []
  const calls: CallRecord[] = []
  const evidence: CreditEvidence[] = []

  const book = (
    kind: CreditEntryKind,
    lot: Lot | null,
    amount: number,
    { call, reference, at }: Cause
  ): { free: number; held: number } => {
    const { free = 0, held = 0, waiting = 0, owed = 0 } = EFFECTS[kind]
    const lanes: readonly Lane[] =
      lot === null || free === 0
        ? wallet.lanes
        : wallet.lanes.map((lane, at) => (at === lot.lane ? { ...lane, free: lane.free + free * amount } : lane))
    wallet = {
      ...wallet,
      lanes,
      held: wallet.held + held * amount,
      waiting: wallet.waiting + waiting * amount,
      owed: wallet.owed + owed * amount,
      entries: wallet.entries + 1
    }
    entries.push({
      sequence: wallet.entries,
      kind,
      lot: lot?.lot ?? null,
      grant: lot?.grant ?? null,
      amount,
      balance: freeOf(wallet) - wallet.owed,
      call,
      reference,
      at,
      bookedAt: now
    })
    return { free: free * amount, held: held * amount }
  }

  /** What is earlier than need be does no harm: whoever looks then finds nothing, and sets it right. */
  const dueBy = (dueAt: number | null): void => {
    if (dueAt !== null && (wallet.dueAt === null || dueAt < wallet.dueAt)) wallet = { ...wallet, dueAt }
  }

  const laneOf = (metrics: readonly string[]): number => {
    const key = JSON.stringify(metrics)
    const found = wallet.lanes.findIndex((lane) => JSON.stringify(lane.metrics) === key)
    if (found >= 0) return found
    wallet = { ...wallet, lanes: [...wallet.lanes, { metrics, free: 0 }] }
    return wallet.lanes.length - 1
  }

  const session: WalletSession = {
    now,
    rows,
    wallet: () => wallet,
    current: (lot) => lots.get(lot.lot) ?? lot,
    *lots(numbers) {
      const found = yield* rows.lots([...new Set(numbers)])
      return new Map(found.map((lot) => [lot.lot, session.current(lot)]))
    },
    move(lot, kind, amount, cause) {
      const before = session.current(lot)
      if (amount === 0) return before
      const { free, held } = book(kind, before, amount, cause)
      const after = { ...before, free: before.free + free, held: before.held + held }
      lots.set(after.lot, after)
      return after
    },
    owe(kind, amount, cause) {
      if (amount > 0) book(kind, null, amount, cause)
    },
    setLot(lot) {
      dueBy(lot.dueAt)
      lots.set(lot.lot, lot)
    },
    open({ grant, origin, amount, terms, state, effectiveAt, expiresAt }, cause) {
      const lane = laneOf(terms.metrics)
      const number = wallet.lots
      wallet = { ...wallet, lots: number + 1 }
      const createdAt = cause.at
      const lot: Lot = {
        lot: number,
        grant,
        origin,
        state,
        amount,
        free: 0,
        held: 0,
        lane,
        burnKey: burnKey(wallet.burnOrder, { ...terms, grant, origin, lot: number, createdAt, effectiveAt, expiresAt }),
        createdAt,
        effectiveAt,
        expiresAt,
        dueAt: state === 'scheduled' ? effectiveAt : expiresAt,
        terms
      }
      session.setLot(lot)
      const opened = session.move(lot, state === 'active' ? 'granted' : 'promised', amount, cause)
      if (state === 'active') session.settle(opened, cause)
      return session.current(opened)
    },
    settle(lot, cause) {
      const { free, terms } = session.current(lot)
      const amount = terms.metrics.length > 0 ? 0 : Math.min(free, wallet.owed)
      if (amount === 0) return
      session.move(lot, 'settled', amount, cause)
      const place = wallet.settlements
      wallet = { ...wallet, settlements: place + 1 }
      session.setFunding({ charge: '', place, lot: lot.lot, grant: lot.grant, amount, reversed: 0 })
    },
    setFunding: (funding) => {
      fundings.set(`${funding.charge}:${funding.place}`, funding)
    },
    setCharge(charge) {
      dueBy(charge.dueAt)
      charges.push(charge)
    },
    remember: (call) => {
      calls.push(call)
    },
    note: (action, subject, detail) => {
      evidence.push({ action, subject, detail })
    },
    *commit() {
      yield* rows.write({
        wallet,
        lots: [...lots.values()],
        entries,
        fundings: [...fundings.values()],
        charges,
        calls,
        evidence,
        looksUpDue
      })
    }
  }
  return session
}
