import assert from 'node:assert/strict'
import type { ConformanceKit } from '@enablement/core/testing'
import type { Invoice, InvoiceLine } from '../billing/invoice.ts'
import type { BillingAccount, InvoiceStore, PendingAdjustment } from '../billing/invoice-store.ts'
import type { Plan } from '../billing/plan.ts'
import type { SubscriptionRecord, SubscriptionStore } from '../billing/subscription-store.ts'
import type { CalendarPeriod } from '../calendar/calendar.ts'
import { widestIdentifier } from './widest-identifier.ts'

/** A fresh invoice store under examination. */
export interface InvoiceStoreSubject extends AsyncDisposable {
  readonly store: InvoiceStore & SubscriptionStore
  /** The store's own clock, which stands until it is set. */
  readonly clock: {
    now(): number
    /** Sets the clock, either way. */
    jumpWallTo(at: number): void
  }
  /** A tenant of whom the store knows nothing, so that subjects may share a server. */
  readonly tenant: string
}

/** Makes a subject. */
export type CreateInvoiceStore = () => Promise<InvoiceStoreSubject>

const JANUARY: CalendarPeriod = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 1, 1) }
const FEBRUARY: CalendarPeriod = { from: Date.UTC(2026, 1, 1), to: Date.UTC(2026, 2, 1) }

const usageLine = (metric: string, quantity: bigint, minorUnits: bigint, period = JANUARY): InvoiceLine => ({
  kind: 'usage',
  description: metric,
  period,
  metric,
  quantity,
  events: 1,
  minorUnits,
  exact: '1.5'
})

interface Exam extends InvoiceStoreSubject {
  readonly invoice: (lines: readonly InvoiceLine[], fields?: Partial<Invoice>) => Invoice
  readonly adjustment: (idempotencyKey: string, line: InvoiceLine, subscription?: string) => PendingAdjustment
  readonly put: (invoice: Invoice, takes?: readonly string[], revision?: number) => ReturnType<InvoiceStore['put']>
  readonly adjust: (...adjustments: readonly PendingAdjustment[]) => Promise<readonly string[]>
  readonly pendingKeys: () => Promise<readonly string[]>
  readonly account: (fields?: Partial<BillingAccount>) => BillingAccount
  readonly record: (fields?: Partial<SubscriptionRecord>) => SubscriptionRecord
  /** This tenant's among those that are due, claimed for 0 ms unless told otherwise; a shared store has others. */
  readonly claimed: (leaseMs?: number) => Promise<readonly CalendarPeriod[]>
  readonly claimedRecords: (leaseMs?: number) => Promise<readonly SubscriptionRecord[]>
}

const PLAN: Plan = {
  name: 'pro',
  currency: 'EUR',
  minorUnits: 2_000,
  calendar: { every: { months: 1 }, timeZone: 'UTC', anchor: '2026-01-01' }
}

const DUE_MAX = 100_000

function exam(body: (exam: Exam) => Promise<void>): (create: CreateInvoiceStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, tenant } = subject
    await body({
      ...subject,
      [Symbol.asyncDispose]: async () => {},
      invoice: (lines, fields = {}) => ({
        id: `inv_${tenant}`,
        tenant,
        subscription: 'sub',
        currency: 'EUR',
        period: JANUARY,
        status: 'final',
        issuedAt: FEBRUARY.from,
        lines,
        minorUnits: lines.reduce((sum, line) => sum + line.minorUnits, 0n),
        ...fields
      }),
      adjustment: (idempotencyKey, line, subscription = 'sub') => ({
        idempotencyKey,
        tenant,
        subscription,
        currency: 'EUR',
        line
      }),
      put: (invoice, takes = [], revision) =>
        store.put(invoice, { takes, evidence: [], ...(revision === undefined ? {} : { revision }) }),
      adjust: async (...adjustments) =>
        (await store.adjust(adjustments, { evidence: [] })).map(({ outcome }) => outcome),
      pendingKeys: async () => (await store.pending(tenant, 'sub')).map(({ idempotencyKey }) => idempotencyKey),
      account: (fields = {}) => ({
        tenant,
        subscription: 'sub',
        calendar: PLAN.calendar,
        next: JANUARY,
        ...fields
      }),
      record: (fields = {}) => ({
        tenant,
        subscription: 'sub',
        revision: 1,
        plan: PLAN,
        period: JANUARY,
        since: JANUARY.from,
        charged: 2_000,
        ...fields
      }),
      claimed: async (leaseMs = 0) =>
        (await store.claimAccounts({ limit: DUE_MAX, leaseMs })).accounts.flatMap((one) =>
          one.tenant === tenant ? [one.next] : []
        ),
      claimedRecords: async (leaseMs = 0) =>
        (await store.claimSubscriptions({ limit: DUE_MAX, leaseMs })).subscriptions.filter(
          (one) => one.tenant === tenant
        )
    })
  }
}

/** The exam of an `InvoiceStore` with its `SubscriptionStore`. */
export const invoiceStoreConformance: ConformanceKit<CreateInvoiceStore, never> = {
  name: 'InvoiceStore',
  needs: [],
  cases: [
    {
      name: 'gives back what was put, line by line',
      run: exam(async ({ invoice, put, store, tenant }) => {
        const bare: InvoiceLine = {
          kind: 'plan',
          description: 'Pro',
          period: FEBRUARY,
          minorUnits: -5n,
          exact: '-7/180'
        }
        const made = invoice([bare, usageLine('tokens', 10n ** 25n, 10n ** 22n), usageLine('calls', 0n, 0n)])
        assert.equal(await store.find(tenant, 'sub', JANUARY), undefined)
        assert.deepEqual(await put(made), { outcome: 'stored' })
        assert.deepEqual(await store.find(tenant, 'sub', JANUARY), made)
        assert.equal(await store.find(tenant, 'sub', FEBRUARY), undefined)
        assert.equal(await store.find(tenant, 'other', JANUARY), undefined)
      })
    },
    {
      name: 'replaces drafts, and never a final invoice',
      run: exam(async ({ invoice, put, store, tenant }) => {
        const draft = invoice([usageLine('tokens', 1n, 1n), usageLine('calls', 1n, 1n)], { status: 'draft' })
        const second = invoice([usageLine('tokens', 2n, 2n)], { status: 'draft' })
        const final = invoice([usageLine('tokens', 3n, 3n)])
        assert.deepEqual(await put(draft), { outcome: 'stored' })
        assert.deepEqual(await put(second), { outcome: 'stored' })
        assert.deepEqual(await store.find(tenant, 'sub', JANUARY), second)
        assert.deepEqual(await store.billed(tenant, 'sub', JANUARY), [])
        assert.deepEqual(await put(final), { outcome: 'stored' })
        assert.deepEqual(await put(invoice([usageLine('tokens', 4n, 4n)])), { outcome: 'exists', invoice: final })
        assert.deepEqual(await put(draft), { outcome: 'exists', invoice: final })
        assert.deepEqual(await store.find(tenant, 'sub', JANUARY), final)
      })
    },
    {
      name: 'keeps an adjustment once for its key, in order, until an invoice takes it',
      run: exam(async ({ adjustment, adjust, invoice, pendingKeys, put, store, tenant }) => {
        const line = usageLine('tokens', 1n, 1n)
        const long = `key ${'x'.repeat(3_000)} ä 💶`
        assert.deepEqual(await adjust(adjustment('b', line), adjustment('a', line), adjustment('b', line)), [
          'put',
          'put',
          'known'
        ])
        assert.deepEqual(await adjust(adjustment('a', usageLine('calls', 9n, 9n)), adjustment(long, line)), [
          'known',
          'put'
        ])
        assert.deepEqual(await adjust(adjustment('a', line, 'other')), ['put'])
        assert.deepEqual(await pendingKeys(), ['b', 'a', long])
        assert.deepEqual((await store.pending(tenant, 'sub'))[1], adjustment('a', line))
        assert.deepEqual(await put(invoice([line]), ['a', long]), { outcome: 'stored' })
        assert.deepEqual(await pendingKeys(), ['b'])
        assert.deepEqual(await adjust(adjustment('a', line)), ['known'])
        assert.deepEqual(await pendingKeys(), ['b'])
      })
    },
    {
      name: 'lets one invoice take an adjustment, and stores nothing of a second that wants it',
      run: exam(async ({ adjustment, adjust, invoice, put, store, tenant }) => {
        const line = usageLine('tokens', 1n, 1n)
        await adjust(adjustment('a', line), adjustment('b', line))
        assert.deepEqual(await put(invoice([line]), ['a']), { outcome: 'stored' })
        const second = invoice([line], { period: FEBRUARY, id: 'second' })
        assert.deepEqual(await put(second, ['b', 'a']), { outcome: 'stale' })
        assert.deepEqual(await put(second, ['b', 'none']), { outcome: 'stale' })
        assert.equal(await store.find(tenant, 'sub', FEBRUARY), undefined)
        assert.equal((await store.pending(tenant, 'sub')).length, 1)
        assert.deepEqual(await put(second, ['b']), { outcome: 'stored' })
      })
    },
    {
      name: 'refuses an invoice of an older revision, and changes nothing',
      run: exam(async ({ adjustment, adjust, invoice, put, store, tenant }) => {
        const line = usageLine('tokens', 1n, 1n)
        const before = await store.revision(tenant, 'sub')
        assert.equal(before, 0)
        await adjust(adjustment('a', line))
        const after = await store.revision(tenant, 'sub')
        assert.ok(after > before)
        await adjust(adjustment('a', line))
        assert.equal(await store.revision(tenant, 'sub'), after, 'what is known changes nothing')
        assert.deepEqual(await put(invoice([line]), [], before), { outcome: 'stale' })
        assert.equal(await store.find(tenant, 'sub', JANUARY), undefined)
        assert.deepEqual(await put(invoice([line], { status: 'draft' })), { outcome: 'stored' })
        assert.equal(await store.revision(tenant, 'sub'), after, 'a draft bills nothing')
        assert.deepEqual(await put(invoice([line]), ['a'], after), { outcome: 'stored' })
        assert.ok((await store.revision(tenant, 'sub')) > after)
        assert.equal(await store.revision(tenant, 'other'), 0)
      })
    },
    {
      name: 'adds up what bills a period, wherever it is billed',
      run: exam(async ({ adjustment, adjust, invoice, put, store, tenant }) => {
        await adjust(
          adjustment('taken', usageLine('tokens', -2n, -20n)),
          adjustment('waits', usageLine('calls', 3n, 30n))
        )
        await put(invoice([usageLine('tokens', 10n ** 24n, 100n), usageLine('tokens', -2n, -20n)]), ['taken'])
        const late = usageLine('tokens', 5n, 50n)
        await put(invoice([late, usageLine('tokens', 7n, 70n, FEBRUARY)], { period: FEBRUARY, id: 'second' }))
        assert.deepEqual(await store.billed(tenant, 'sub', JANUARY), [
          { metric: 'calls', quantity: 3n, events: 1, minorUnits: 30n },
          { metric: 'tokens', quantity: 10n ** 24n + 3n, events: 3, minorUnits: 130n }
        ])
        assert.deepEqual(await store.billed(tenant, 'sub', FEBRUARY), [
          { metric: 'tokens', quantity: 7n, events: 1, minorUnits: 70n }
        ])
        assert.deepEqual(await store.billed(tenant, 'other', JANUARY), [])
      })
    },
    {
      name: 'stores one of many final invoices that come at the same time',
      run: exam(async ({ adjustment, adjust, invoice, put, store, tenant }) => {
        await adjust(...Array.from({ length: 5 }, (_, at) => adjustment(`k${at}`, usageLine('tokens', 1n, 1n))))
        const revision = await store.revision(tenant, 'sub')
        const answers = await Promise.all(
          Array.from({ length: 12 }, (_, at) =>
            put(
              invoice([usageLine('tokens', BigInt(at), BigInt(at))], { period: at % 2 === 0 ? JANUARY : FEBRUARY }),
              ['k0', 'k3'],
              revision
            )
          )
        )
        const stored = answers.flatMap(({ outcome }, at) => (outcome === 'stored' ? [at] : []))
        assert.equal(stored.length, 1)
        assert.equal((await store.pending(tenant, 'sub')).length, 3)
        const winner = (stored[0] as number) % 2 === 0 ? JANUARY : FEBRUARY
        assert.equal((await store.find(tenant, 'sub', winner))?.minorUnits, BigInt(stored[0] as number))
        assert.equal(await store.find(tenant, 'sub', winner === JANUARY ? FEBRUARY : JANUARY), undefined)
      })
    },
    {
      name: 'puts each of many adjustments once that come at the same time, in any order',
      run: exam(async ({ adjustment, adjust, pendingKeys }) => {
        const all = Array.from({ length: 20 }, (_, at) =>
          adjustment(`k${at}`, usageLine('tokens', 1n, 1n), at % 2 === 0 ? 'sub' : 'other')
        )
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, at) => adjust(...(at % 2 === 0 ? all : all.toReversed())))
        )
        assert.equal(answers.flat().filter((outcome) => outcome === 'put').length, 20)
        assert.equal((await pendingKeys()).length, 10)
      })
    },
    {
      name: 'gives at most a thousand adjustments at a time, the oldest first',
      run: exam(async ({ adjustment, adjust, pendingKeys, invoice, put }) => {
        const keys = Array.from({ length: 1_050 }, (_, at) => `k${at}`)
        for (const from of [0, 500, 1_000]) {
          await adjust(...keys.slice(from, from + 500).map((key) => adjustment(key, usageLine('tokens', 1n, 1n))))
        }
        const first = await pendingKeys()
        assert.deepEqual(first, keys.slice(0, 1_000))
        await put(invoice([]), first)
        assert.deepEqual(await pendingKeys(), keys.slice(1_000))
      })
    },
    {
      name: 'takes identifiers of the greatest length and width together',
      run: exam(async ({ invoice, put, store, tenant: own, adjustment, record }) => {
        const tenant = widestIdentifier(7, own)
        const subscription = widestIdentifier(11)
        const metric = widestIdentifier(13)
        const made = invoice([usageLine(metric, 1n, 1n)], { tenant, subscription })
        assert.deepEqual(await put(made), { outcome: 'stored' })
        assert.deepEqual(await store.find(tenant, subscription, JANUARY), made)
        await store.adjust([{ ...adjustment(metric, usageLine(metric, 2n, 2n)), tenant, subscription }], {
          evidence: []
        })
        assert.deepEqual(await store.billed(tenant, subscription, JANUARY), [
          { metric, quantity: 3n, events: 2, minorUnits: 3n }
        ])
        const wide = record({ tenant, subscription })
        await store.commitSubscription({ subscription: wide, adjustments: [], evidence: [] })
        assert.deepEqual(await store.findSubscription(tenant, subscription), wide)
      })
    },
    {
      name: 'keeps names apart that are one text when joined',
      run: exam(async ({ adjustment, store, tenant }) => {
        const line = usageLine('tokens', 1n, 1n)
        const pairs = [':', '/', '","', '|', "'; drop table", '\\'].flatMap((joint): [string, string][] => [
          [`${tenant}${joint}a`, 'b'],
          [tenant, `a${joint}b`],
          [`${tenant}${joint}`, `${joint}b`]
        ])
        for (const [owner, subscription] of pairs) {
          await store.adjust([{ ...adjustment('k', line), tenant: owner, subscription }], { evidence: [] })
        }
        for (const [owner, subscription] of pairs) {
          assert.equal((await store.pending(owner, subscription)).length, 1)
        }
      })
    },
    {
      name: 'lets an account fall due, and go on with the invoice that it was due for',
      run: exam(async ({ account, claimed, clock, invoice, store }) => {
        const dueAt = clock.now() + 1_000
        assert.deepEqual(await store.enroll(account(), { dueAt }), { outcome: 'enrolled' })
        assert.deepEqual(await store.enroll(account({ next: FEBRUARY }), { dueAt: 0 }), { outcome: 'known' })
        clock.jumpWallTo(dueAt - 1)
        assert.deepEqual(await claimed(), [])
        clock.jumpWallTo(dueAt)
        assert.deepEqual(await claimed(), [JANUARY])
        const next = { period: FEBRUARY, dueAt: dueAt + 5_000 }
        const other = invoice([], { period: FEBRUARY, id: 'early' })
        await store.put(other, { takes: [], evidence: [], next: { period: JANUARY, dueAt: 0 } })
        assert.deepEqual(await claimed(), [JANUARY], 'an invoice of another period moves nothing')
        assert.deepEqual(await claimed(1_000), [JANUARY])
        assert.deepEqual(await claimed(), [], "it is somebody else's")
        clock.jumpWallTo(dueAt + 999)
        assert.deepEqual(await claimed(), [])
        clock.jumpWallTo(dueAt + 1_000)
        assert.deepEqual(await claimed(), [JANUARY])
        await store.put(invoice([]), { takes: [], evidence: [], next })
        assert.deepEqual(await claimed(), [])
        clock.jumpWallTo(dueAt + 5_000)
        assert.deepEqual(await claimed(), [FEBRUARY])
        await store.put(other, { takes: [], evidence: [], next: { period: JANUARY, dueAt: dueAt + 9_000 } })
        assert.deepEqual(await claimed(), [], 'one that exists moves it, too')
      })
    },
    {
      name: 'commits a subscription with what belongs to it, or none of it',
      run: exam(async ({ adjustment, pendingKeys, record, store, tenant }) => {
        const line = usageLine('tokens', 1n, 1n)
        const change = {
          tenant,
          subscription: 'sub',
          idempotencyKey: 'change-1',
          fingerprint: 'f',
          status: 'done',
          decisionJson: '{}'
        } as const
        const write = { subscription: record(), change, adjustments: [adjustment('a', line)], evidence: [] }
        assert.equal(await store.findSubscription(tenant, 'sub'), undefined)
        assert.equal(await store.findChange(tenant, 'sub', 'change-1'), undefined)
        assert.deepEqual(await store.commitSubscription(write), { outcome: 'committed' })
        assert.deepEqual(await store.findSubscription(tenant, 'sub'), record())
        assert.deepEqual(await store.findChange(tenant, 'sub', 'change-1'), change)
        assert.equal(await store.findChange(tenant, 'other', 'change-1'), undefined)

        const stale = {
          ...write,
          change: { ...change, idempotencyKey: 'change-2' },
          adjustments: [adjustment('b', line)]
        }
        for (const revision of [1, 3]) {
          const answer = await store.commitSubscription({ ...stale, subscription: record({ revision, charged: 1 }) })
          assert.deepEqual(answer, { outcome: 'stale' })
        }
        assert.deepEqual(await store.findSubscription(tenant, 'sub'), record())
        assert.equal(await store.findChange(tenant, 'sub', 'change-2'), undefined)
        assert.deepEqual(await pendingKeys(), ['a'])

        const plan = { ...PLAN, name: 'max', credits: 3 }
        const pending = { kind: 'change', plan, idempotencyKey: 'change-3' } as const
        const second = record({ revision: 2, pending, paying: 'change-1' })
        await store.commitSubscription({ ...stale, subscription: second, change: { ...change, status: 'paying' } })
        assert.deepEqual(await store.findSubscription(tenant, 'sub'), second)
        assert.deepEqual(await store.findChange(tenant, 'sub', 'change-1'), { ...change, status: 'paying' })
      })
    },
    {
      name: 'commits one of many steps from the same revision',
      run: exam(async ({ adjustment, pendingKeys, record, store }) => {
        const line = usageLine('tokens', 1n, 1n)
        for (const revision of [1, 2]) {
          const answers = await Promise.all(
            Array.from({ length: 8 }, (_, at) =>
              store.commitSubscription({
                subscription: record({ revision, charged: at }),
                adjustments: [adjustment(`${revision}-${at}`, line)],
                evidence: []
              })
            )
          )
          assert.equal(answers.filter(({ outcome }) => outcome === 'committed').length, 1)
          assert.equal((await pendingKeys()).length, revision)
        }
      })
    },
    {
      name: 'lets a subscription fall due at the end of its period, and a minute after a payment began',
      run: exam(async ({ claimedRecords, clock, record, store }) => {
        const from = clock.now()
        const period = { from, to: from + 1_000_000 }
        const first = record({ period })
        await store.commitSubscription({ subscription: first, adjustments: [], evidence: [] })
        clock.jumpWallTo(period.to - 1)
        assert.deepEqual(await claimedRecords(), [])
        clock.jumpWallTo(period.to)
        assert.deepEqual(await claimedRecords(), [first])
        const paying = record({ period, revision: 2, paying: 'k' })
        await store.commitSubscription({ subscription: paying, adjustments: [], evidence: [] })
        clock.jumpWallTo(period.to + 59_999)
        assert.deepEqual(await claimedRecords(), [])
        clock.jumpWallTo(period.to + 60_000)
        assert.deepEqual(await claimedRecords(), [paying])
      })
    },
    {
      name: 'gives each due subscription and each due account to one of many claims',
      run: exam(async ({ account, claimed, claimedRecords, clock, record, store }) => {
        const period = { from: clock.now() - 1_000, to: clock.now() }
        for (let at = 0; at < 5; at++) {
          const subscription = `sub-${at}`
          await store.commitSubscription({
            subscription: record({ subscription, period }),
            adjustments: [],
            evidence: []
          })
          await store.enroll(account({ subscription }), { dueAt: clock.now() })
        }
        const claims = await Promise.all(Array.from({ length: 6 }, () => claimedRecords(1_000)))
        assert.deepEqual(
          claims
            .flat()
            .map(({ subscription }) => subscription)
            .sort(),
          [0, 1, 2, 3, 4].map((at) => `sub-${at}`)
        )
        assert.equal((await Promise.all(Array.from({ length: 6 }, () => claimed(1_000)))).flat().length, 5)
        clock.jumpWallTo(period.to + 1_000)
        assert.equal((await claimedRecords()).length, 5, 'a claim ends by itself')
        assert.equal((await claimed()).length, 5)
      })
    },
    {
      name: 'never lets an ended subscription fall due, and tells its invoices',
      run: exam(async ({ claimedRecords, clock, invoice, put, record, store, tenant }) => {
        const period = { from: clock.now() - 1_000, to: clock.now() }
        await store.commitSubscription({ subscription: record({ period }), adjustments: [], evidence: [] })
        assert.equal(await store.endedAt(tenant, 'sub'), undefined)
        const before = await store.revision(tenant, 'sub')
        const ended = record({ period, revision: 2, endedAt: period.to - 1 })
        await store.commitSubscription({ subscription: ended, adjustments: [], evidence: [] })
        assert.deepEqual(await store.findSubscription(tenant, 'sub'), ended)
        assert.equal(await store.endedAt(tenant, 'sub'), period.to - 1)
        assert.equal(await store.endedAt(tenant, 'other'), undefined)
        assert.deepEqual(await put(invoice([]), [], before), { outcome: 'stale' })
        clock.jumpWallTo(period.to + 10_000_000)
        assert.deepEqual(await claimedRecords(), [])
      })
    },
    {
      name: 'lets an account pass a period without an invoice, or for good, unless its bills changed',
      run: exam(async ({ account, adjust, adjustment, claimed, clock, store, tenant }) => {
        const now = clock.now()
        const billed = { tenant, subscription: 'sub', period: JANUARY }
        await store.enroll(account(), { dueAt: now })
        await adjust(adjustment('a', usageLine('tokens', 1n, 1n)))
        const revision = await store.revision(tenant, 'sub')
        const next = { period: FEBRUARY, dueAt: now }
        assert.deepEqual(await store.pass(billed, { revision: revision - 1, next }), { outcome: 'stale' })
        assert.deepEqual(await store.pass(billed, { revision: revision - 1 }), { outcome: 'stale' })
        assert.deepEqual(await claimed(), [JANUARY])
        assert.deepEqual(await store.pass(billed, { revision, next }), { outcome: 'passed' })
        assert.deepEqual(await claimed(), [FEBRUARY])
        assert.deepEqual(await store.pass(billed, { revision }), { outcome: 'passed' })
        assert.deepEqual(await claimed(), [FEBRUARY], 'another period than the next moves nothing')
        assert.deepEqual(await store.pass({ ...billed, period: FEBRUARY }, { revision }), { outcome: 'passed' })
        clock.jumpWallTo(now + 10_000_000)
        assert.deepEqual(await claimed(), [])
      })
    }
  ]
}
