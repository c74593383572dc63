import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import { z } from 'zod'
import { billedUsage } from '../billing/billed-usage.ts'
import { keyOf } from '../billing/billing-key.ts'
import type { Invoice } from '../billing/invoice.ts'
import {
  type BillingAccount,
  type InvoicePut,
  type InvoiceStore,
  PENDING_MAX,
  type PendingAdjustment
} from '../billing/invoice-store.ts'
import {
  PAYMENT_RETRY_MS,
  type PlanChangeRecord,
  type SubscriptionRecord,
  type SubscriptionStore
} from '../billing/subscription-store.ts'
import type { CalendarPeriod } from '../calendar/calendar.ts'

/** What the memory invoice store is made with. */
export interface MemoryInvoiceStoreOptions {
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<MemoryInvoiceStoreOptions> = z.strictObject({
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/** Invoices and subscriptions in this process's memory, and the evidence that was committed with them. */
export interface MemoryInvoiceStore extends InvoiceStore, SubscriptionStore {
  /** What was committed as evidence, in order. */
  evidence(tenant: string): readonly AuditDraft[]
}

interface Account {
  revision: number
  enrolled?: BillingAccount
  dueAt?: number | undefined
  endedAt?: number
  /** By period; a final one stays. */
  readonly invoices: Map<string, Invoice>
  readonly adjustments: Map<string, { readonly adjustment: PendingAdjustment; takenBy?: string }>
  subscription?: SubscriptionRecord
  subscriptionDueAt?: number | undefined
  readonly changes: Map<string, PlanChangeRecord>
}

/** Invoices in this process's memory, for tests and demos: they end with it. Throws `INVALID_OPTIONS`. */
export function memoryInvoiceStore(options: MemoryInvoiceStoreOptions = {}): MemoryInvoiceStore {
  const { platform = systemPlatform } = parseOptions(optionsSchema, 'memoryInvoiceStore', options)
  const { clock } = platform
  const accounts = new Map<string, Account>()
  const recorded: AuditDraft[] = []

  const accountOf = (tenant: string, subscription: string): Account => {
    const key = keyOf(tenant, subscription)
    const account = accounts.get(key) ?? {
      revision: 0,
      invoices: new Map(),
      adjustments: new Map(),
      changes: new Map()
    }
    accounts.set(key, account)
    return account
  }

  const adjust = (adjustments: readonly PendingAdjustment[]): readonly { readonly outcome: 'put' | 'known' }[] => {
    const moved = new Set<Account>()
    const outcomes = adjustments.map((adjustment) => {
      const account = accountOf(adjustment.tenant, adjustment.subscription)
      if (account.adjustments.has(adjustment.idempotencyKey)) return { outcome: 'known' } as const
      account.adjustments.set(adjustment.idempotencyKey, { adjustment })
      moved.add(account)
      return { outcome: 'put' } as const
    })
    for (const account of moved) account.revision += 1
    return outcomes
  }

  const advance = (account: Account, period: CalendarPeriod, next: NonNullable<InvoicePut['next']>): void => {
    if (account.enrolled?.next.from !== period.from) return
    account.enrolled = { ...account.enrolled, next: next.period }
    account.dueAt = next.dueAt
  }

  const waiting = (account: Account): readonly PendingAdjustment[] =>
    [...account.adjustments.values()].flatMap(({ adjustment, takenBy }) => (takenBy === undefined ? [adjustment] : []))

  const periodKey = ({ from, to }: { readonly from: number; readonly to: number }): string => `${from}:${to}`

  return {
    async put(invoice, { takes, evidence, revision, next }) {
      const account = accountOf(invoice.tenant, invoice.subscription)
      const key = periodKey(invoice.period)
      const found = account.invoices.get(key)
      if (found?.status === 'final') {
        if (next !== undefined) advance(account, invoice.period, next)
        return { outcome: 'exists', invoice: found }
      }
      if (revision !== undefined && revision !== account.revision) return { outcome: 'stale' }
      const taken = takes.map((take) => account.adjustments.get(take))
      if (taken.some((one) => one === undefined || one.takenBy !== undefined)) return { outcome: 'stale' }
      account.invoices.set(key, invoice)
      if (invoice.status === 'final') {
        for (const one of taken) if (one !== undefined) one.takenBy = invoice.id
        account.revision += 1
        if (next !== undefined) advance(account, invoice.period, next)
      }
      recorded.push(...evidence)
      return { outcome: 'stored' }
    },
    async find(tenant, subscription, period) {
      return accounts.get(keyOf(tenant, subscription))?.invoices.get(periodKey(period))
    },
    async billed(tenant, subscription, period) {
      const account = accountOf(tenant, subscription)
      const final = [...account.invoices.values()].filter(({ status }) => status === 'final')
      const lines = [...final.flatMap((invoice) => invoice.lines), ...waiting(account).map(({ line }) => line)]
      return billedUsage(lines, period)
    },
    async adjust(adjustments, { evidence }) {
      const outcomes = adjust(adjustments)
      recorded.push(...evidence)
      return outcomes
    },
    async pending(tenant, subscription) {
      return waiting(accountOf(tenant, subscription)).slice(0, PENDING_MAX)
    },
    async revision(tenant, subscription) {
      return accounts.get(keyOf(tenant, subscription))?.revision ?? 0
    },
    async endedAt(tenant, subscription) {
      return accounts.get(keyOf(tenant, subscription))?.endedAt
    },
    async enroll(enrolled, { dueAt }) {
      const account = accountOf(enrolled.tenant, enrolled.subscription)
      if (account.enrolled !== undefined) return { outcome: 'known' }
      Object.assign(account, { enrolled, dueAt })
      return { outcome: 'enrolled' }
    },
    async claimAccounts(options) {
      const enrolled = [...accounts.values()].filter((account) => account.enrolled !== undefined)
      const { claimed, ...rest } = claim(enrolled, 'dueAt', options, clock.now())
      return { accounts: claimed.map((account) => account.enrolled as BillingAccount), ...rest }
    },
    async pass({ tenant, subscription, period }, { revision, next }) {
      const account = accountOf(tenant, subscription)
      if (account.revision !== revision) return { outcome: 'stale' }
      if (next !== undefined) advance(account, period, next)
      else if (account.enrolled?.next.from === period.from) account.dueAt = undefined
      return { outcome: 'passed' }
    },
    async findSubscription(tenant, subscription) {
      return accounts.get(keyOf(tenant, subscription))?.subscription
    },
    async findChange(tenant, subscription, idempotencyKey) {
      return accounts.get(keyOf(tenant, subscription))?.changes.get(idempotencyKey)
    },
    async commitSubscription({ subscription: record, change, adjustments, evidence }) {
      const account = accountOf(record.tenant, record.subscription)
      if ((account.subscription?.revision ?? 0) !== record.revision - 1) return { outcome: 'stale' }
      account.subscription = record
      account.subscriptionDueAt = dueOf(record, clock.now())
      if (change !== undefined) account.changes.set(change.idempotencyKey, change)
      adjust(adjustments)
      if (record.endedAt !== undefined) {
        account.endedAt = record.endedAt
        account.revision += 1
      }
      recorded.push(...evidence)
      return { outcome: 'committed' }
    },
    async claimSubscriptions(options) {
      const begun = [...accounts.values()].filter((account) => account.subscription !== undefined)
      const { claimed, ...rest } = claim(begun, 'subscriptionDueAt', options, clock.now())
      return { subscriptions: claimed.map((account) => account.subscription as SubscriptionRecord), ...rest }
    },
    evidence: (tenant) => recorded.filter((draft) => draft.tenant === tenant)
  }
}

/** When a record falls due. */
function dueOf({ endedAt, paying, period }: SubscriptionRecord, now: number): number | undefined {
  if (endedAt !== undefined) return undefined
  return paying === undefined ? period.to : now + PAYMENT_RETRY_MS
}

function claim(
  accounts: readonly Account[],
  field: 'dueAt' | 'subscriptionDueAt',
  { limit, leaseMs }: { readonly limit: number; readonly leaseMs: number },
  now: number
): { readonly claimed: readonly Account[]; readonly now: number; readonly nextDueInMs: number | undefined } {
  const dueAt = (account: Account): number => account[field] ?? Number.POSITIVE_INFINITY
  const sorted = accounts.filter((account) => account[field] !== undefined).sort((a, b) => dueAt(a) - dueAt(b))
  const claimed = sorted.filter((account) => dueAt(account) <= now).slice(0, limit)
  const ahead = sorted.find((account) => dueAt(account) > now)
  for (const account of claimed) account[field] = now + leaseMs
  return { claimed, now, nextDueInMs: ahead === undefined ? undefined : dueAt(ahead) - now }
}
