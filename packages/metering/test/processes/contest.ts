import { type Clock, type Platform, type Random, sleep, systemClock, systemPlatform } from '@enablement/core'
import { type AuditLog, createAuditLog } from '@enablement/core/audit'
import type { SqlDatabase } from '@enablement/core/sql'
import { withStoreClock } from '@enablement/core/testing'
import {
  type BillingEvent,
  type Calendar,
  createCredits,
  createInvoicing,
  createMeter,
  createQuotas,
  createRateCard,
  type InvoiceStore,
  type Invoicing,
  type Limit,
  type Meter,
  periodFinder,
  type QuotaStore,
  type Quotas,
  type UsageEvent,
  type UsageStore,
  type Wallet
} from '@enablement/metering'
import { sqlCreditStore, sqlInvoiceStore, sqlQuotaStore, sqlUsageStore } from '@enablement/metering/sql'

export const TENANT = 'org'

/** How much there is to do; each item is done by one to three of the processes. */
export interface Sizes {
  readonly events: number
  readonly spends: number
  readonly quotaHolds: number
  /** Units that each process takes from what it has leased. */
  readonly takes: number
  readonly grants: number
  readonly charges: number
  readonly creditHolds: number
  readonly adjustments: number
}

/** Most of what is wanted is there; the rest is refused. */
export const sizesOf = (share: number): Sizes => {
  const of = (count: number): number => Math.max(4, Math.round(count * share))
  return {
    events: of(240),
    spends: of(60),
    quotaHolds: of(32),
    takes: of(24),
    grants: of(10),
    charges: of(60),
    creditHolds: of(24),
    adjustments: of(16)
  }
}

const DAY_MS = 86_400_000

/**
 * Where the contest begins. Two days pass in a second there, so that periods end and close while it lasts; an event is in
 * the ledger within a fraction of the period after its judgement all the same, as it is in earnest.
 */
const START_AT = Date.UTC(2026, 7, 1)
const DAYS_PER_MS = 2 / 1_000
const PERIOD_DAYS = 30

/** The time of bills, for all processes that are told the same `startedAt` (epoch milliseconds). */
export function billingClock(startedAt: number): Clock {
  const now = (): number => START_AT + Math.max(0, Math.round((systemClock.now() - startedAt) * DAYS_PER_MS * DAY_MS))
  return { ...systemClock, now }
}

/** A subscription of five periods that matter: three are closed at the start, the fourth closes soon, the fifth does not. */
export interface Subscription {
  readonly name: string
  readonly calendar: Calendar
  readonly starts: readonly number[]
  /** When the fourth period closes. */
  readonly closesAt: number
  /** By the duty, one period after the other; or by calls for all periods at once, when the fourth has closed. */
  readonly billedBy: 'duty' | 'calls'
}

const subscribed = (name: string, closesOnDay: number, billedBy: Subscription['billedBy']): Subscription => {
  const first = START_AT + (closesOnDay - 1 - 4 * PERIOD_DAYS) * DAY_MS
  const calendar: Calendar = {
    every: { days: PERIOD_DAYS },
    timeZone: 'UTC',
    anchor: new Date(first).toISOString().slice(0, 10)
  }
  const finder = periodFinder(calendar)
  const starts = [0, 1, 2, 3, 4].map((count) => finder.shift(finder.periodAt(first), count).from)
  return { name, calendar, starts, billedBy, closesAt: (starts[4] as number) + DAY_MS }
}

/** What it used is all received in the last hours before its period closes, and overtaken by the invoice. */
const LAST_MINUTE: Subscription = subscribed('last-minute', 3, 'duty')

export const SUBSCRIPTIONS: readonly Subscription[] = [
  subscribed('sub-1', 1, 'duty'),
  subscribed('sub-2', 2, 'calls'),
  subscribed('sub-3', 3, 'duty'),
  subscribed('sub-4', 4, 'calls'),
  LAST_MINUTE
]

export const isLastMinute = ({ subscription }: { readonly subscription: string }): boolean =>
  subscription === LAST_MINUTE.name

/** From when on an event may be sent: when it has happened, or as late as it may be for its bill. */
export const sentFrom = (event: UsageEvent): number =>
  isLastMinute(event) ? LAST_MINUTE.closesAt - (3 + (event.quantity % 4)) * 3_600_000 : event.at

/**
 * An event, the same whoever sends it. Those of the closed periods are adjustments, and most of the others are of the
 * period that closes meanwhile: on its bill, or too late for it.
 */
export function eventOf(number: number): UsageEvent {
  const { name, starts } = number % 12 === 11 ? LAST_MINUTE : (SUBSCRIPTIONS[number % 4] as Subscription)
  const place = number % 12 === 11 ? 3 : ([0, 1, 2, 3, 3, 3, 3, 4][(number >> 2) % 8] as number)
  return {
    tenant: TENANT,
    subscription: name,
    transactionId: `e${number}`,
    metric: number % 3 === 0 ? 'seats' : 'tokens',
    quantity: 1 + (number % 7),
    // In the last period: in its first hours, which whoever sends it waits for.
    at: (starts[place] as number) + (number % 20) * 3_600_000 * (place === 4 ? 0.1 : 30)
  }
}

export const card = createRateCard({
  currency: 'EUR',
  rounding: 'half-even',
  onUnratedMetric: 'refuse',
  metrics: {
    tokens: { rate: { currency: 'EUR', graduated: [{ upTo: 20, unitPrice: '0.03' }, { unitPrice: '0.01' }] } },
    seats: { rate: { currency: 'EUR', unitPrice: '0.5' } }
  }
})

/** What a process may spend: `units` at two levels, some of it held; `leased` from leases; `slots` at the same time. */
export const limitsOf = (sizes: Sizes): readonly Limit[] => [
  {
    name: 'units',
    period: 'lifetime',
    quantity: 2 * sizes.spends + 2 * sizes.quotaHolds,
    eachChild: { quantity: Math.round(1.5 * sizes.spends) }
  },
  { name: 'leased', period: 'lifetime', quantity: 2 * sizes.takes },
  { name: 'slots', period: 'concurrent', quantity: 6 }
]

/** The least that a wallet may have: this is its overdraft. */
export const OVERDRAFT = 20

/** A process's own way to everything. */
export interface Rooms {
  readonly meter: Meter
  readonly usage: UsageStore
  readonly quotas: Quotas
  readonly quotaStore: QuotaStore
  readonly wallet: Wallet
  readonly invoicing: Invoicing
  readonly invoices: InvoiceStore
  readonly audit: AuditLog
}

export function roomsOn(
  disk: SqlDatabase,
  clock: Clock,
  sizes: Sizes,
  {
    delayMs = () => 0,
    observe = () => {}
  }: {
    readonly delayMs?: (entries: readonly { readonly subscription: string }[]) => number
    readonly observe?: (event: BillingEvent) => void
  }
): Rooms {
  const platform: Platform = { ...systemPlatform, clock }
  const db = withStoreClock(disk, clock)
  const audit = createAuditLog({ db: disk })
  const usage = sqlUsageStore(disk, { audit })
  const invoices = sqlInvoiceStore(db, { audit })
  const quotaStore = sqlQuotaStore(disk)
  return {
    audit,
    usage,
    invoices,
    quotaStore,
    meter: createMeter({
      store: {
        ...usage,
        // A slow way to the ledger, on which events are overtaken by the invoice of their period.
        async record(entries, options) {
          const ms = delayMs(entries)
          if (ms > 0) await sleep(systemClock, ms)
          return await usage.record(entries, options)
        }
      },
      metrics: { seats: { rollup: 'max' } },
      calendarOf: (_tenant, subscription) => SUBSCRIPTIONS.find(({ name }) => name === subscription)?.calendar,
      latenessLimits: { graceMs: DAY_MS, adjustmentMs: 300 * DAY_MS },
      platform
    }),
    invoicing: createInvoicing({ usage, invoices, rateCardOf: () => card, roundedPer: 'line', observe, platform }),
    quotas: createQuotas({
      store: quotaStore,
      limits: limitsOf(sizes),
      onStoreFailure: 'refuse',
      lease: { onLost: 'spent', unitsMax: 8, ttlMs: 400 }
    }),
    wallet: createCredits({
      store: sqlCreditStore(disk, { audit }),
      units: [{ name: 'credits', scale: 0 }],
      overdraft: { upTo: `${OVERDRAFT}` },
      onOverrun: 'waive',
      expiredReversal: 'breakage'
    }).wallet({ tenant: TENANT, account: 'customer', unit: 'credits' })
  }
}

export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items]
  return items.map(() => left.splice(random.below(left.length), 1)[0] as T)
}

/** Whether the process in this place does an item: a third of them is one process's each, a third two processes', a third three's. */
export const isFor = (number: number, place: number, places: number): boolean =>
  (place - (number % places) + places) % places <= Math.floor(number / places) % 3
