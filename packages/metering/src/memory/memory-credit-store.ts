import { CoreError, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import type { Sql } from '@enablement/core/sql'
import { z } from 'zod'
import { atOnce } from '../credit/at-once.ts'
import type { LedgerEntry } from '../credit/credit-entry.ts'
import {
  type CallRecord,
  type ChargeRecord,
  type CreditStore,
  emptyWallet,
  type Funding,
  type WalletChanges,
  type WalletName,
  type WalletRecord,
  type WalletRows
} from '../credit/credit-store.ts'
import type { Lot } from '../credit/lot.ts'

/** Entries of all wallets, some 200 MB with what belongs to them: a bound for tests and demos, which this store is for. */
const ENTRIES_MAX = 500_000

/** The clock that decides expiry. */
export interface MemoryCreditStoreOptions {
  readonly platform?: Platform
  /** Entries of all wallets together; beyond it a call throws `OVERLOADED`. 500,000 unless given. */
  readonly entriesMax?: number
}

const optionsSchema: z.ZodType<MemoryCreditStoreOptions> = z.strictObject({
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  entriesMax: z.int().min(1).exactOptional()
})

interface StoredWallet {
  readonly name: WalletName
  record: WalletRecord
  readonly lots: Map<number, Lot>
  /** By lane: active lots that have something free, by burn key. */
  readonly burn: Map<number, Lot[]>
  /** Lots that will change by themselves. */
  readonly waiting: Map<number, Lot>
  readonly charges: Map<string, ChargeRecord>
  readonly holds: Map<string, ChargeRecord>
  readonly fundings: Map<string, Funding[]>
  readonly calls: Map<string, CallRecord>
  readonly entries: LedgerEntry[]
}

/** Wallets in this process's memory, for tests and demos. Throws `INVALID_OPTIONS`. */
export function memoryCreditStore(options: MemoryCreditStoreOptions = {}): CreditStore {
  const { platform = systemPlatform, entriesMax = ENTRIES_MAX } = parseOptions(
    optionsSchema,
    'memoryCreditStore',
    options
  )
  const wallets = new Map<string, StoredWallet>()
  let entries = 0

  return {
    supports: { durable: 'none', shared: false },
    // One synchronous block: nothing can come between a step's reads and its writes.
    async transact(name, work, { create, signal }) {
      signal?.throwIfAborted()
      const key = JSON.stringify([name.tenant, name.account, name.unit])
      let stored = wallets.get(key)
      if (stored === undefined && create !== undefined) {
        stored = newWallet(name, emptyWallet(create))
        wallets.set(key, stored)
      }
      const take = (changes: WalletChanges): void => {
        if (entries + changes.entries.length > entriesMax) throw overloaded(entries, entriesMax)
        entries += changes.entries.length
      }
      return finished(work(rowsOf(stored, platform.clock.now(), take)))
    },
    async dueWallets(limit, { signal } = {}) {
      signal?.throwIfAborted()
      const now = platform.clock.now()
      return [...wallets.values()]
        .filter(({ record: { dueAt } }) => dueAt !== null && dueAt <= now)
        .sort((a, b) => (a.record.dueAt as number) - (b.record.dueAt as number))
        .slice(0, limit)
        .map(({ name }) => name)
    }
  }
}

function newWallet(name: WalletName, record: WalletRecord): StoredWallet {
  return {
    name,
    record,
    lots: new Map(),
    burn: new Map(),
    waiting: new Map(),
    charges: new Map(),
    holds: new Map(),
    fundings: new Map(),
    calls: new Map(),
    entries: []
  }
}

/** A step that asks no database runs through at once. */
function finished<T>(work: Sql<T>): T {
  const step = work.next()
  if (step.done === true) return step.value
  throw new Error('the memory credit store was asked for a statement')
}

function rowsOf(stored: StoredWallet | undefined, now: number, take: (changes: WalletChanges) => void): WalletRows {
  const none = newWallet({ tenant: '', account: '', unit: '' }, emptyWallet({ scale: 0, burnOrder: 'expiry-fifo' }))
  const { lots, burn, waiting, charges, holds, fundings, calls, entries } = stored ?? none
  return {
    now,
    wallet: stored?.record,
    spendable: (lane, after, limit) => {
      const line = burn.get(lane) ?? []
      const from = placeAfter(line, after)
      return atOnce(line.slice(from, from + limit))
    },
    lots: (wanted) => atOnce(wanted.flatMap((lot) => lots.get(lot) ?? [])),
    lotsOf: (grant, after, limit) =>
      atOnce(
        [...lots.values()]
          .filter(
            ({ lot, grant: of, state }) => lot > after && of === grant && state !== 'expired' && state !== 'voided'
          )
          .slice(0, limit)
      ),
    dueLots: (until, limit) =>
      atOnce(due(waiting.values(), until, limit, (a, b) => byText(a.state, b.state) || a.lot - b.lot)),
    dueHolds: (until, limit) => atOnce(due(holds.values(), until, limit, (a, b) => byText(a.charge, b.charge))),
    charge: (charge) => atOnce(charges.get(charge)),
    fundings: (charge) => atOnce([...(fundings.get(charge) ?? [])]),
    settlements: (before, limit) =>
      atOnce(
        (fundings.get('') ?? [])
          .slice(0, before)
          .filter(({ amount, reversed }) => reversed < amount)
          .reverse()
          .slice(0, limit)
      ),
    call: (kind, key) => atOnce(calls.get(`${kind}:${key}`)),
    entries: (after, limit) => atOnce(entries.slice(after, after + limit)),
    write: (changes) => {
      if (stored === undefined) throw new Error('a wallet that is not there was written')
      take(changes)
      write(stored, changes)
      return atOnce(undefined)
    },
    reread: () => atOnce(rowsOf(stored, now, take))
  }
}

function due<Row extends { readonly dueAt: number | null }>(
  all: Iterable<Row>,
  until: number,
  limit: number,
  ties: (a: Row, b: Row) => number
): Row[] {
  return [...all]
    .filter(({ dueAt }) => dueAt !== null && dueAt <= until)
    .sort((a, b) => (a.dueAt as number) - (b.dueAt as number) || ties(a, b))
    .slice(0, limit)
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Index of the first lot whose key is beyond `key`. */
function placeAfter(line: readonly Lot[], key: string): number {
  let [low, high] = [0, line.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((line[middle] as Lot).burnKey > key) high = middle
    else low = middle + 1
  }
  return low
}

function write(stored: StoredWallet, changes: WalletChanges): void {
  for (const lot of changes.lots) {
    stored.lots.set(lot.lot, lot)
    const line = stored.burn.get(lot.lane) ?? []
    stored.burn.set(lot.lane, line)
    const place = placeAfter(line, lot.burnKey)
    const isThere = line[place - 1]?.lot === lot.lot
    const belongs = lot.state === 'active' && lot.free > 0
    if (isThere) line.splice(place - 1, 1, ...(belongs ? [lot] : []))
    else if (belongs) line.splice(place, 0, lot)
    if (lot.dueAt === null) stored.waiting.delete(lot.lot)
    else stored.waiting.set(lot.lot, lot)
  }
  for (const charge of changes.charges) {
    stored.charges.set(charge.charge, charge)
    if (charge.dueAt === null) stored.holds.delete(charge.charge)
    else stored.holds.set(charge.charge, charge)
  }
  for (const funding of changes.fundings) {
    const list = stored.fundings.get(funding.charge) ?? []
    list[funding.place] = funding
    stored.fundings.set(funding.charge, list)
  }
  for (const call of changes.calls) stored.calls.set(`${call.kind}:${call.key}`, call)
  stored.entries.push(...changes.entries)
  stored.record = changes.looksUpDue ? { ...changes.wallet, dueAt: earliest(stored) } : changes.wallet
}

function earliest({ waiting, holds }: StoredWallet): number | null {
  let first: number | null = null
  for (const rows of [waiting.values(), holds.values()]) {
    for (const { dueAt } of rows) if (dueAt !== null && (first === null || dueAt < first)) first = dueAt
  }
  return first
}

function overloaded(held: number, limit: number): CoreError<'OVERLOADED'> {
  const what = 'the memory credit store'
  return new CoreError('OVERLOADED', `${what} holds ${held} entries and takes no more`, { what, waiting: held, limit })
}
