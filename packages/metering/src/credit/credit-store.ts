import type { JsonObject } from '@enablement/core'
import type { Sql } from '@enablement/core/sql'
import type { BurnOrder } from './burn-order.ts'
import type { LedgerEntry } from './credit-entry.ts'
import type { Lot } from './lot.ts'

/** Whose wallet, of what. */
export interface WalletName {
  readonly tenant: string
  /** A customer, a subscription, an agent. */
  readonly account: string
  readonly unit: string
}

/** Lots that may pay for the same metrics. */
export interface Lane {
  /** Sorted; none means every metric. */
  readonly metrics: readonly string[]
  /** What all of its active lots have free. */
  readonly free: number
}

/** A wallet as a whole. Amounts are integers of the smallest unit. */
export interface WalletRecord {
  readonly scale: number
  /** The order it began with: the places of its lots are kept in it. */
  readonly burnOrder: BurnOrder
  readonly lanes: readonly Lane[]
  readonly held: number
  readonly waiting: number
  readonly owed: number
  /** Entries written. */
  readonly entries: number
  /** Lots made. */
  readonly lots: number
  /** Payments of the overdraft that were made. */
  readonly settlements: number
  /** The earliest `dueAt` of its lots and holds, or before; null when there is none. */
  readonly dueAt: number | null
}

/** What one lot paid, or holds, of a charge. */
export interface Funding {
  /** The charge or hold; empty for payments of the overdraft. */
  readonly charge: string
  /** 0, 1, 2 …: the order in which they were drawn. */
  readonly place: number
  /** Null for the overdraft. */
  readonly lot: number | null
  readonly grant: string | null
  readonly amount: number
  /** The part of `amount` that has been given back. */
  readonly reversed: number
}

/** A charge or a hold, by its key. */
export interface ChargeRecord {
  readonly charge: string
  readonly state: 'held' | 'released' | 'lapsed' | 'charged'
  /** What it was asked for with, so that a repetition is known from another call. */
  readonly fingerprint: string
  readonly metric: string | null
  /** What a hold was made for; what a charge took. */
  readonly amount: number
  /** What lots and overdraft paid; at most `amount`. */
  readonly charged: number
  readonly reversed: number
  /** When a hold lapses; null when it cannot. */
  readonly dueAt: number | null
  /** The first answer to the call that made it, and to the one that ended it. */
  readonly made: JsonObject
  readonly ended: JsonObject | null
}

/** Calls that are remembered by key, besides charges and holds. */
export interface CallRecord {
  readonly kind: 'grant' | 'void' | 'reverse'
  readonly key: string
  readonly fingerprint: string
  readonly answer: JsonObject
}

/** A fact for the audit log. */
export interface CreditEvidence {
  readonly action: string
  readonly subject: string
  readonly detail: JsonObject
}

/** All that one step changes: rows as they are afterwards. */
export interface WalletChanges {
  readonly wallet: WalletRecord
  readonly lots: readonly Lot[]
  readonly entries: readonly LedgerEntry[]
  readonly fundings: readonly Funding[]
  readonly charges: readonly ChargeRecord[]
  readonly calls: readonly CallRecord[]
  readonly evidence: readonly CreditEvidence[]
  /** Whether the store sets the wallet's `dueAt` to the earliest there is, rather than to the one given. */
  readonly looksUpDue: boolean
}

/** A locked wallet's rows, within one transaction. */
export interface WalletRows {
  /** The store's clock, read after the lock was had. */
  readonly now: number
  /** Undefined when there is no such wallet yet. */
  readonly wallet: WalletRecord | undefined
  /** Active lots of a lane that have something free, by burn key, after the one given. */
  spendable(lane: number, after: string, limit: number): Sql<readonly Lot[]>
  lots(numbers: readonly number[]): Sql<readonly Lot[]>
  /** Lots of a grant that have not ended, by number, after the one given. */
  lotsOf(grant: string, after: number, limit: number): Sql<readonly Lot[]>
  /** By `dueAt`, then state, so that what ends at an instant comes before what begins at it, then number. */
  dueLots(until: number, limit: number): Sql<readonly Lot[]>
  /** By `dueAt`, then key. */
  dueHolds(until: number, limit: number): Sql<readonly ChargeRecord[]>
  charge(charge: string): Sql<ChargeRecord | undefined>
  /** By place. */
  fundings(charge: string): Sql<readonly Funding[]>
  /** Payments of the overdraft that have not been given back entirely, the last first, before the place given. */
  settlements(before: number, limit: number): Sql<readonly Funding[]>
  call(kind: CallRecord['kind'], key: string): Sql<CallRecord | undefined>
  /** By sequence, after the one given. */
  entries(after: number, limit: number): Sql<readonly LedgerEntry[]>
  write(changes: WalletChanges): Sql<void>
  /** The same rows, with the wallet as it is after what has been written. */
  reread(): Sql<WalletRows>
}

/** What a credit store can promise. */
export interface CreditStoreSupports {
  readonly durable: 'power-loss' | 'process' | 'none'
  readonly shared: boolean
}

/**
 * Wallets. The engine is written once, over rows; a store brings them under a lock. One that is not SQL answers with
 * generators that yield nothing.
 */
export interface CreditStore {
  readonly supports: CreditStoreSupports
  /**
   * Runs `work` in one transaction with the wallet locked: no other step on this wallet comes between its reads and its
   * writes, and all it wrote is committed or nothing. `work` may be run again from the start. With `create` a wallet that
   * is not there is made first. Throws an error of the suite when the store failed; whether it had an effect is then not
   * known, and the same call with the same key finds out.
   */
  transact<T>(
    name: WalletName,
    work: (rows: WalletRows) => Sql<T>,
    options: { readonly create?: Pick<WalletRecord, 'scale' | 'burnOrder'>; readonly signal?: AbortSignal }
  ): Promise<T>
  /** Wallets in which something is due, the longest due first. */
  dueWallets(limit: number, options?: { readonly signal?: AbortSignal }): Promise<readonly WalletName[]>
}

/** A wallet in which nothing has happened. */
export function emptyWallet({ scale, burnOrder }: Pick<WalletRecord, 'scale' | 'burnOrder'>): WalletRecord {
  return { scale, burnOrder, lanes: [], held: 0, waiting: 0, owed: 0, entries: 0, lots: 0, settlements: 0, dueAt: null }
}
