import assert from 'node:assert/strict'
import { isSuiteError } from '@enablement/core'
import type { ConformanceKit } from '@enablement/core/testing'
import type { BurnOrder } from '../credit/burn-order.ts'
import type { CreditStore } from '../credit/credit-store.ts'
import { type CreditsOptions, createCredits } from '../credit/credits.ts'
import { deriveWallet } from '../credit/derive-wallet.ts'
import type { CreditEntry, CreditGrant, Wallet } from '../credit/wallet.ts'
import { widestIdentifier } from './widest-identifier.ts'

/** A fresh credit store under examination. */
export interface CreditStoreSubject extends AsyncDisposable {
  readonly store: CreditStore
  /** The store's own clock, which stands until it is set. It shows an instant of the year 2040 or later at first. */
  readonly clock: {
    now(): number
    jumpWallTo(epochMs: number): void
  }
  /** A tenant of whom the store knows nothing. */
  readonly tenant: string
}

/** Makes a subject. */
export type CreateCreditStore = () => Promise<CreditStoreSubject>

const DAY_MS = 86_400_000

/** 2040-08-10T00:00:00Z. */
const START_AT = Date.UTC(2040, 7, 10)

const CREDITS = { name: 'credits', scale: 0 }

type Options = Partial<Omit<CreditsOptions, 'store'>>

interface Exam extends CreditStoreSubject {
  /** A wallet of whole credits, under the exam's options. */
  readonly wallet: Wallet
  walletOf(options: Options, account?: string, unit?: string): Wallet
  /** Grants that exist at the start; answers must be `granted`. */
  granted(
    ...grants: readonly (Partial<CreditGrant> & { readonly id: string; readonly amount: string })[]
  ): Promise<void>
  /** What each grant has left, free, as the ledger says; and that the ledger and the balance agree. */
  left(wallet?: Wallet): Promise<Record<string, number>>
}

function exam(options: Options, body: (exam: Exam) => Promise<void>): (create: CreateCreditStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, clock, tenant } = subject
    clock.jumpWallTo(START_AT)
    const walletOf = (other: Options, account = 'acc', unit = 'credits'): Wallet =>
      createCredits({
        store,
        units: [CREDITS, { name: 'fine', scale: 6 }],
        onOverrun: 'owe',
        expiredReversal: 'breakage',
        ...options,
        ...other
      }).wallet({ tenant, account, unit })
    const wallet = walletOf({})
    await body({
      ...subject,
      wallet,
      walletOf,
      async granted(...grants) {
        for (const grant of grants) {
          const { outcome } = await wallet.grant(grant)
          assert.equal(outcome, 'granted')
        }
      },
      async left(of = wallet) {
        const { balance, free, held, owed, waiting } = await of.balance()
        const derived = deriveWallet(
          (await ledger(of)).map(({ amount, ...entry }) => ({ ...entry, amount: BigInt(amount) }))
        )
        assert.deepEqual(
          { balance, free, held, owed, waiting },
          {
            balance: `${derived.balance}`,
            free: `${derived.free}`,
            held: `${derived.held}`,
            owed: `${derived.owed}`,
            waiting: `${derived.waiting}`
          }
        )
        return Object.fromEntries([...derived.grants].map(([grant, { free: units }]) => [grant, Number(units)]))
      },
      [Symbol.asyncDispose]: async () => {}
    })
  }
}

/** A wallet's whole ledger. */
async function ledger(wallet: Wallet): Promise<readonly CreditEntry[]> {
  const entries: CreditEntry[] = []
  for (;;) {
    const page = await wallet.entries({ after: entries.length, limit: 1_000 })
    entries.push(...page)
    if (page.length < 1_000) return entries
  }
}

let keys = 0
const key = (): { readonly idempotencyKey: string } => {
  keys += 1
  return { idempotencyKey: `key-${keys}` }
}

/** Who paid, of a charge that went through. */
async function paid(wallet: Wallet, amount: string, metric?: string): Promise<readonly string[]> {
  const answer = await wallet.charge(amount, { ...key(), ...(metric === undefined ? {} : { metric }) })
  assert.equal(answer.outcome, 'charged', JSON.stringify(answer))
  if (answer.outcome !== 'charged') return []
  return answer.fundings.map(({ grant, amount: part }) => `${grant ?? 'overdraft'} ${part}`)
}

const SEP_1 = Date.UTC(2040, 8, 1)
const AUG_15 = Date.UTC(2040, 7, 15)

/** Grants in the order that a profile burns them in, given in another: what comes first differs in the field named. */
const ORDERS: readonly {
  readonly order: BurnOrder
  readonly made: readonly (Partial<CreditGrant> & { readonly id: string })[]
  readonly burnt: readonly string[]
}[] = [
  {
    order: 'expiry-fifo',
    made: [
      { id: 'never' },
      { id: 'b', expiresAt: SEP_1 },
      { id: 'a', expiresAt: SEP_1 },
      { id: 'ab', expiresAt: SEP_1 },
      { id: 'ranked', expiresAt: SEP_1, priority: 1 },
      { id: 'soon', expiresAt: AUG_15, priority: 99 }
    ],
    burnt: ['soon', 'ranked', 'a', 'ab', 'b', 'never']
  },
  {
    order: 'stripe',
    made: [
      { id: 'second', priority: 2 },
      { id: 'never', priority: 1 },
      { id: 'paid', priority: 1, expiresAt: SEP_1 },
      { id: 'promotional', priority: 1, expiresAt: SEP_1, category: 'promotional' },
      { id: 'earlier', priority: 1, expiresAt: SEP_1, category: 'promotional', effectiveAt: START_AT - 1 }
    ],
    burnt: ['earlier', 'promotional', 'paid', 'never', 'second']
  },
  {
    order: 'openmeter',
    made: [
      { id: 'late-second', priority: 1, expiresAt: SEP_1 + 1_000 },
      { id: 'z', priority: 1, expiresAt: SEP_1 },
      { id: 'a', priority: 1, expiresAt: SEP_1 + 999 },
      { id: 'lower', priority: 2, expiresAt: AUG_15 }
    ],
    burnt: ['a', 'z', 'late-second', 'lower']
  },
  {
    order: 'kong',
    made: [
      { id: 'a', priority: 1, expiresAt: SEP_1 + 999 },
      { id: 'z', priority: 1, expiresAt: SEP_1 },
      { id: 'never', priority: 1 },
      { id: 'lower', priority: 2, expiresAt: AUG_15 }
    ],
    burnt: ['z', 'a', 'never', 'lower']
  },
  {
    order: 'lago',
    made: [
      { id: 'purchased', priority: 1, expiresAt: AUG_15 },
      { id: 'granted', priority: 1, category: 'promotional' },
      { id: 'lower', priority: 2, category: 'promotional' }
    ],
    burnt: ['granted', 'purchased', 'lower']
  },
  {
    order: 'orb',
    made: [
      { id: 'any', expiresAt: AUG_15 },
      { id: 'dear', metrics: ['m'], expiresAt: SEP_1, costBasis: '10' },
      { id: 'cheap', metrics: ['m'], expiresAt: SEP_1, costBasis: '9.5' },
      { id: 'later', metrics: ['m', 'n'], costBasis: '0' }
    ],
    burnt: ['cheap', 'dear', 'later', 'any']
  },
  {
    order: 'metronome',
    made: [
      { id: 'lower', priority: 2 },
      { id: 'any', priority: 1, expiresAt: AUG_15, costBasis: '1' },
      { id: 'two', priority: 1, metrics: ['m', 'n'], costBasis: '1' },
      { id: 'one', priority: 1, metrics: ['m'], costBasis: '1' },
      { id: 'one-sooner', priority: 1, metrics: ['m'], costBasis: '1', expiresAt: SEP_1 },
      { id: 'started', priority: 1, metrics: ['m'], costBasis: '1', expiresAt: SEP_1, effectiveAt: START_AT - 1 },
      { id: 'free', priority: 1, costBasis: '0.00' }
    ],
    burnt: ['free', 'started', 'one-sooner', 'one', 'two', 'any', 'lower']
  },
  {
    order: 'autumn',
    made: [{ id: 'never' }, { id: 'main', expiresAt: SEP_1 }],
    burnt: ['main', 'never']
  },
  {
    order: 'flexprice',
    made: [
      { id: 'lower', priority: 2, expiresAt: AUG_15 },
      { id: 'never', priority: 1 },
      { id: 'x', priority: 1, expiresAt: SEP_1 },
      { id: 'y', priority: 1, expiresAt: AUG_15 }
    ],
    burnt: ['x', 'y', 'never', 'lower']
  }
]

/** The exam of a `CreditStore`. Cases that begin with B and a number are public worked examples. */
export const creditStoreConformance: ConformanceKit<CreateCreditStore, never> = {
  name: 'CreditStore',
  needs: [],
  cases: [
    {
      name: 'B1: promotional before paid within one priority and expiry (stripe)',
      run: exam({ burnOrder: 'stripe' }, async ({ wallet, granted, left }) => {
        await granted(
          { id: 'A', amount: '50', priority: 1, expiresAt: SEP_1 },
          { id: 'B', amount: '20', priority: 1, expiresAt: SEP_1, category: 'promotional' },
          { id: 'C', amount: '100', priority: 2, expiresAt: AUG_15, category: 'promotional' }
        )
        assert.deepEqual(await paid(wallet, '60'), ['B 20', 'A 40'])
        assert.deepEqual(await left(), { A: 10, C: 100 })
        assert.equal((await ledger(wallet)).filter(({ kind }) => kind === 'charged').length, 2)
      })
    },
    {
      name: 'B2: what is missing goes to the overdraft, and the next grant settles it first',
      run: exam({ overdraft: { upTo: '15' } }, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '10' })
        assert.deepEqual(await paid(wallet, '25'), ['g 10', 'overdraft 15'])
        assert.equal((await wallet.balance()).balance, '-15')
        assert.deepEqual(await wallet.charge('1', key()), {
          outcome: 'insufficient-credits',
          requested: '1',
          available: '0'
        })
        const next = await wallet.grant({ id: 'h', amount: '100' })
        assert.equal(next.outcome === 'granted' && next.settled, '15')
        assert.deepEqual(await left(), { h: 85 })
      })
    },
    {
      name: 'B3: the lower priority number first (openmeter)',
      run: exam({ burnOrder: 'openmeter' }, async ({ wallet, granted, left }) => {
        await granted({ id: 'g2', amount: '100', priority: 2 }, { id: 'g1', amount: '100', priority: 1 })
        assert.deepEqual(await paid(wallet, '120'), ['g1 100', 'g2 20'])
        assert.deepEqual(await left(), { g2: 80 })
      })
    },
    {
      name: 'B4: the earlier expiry first (openmeter)',
      run: exam({ burnOrder: 'openmeter' }, async ({ wallet, granted, left }) => {
        await granted(
          { id: 'g2', amount: '100', expiresAt: START_AT + 36_500 * DAY_MS },
          { id: 'g1', amount: '100', expiresAt: START_AT + 30 * DAY_MS }
        )
        await paid(wallet, '120')
        assert.deepEqual(await left(), { g2: 80 })
      })
    },
    {
      name: 'B7: a voided grant pays no more, and the overage is 50',
      run: exam({ overdraft: 'unlimited' }, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '100' })
        await paid(wallet, '50')
        const voided = await wallet.void('g', { idempotencyKey: 'v' })
        assert.deepEqual(voided, { outcome: 'voided', amount: '50', replayed: false })
        assert.deepEqual(await wallet.void('g', { idempotencyKey: 'v' }), { ...voided, replayed: true })
        assert.deepEqual(await paid(wallet, '50'), ['overdraft 50'])
        assert.deepEqual(await left(), {})
        assert.equal((await wallet.balance()).owed, '50')
      })
    },
    {
      name: 'B8: a grant lives in [effective, expires), to the millisecond',
      run: exam({}, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '50', effectiveAt: START_AT + 10, expiresAt: START_AT + 20 })
        for (const [at, available] of [
          [0, '0'],
          [9, '0'],
          [10, '50'],
          [19, '50'],
          [20, '0']
        ] as const) {
          clock.jumpWallTo(START_AT + at)
          assert.equal((await wallet.balance()).free, available, `at ${at}`)
        }
        assert.deepEqual(await wallet.charge('50', key()), {
          outcome: 'insufficient-credits',
          requested: '50',
          available: '0'
        })
        clock.jumpWallTo(START_AT + 15)
        assert.equal((await wallet.balance()).free, '0', 'a clock set back brings nothing back')
        assert.deepEqual(await left(), {})
        const entries = await ledger(wallet)
        assert.deepEqual(
          entries.map(({ kind, at, amount }) => [kind, at - START_AT, amount]),
          [
            ['promised', 0, '50'],
            ['activated', 10, '50'],
            ['expired', 20, '50']
          ]
        )
      })
    },
    {
      name: 'B11: the overage of one day comes out of the next (100 recurring daily, 120 used, 80 left)',
      run: exam({ overdraft: 'unlimited' }, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '100', recurs: { everyMs: DAY_MS } })
        await paid(wallet, '120')
        clock.jumpWallTo(START_AT + DAY_MS)
        assert.deepEqual(await left(), { g: 80 })
      })
    },
    {
      name: 'B13: created, then id; then expiry; then priority (openmeter)',
      run: exam({ burnOrder: 'openmeter' }, async ({ wallet, clock, granted }) => {
        await granted({ id: 'z', amount: '1', priority: 1, expiresAt: SEP_1 })
        clock.jumpWallTo(START_AT + 1)
        await granted(
          { id: 'lower', amount: '1', priority: 2, expiresAt: AUG_15 },
          { id: 'no-expiry', amount: '1', priority: 1 },
          { id: 'later-expiry', amount: '1', priority: 1, expiresAt: SEP_1 + 1_000 },
          { id: 'b', amount: '1', priority: 1, expiresAt: SEP_1 },
          { id: 'a', amount: '1', priority: 1, expiresAt: SEP_1 }
        )
        assert.deepEqual(await paid(wallet, '6'), ['z 1', 'a 1', 'b 1', 'later-expiry 1', 'no-expiry 1', 'lower 1'])
      })
    },
    {
      name: 'B14: 100 with a roll-over of at most 50, 10 used: 50 at the reset',
      run: exam({ burnOrder: 'autumn' }, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '100', expiresAt: START_AT + DAY_MS, rollOver: { max: '50' } })
        await paid(wallet, '10')
        clock.jumpWallTo(START_AT + DAY_MS)
        assert.deepEqual(await left(), { g: 50 })
        const kinds = (await ledger(wallet)).map(({ kind, amount }) => `${kind} ${amount}`)
        assert.deepEqual(kinds, ['granted 100', 'charged 10', 'expired 40', 'rolled-over 50', 'granted 50'])
      })
    },
    {
      name: 'B16: two top-ups pay in the order they came, and the charge says how much each',
      run: exam({ burnOrder: 'lago' }, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'first', amount: '30' })
        clock.jumpWallTo(START_AT + 1)
        await granted({ id: 'a-second', amount: '50' })
        assert.deepEqual(await paid(wallet, '60'), ['first 30', 'a-second 30'])
        assert.deepEqual(await left(), { 'a-second': 20 })
      })
    },
    {
      name: 'B18: granted before purchased (lago)',
      run: exam({ burnOrder: 'lago' }, async ({ wallet, granted, left }) => {
        await granted({ id: 'purchased', amount: '70' }, { id: 'z', amount: '30', category: 'promotional' })
        assert.deepEqual(await paid(wallet, '80'), ['z 30', 'purchased 50'])
        assert.deepEqual(await left(), { purchased: 20 })
      })
    },
    {
      name: 'B20: voiding more than is left is refused, and nothing changes',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '30' })
        const entries = await ledger(wallet)
        assert.deepEqual(await wallet.void('g', { amount: '50', idempotencyKey: 'v' }), {
          outcome: 'insufficient-credits',
          requested: '50',
          available: '30'
        })
        assert.deepEqual(await ledger(wallet), entries)
        assert.equal((await wallet.void('g', { amount: '30', idempotencyKey: 'v' })).outcome, 'voided')
        assert.deepEqual(await left(), {})
      })
    },
    {
      name: 'B22: 60 of 30 (priority 1) and 50 (priority 2) are 30 and 30 (lago)',
      run: exam({ burnOrder: 'lago' }, async ({ wallet, granted, left }) => {
        await granted({ id: 'p2', amount: '50', priority: 2 }, { id: 'p1', amount: '30', priority: 1 })
        assert.deepEqual(await paid(wallet, '60'), ['p1 30', 'p2 30'])
        assert.deepEqual(await left(), { p2: 20 })
      })
    },
    {
      name: 'B25: a hold of 1000 of which 743 were used gives 257 back',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '1000' })
        const held = await wallet.hold('1000', { idempotencyKey: 'h', ttlMs: 1_000 })
        assert.equal(held.outcome, 'held')
        assert.equal((await wallet.balance()).free, '0')
        const committed = await wallet.commit('h', '743')
        assert.equal(committed.outcome === 'committed' && committed.returned, '257')
        assert.deepEqual(await wallet.commit('h', '743'), { ...committed, replayed: true })
        assert.deepEqual(await wallet.commit('h', '744'), { outcome: 'conflict', firstAmount: '743' })
        assert.deepEqual(await left(), { g: 257 })
      })
    },
    {
      name: 'B29: a top-up sent twice with one key counts once',
      run: exam({}, async ({ wallet, granted }) => {
        await granted({ id: 'free', amount: '10' })
        const first = await wallet.grant({ id: 'payment-1', amount: '100' })
        assert.deepEqual(await wallet.grant({ id: 'payment-1', amount: '100' }), { ...first, replayed: true })
        assert.equal((await wallet.grant({ id: 'payment-1', amount: '101' })).outcome, 'conflict')
        assert.equal((await wallet.balance()).balance, '110')
      })
    },
    ...ORDERS.map(({ order, made, burnt }) => ({
      name: `burns in the order of ${order}, whichever order grants come in`,
      run: exam({ burnOrder: order }, async ({ wallet, walletOf, left }) => {
        for (const [account, grants] of [
          ['given', made],
          ['reversed', made.toReversed()]
        ] as const) {
          const mine = walletOf({}, account)
          for (const grant of grants) {
            assert.equal((await mine.grant({ ...grant, amount: '2' })).outcome, 'granted', grant.id)
          }
          // One at a time and across two: the order does not depend on where charges cut it.
          const first = await paid(mine, '3', 'm')
          const rest = await paid(mine, `${2 * burnt.length - 3}`, 'm')
          assert.deepEqual(
            [...first, ...rest],
            burnt.flatMap((id, at) => (at === 1 ? [`${id} 1`, `${id} 1`] : [`${id} 2`]))
          )
          assert.deepEqual(await left(mine), {})
        }
        assert.deepEqual(await left(wallet), {})
      })
    })),
    {
      name: 'burns what was rolled over first (autumn), and rolls it over once',
      run: exam({ burnOrder: 'autumn' }, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '100', recurs: { everyMs: DAY_MS }, rollOver: { max: '50' } })
        clock.jumpWallTo(START_AT + DAY_MS)
        assert.deepEqual(await left(), { g: 150 })
        const answer = await wallet.charge('60', key())
        assert.deepEqual(answer.outcome === 'charged' && answer.fundings, [
          { grant: 'g', origin: 'rolled-over', amount: '50' },
          { grant: 'g', origin: 'renewed', amount: '10' }
        ])
        clock.jumpWallTo(START_AT + 3 * DAY_MS)
        assert.deepEqual(await left(), { g: 150 })
      })
    },
    {
      name: 'keeps the burn order that a wallet began with',
      run: exam({ burnOrder: 'kong' }, async ({ walletOf, granted }) => {
        await granted({ id: 'b', amount: '1', priority: 1 }, { id: 'a', amount: '1', priority: 2, expiresAt: SEP_1 })
        const other = walletOf({ burnOrder: 'expiry-fifo' })
        assert.equal((await other.balance()).burnOrder, 'kong')
        assert.deepEqual(await paid(other, '2'), ['b 1', 'a 1'])
      })
    },
    {
      name: 'refuses a charge that is too large, and changes and remembers nothing',
      run: exam({}, async ({ wallet, granted }) => {
        assert.deepEqual(await wallet.charge('1', { idempotencyKey: 'c' }), {
          outcome: 'insufficient-credits',
          requested: '1',
          available: '0'
        })
        assert.deepEqual(await wallet.entries(), [])
        await granted({ id: 'g', amount: '5' })
        const entries = await wallet.entries()
        assert.equal((await wallet.charge('6', { idempotencyKey: 'c' })).outcome, 'insufficient-credits')
        assert.equal((await wallet.hold('6', { idempotencyKey: 'c', ttlMs: 1 })).outcome, 'insufficient-credits')
        assert.deepEqual(await wallet.entries(), entries)
        assert.equal((await wallet.charge('5', { idempotencyKey: 'c' })).outcome, 'charged')
      })
    },
    {
      name: 'answers a repeated charge as at first, and another one of its key with a conflict',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '10' })
        const first = await wallet.charge('4', { idempotencyKey: 'c' })
        await wallet.charge('5', key())
        assert.deepEqual(await wallet.charge('4', { idempotencyKey: 'c' }), { ...first, replayed: true })
        assert.deepEqual(await wallet.charge('5', { idempotencyKey: 'c' }), { outcome: 'conflict', key: 'c' })
        assert.equal((await wallet.charge('4', { idempotencyKey: 'c', metric: 'm' })).outcome, 'conflict')
        assert.equal((await wallet.hold('4', { idempotencyKey: 'c', ttlMs: 9 })).outcome, 'conflict')
        assert.deepEqual(await left(), { g: 1 })
      })
    },
    {
      name: 'lets a hold use what expires before its commit, and expires what it gives back (pitfall 4.4.5)',
      run: exam({}, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '10', expiresAt: START_AT + 100 }, { id: 'h', amount: '5' })
        await wallet.hold('12', { idempotencyKey: 'hold', ttlMs: 1_000 })
        clock.jumpWallTo(START_AT + 500)
        const committed = await wallet.commit('hold', '4')
        assert.deepEqual(committed.outcome === 'committed' && committed.fundings, [
          { grant: 'g', origin: 'granted', amount: '4' }
        ])
        assert.deepEqual(await left(), { h: 5 })
        assert.deepEqual(
          (await ledger(wallet)).filter(({ kind }) => kind === 'expired').map(({ amount }) => amount),
          ['6']
        )
      })
    },
    {
      name: 'takes what a commit is above its hold from what is free, and owes the rest (pitfall 4.4.4)',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '10' })
        await wallet.hold('4', { idempotencyKey: 'h', ttlMs: 1_000 })
        const committed = await wallet.commit('h', '13')
        assert.deepEqual(committed, {
          outcome: 'committed',
          amount: '13',
          fundings: [
            { grant: 'g', origin: 'granted', amount: '4' },
            { grant: 'g', origin: 'granted', amount: '6' },
            { grant: null, origin: null, amount: '3' }
          ],
          returned: '0',
          overdrawn: '3',
          waived: '0',
          late: false,
          balance: '-3',
          replayed: false
        })
        assert.deepEqual(await left(), {})
        const reversed = await wallet.reverse('h', { idempotencyKey: 'r' })
        assert.deepEqual(reversed.outcome === 'reversed' && reversed.returned, [
          { grant: null, origin: null, amount: '3' },
          { grant: 'g', origin: 'granted', amount: '6' },
          { grant: 'g', origin: 'granted', amount: '4' }
        ])
        assert.deepEqual(await left(), { g: 10 })
      })
    },
    {
      name: 'waives what no grant can pay where the policy says so',
      run: exam({ onOverrun: 'waive' }, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '10' })
        await wallet.hold('10', { idempotencyKey: 'h', ttlMs: 1_000 })
        const committed = await wallet.commit('h', '13')
        assert.equal(committed.outcome === 'committed' && committed.waived, '3')
        const reversed = await wallet.reverse('h', { idempotencyKey: 'r' })
        assert.equal(reversed.outcome === 'reversed' && reversed.amount, '10')
        assert.deepEqual(await left(), { g: 10 })
      })
    },
    {
      name: 'gives a hold back when its time is over, to the millisecond, and bills a late commit all the same',
      run: exam({}, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '10' })
        await wallet.hold('8', { idempotencyKey: 'h', ttlMs: 100 })
        clock.jumpWallTo(START_AT + 99)
        assert.equal((await wallet.balance()).free, '2')
        clock.jumpWallTo(START_AT + 100)
        assert.equal((await wallet.balance()).free, '10')
        assert.deepEqual(await wallet.hold('8', { idempotencyKey: 'h', ttlMs: 100 }), {
          outcome: 'ended',
          how: 'lapsed'
        })
        await wallet.charge('9', key())
        const committed = await wallet.commit('h', '3')
        assert.equal(committed.outcome === 'committed' && committed.late, true)
        assert.equal(committed.outcome === 'committed' && committed.overdrawn, '2')
        assert.deepEqual(await left(), {})
        assert.equal((await wallet.balance()).balance, '-2')
      })
    },
    {
      name: 'extends and releases holds, each as often as it is asked',
      run: exam({}, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '10' })
        await wallet.hold('8', { idempotencyKey: 'h', ttlMs: 100 })
        assert.deepEqual(await wallet.extend('h', { ttlMs: 50 }), { outcome: 'held', expiresAt: START_AT + 100 })
        assert.deepEqual(await wallet.extend('h', { ttlMs: 200 }), { outcome: 'held', expiresAt: START_AT + 200 })
        clock.jumpWallTo(START_AT + 150)
        assert.equal((await wallet.balance()).held, '8')
        assert.deepEqual(await wallet.release('h'), { outcome: 'released', lapsed: false, replayed: false })
        assert.deepEqual(await wallet.release('h'), { outcome: 'released', lapsed: false, replayed: true })
        assert.deepEqual(await wallet.commit('h', '1'), { outcome: 'released' })
        assert.deepEqual(await wallet.extend('h', { ttlMs: 50 }), { outcome: 'released', lapsed: false })
        assert.deepEqual(await wallet.commit('no', '1'), { outcome: 'unknown-hold' })
        assert.deepEqual(await left(), { g: 10 })
      })
    },
    {
      name: 'reverses up to what was charged, to the same grants backwards (pitfall 4.4.7)',
      run: exam({ overdraft: 'unlimited' }, async ({ wallet, granted, left }) => {
        await granted({ id: 'a', amount: '10', expiresAt: AUG_15 }, { id: 'b', amount: '10' })
        await wallet.charge('25', { idempotencyKey: 'c' })
        const part = await wallet.reverse('c', { amount: '8', idempotencyKey: 'r1' })
        assert.deepEqual(part, {
          outcome: 'reversed',
          amount: '8',
          returned: [
            { grant: null, origin: null, amount: '5' },
            { grant: 'b', origin: 'granted', amount: '3' }
          ],
          reversible: '17',
          balance: '3',
          replayed: false
        })
        assert.deepEqual(await wallet.reverse('c', { amount: '8', idempotencyKey: 'r1' }), { ...part, replayed: true })
        assert.equal((await wallet.reverse('c', { amount: '9', idempotencyKey: 'r1' })).outcome, 'conflict')
        assert.deepEqual(await wallet.reverse('c', { amount: '18', idempotencyKey: 'r2' }), {
          outcome: 'exceeds-charge',
          requested: '18',
          reversible: '17'
        })
        assert.equal((await wallet.reverse('c', { idempotencyKey: 'r2' })).outcome, 'reversed')
        assert.deepEqual(await left(), { a: 10, b: 10 })
        assert.equal((await wallet.reverse('c', { idempotencyKey: 'r3' })).outcome, 'exceeds-charge')
        assert.equal((await wallet.reverse('no', { idempotencyKey: 'r4' })).outcome, 'unknown-charge')
      })
    },
    {
      name: 'gives a reversed overdraft back to the grants that have settled it',
      run: exam({ overdraft: 'unlimited' }, async ({ wallet, granted, left }) => {
        await wallet.charge('15', { idempotencyKey: 'c' })
        await granted({ id: 'a', amount: '10' }, { id: 'b', amount: '10' })
        assert.deepEqual(await left(), { b: 5 })
        const reversed = await wallet.reverse('c', { idempotencyKey: 'r' })
        assert.deepEqual(reversed.outcome === 'reversed' && reversed.returned, [
          { grant: 'b', origin: 'granted', amount: '5' },
          { grant: 'a', origin: 'granted', amount: '10' }
        ])
        assert.deepEqual(await left(), { a: 10, b: 10 })
      })
    },
    {
      name: 'lets reversed credits of an expired grant expire, or live for as long as the policy says',
      run: exam({}, async ({ walletOf, clock }) => {
        for (const [expiredReversal, free] of [
          ['breakage', '0'],
          [{ restoreForMs: 50 }, '7']
        ] as const) {
          clock.jumpWallTo(START_AT)
          const mine = walletOf({ expiredReversal }, `restore-${free}`)
          await mine.grant({ id: 'g', amount: '10', expiresAt: START_AT + 100 })
          await mine.charge('7', { idempotencyKey: 'c' })
          clock.jumpWallTo(START_AT + 200)
          await mine.reverse('c', { idempotencyKey: 'r' })
          assert.equal((await mine.balance()).free, free)
          clock.jumpWallTo(START_AT + 250)
          assert.equal((await mine.balance()).free, '0')
        }
      })
    },
    {
      name: 'lets a pending grant pay only when it has been paid itself (pitfall 4.4.9)',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted({ id: 'g', amount: '10', payment: 'pending' }, { id: 'h', amount: '10', payment: 'pending' })
        assert.equal((await wallet.balance()).waiting, '20')
        assert.equal((await wallet.charge('1', key())).outcome, 'insufficient-credits')
        assert.deepEqual(await wallet.activate('g'), { outcome: 'activated', state: 'active', replayed: false })
        assert.deepEqual(await wallet.activate('g'), { outcome: 'activated', state: 'active', replayed: true })
        assert.equal((await wallet.void('h', { idempotencyKey: 'failed' })).outcome, 'voided')
        assert.deepEqual(await wallet.activate('h'), { outcome: 'ended' })
        assert.deepEqual(await wallet.activate('no'), { outcome: 'unknown-grant' })
        assert.deepEqual(await left(), { g: 10 })
      })
    },
    {
      name: 'lets scoped grants pay for their metrics alone',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted(
          { id: 'scoped', amount: '10', metrics: ['tokens', 'images'], expiresAt: AUG_15 },
          { id: 'any', amount: '10' }
        )
        assert.deepEqual(await paid(wallet, '3'), ['any 3'])
        assert.equal((await wallet.charge('8', { ...key(), metric: 'calls' })).outcome, 'insufficient-credits')
        assert.deepEqual(await paid(wallet, '12', 'images'), ['scoped 10', 'any 2'])
        assert.deepEqual(await left(), { any: 5 })
      })
    },
    {
      name: 'quotes without reserving',
      run: exam({}, async ({ wallet, granted }) => {
        await granted({ id: 'g', amount: '10' })
        assert.deepEqual(await wallet.quote('10'), { outcome: 'sufficient', available: '10' })
        assert.equal((await wallet.quote('11')).outcome, 'insufficient-credits')
        assert.deepEqual(await paid(wallet, '10'), ['g 10'])
      })
    },
    {
      name: 'never sells more than there is to callers at the same time',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted({ id: 'a', amount: '50', expiresAt: SEP_1 }, { id: 'b', amount: '50' })
        const answers = await Promise.all(
          Array.from({ length: 32 }, (_, at) => wallet.charge(`${1 + (at % 5)}`, key()))
        )
        const sold = answers.reduce((sum, { outcome }, at) => sum + (outcome === 'charged' ? 1 + (at % 5) : 0), 0)
        assert.ok(sold <= 100, `sold ${sold} of 100`)
        const rest = Object.values(await left()).reduce((sum, units) => sum + units, 0)
        assert.equal(rest, 100 - sold)
      })
    },
    {
      name: 'charges once for calls with one key at the same time',
      run: exam({}, async ({ wallet, granted, left }) => {
        await granted({ id: 'a', amount: '50' })
        const answers = await Promise.all(
          Array.from({ length: 12 }, () => wallet.charge('4', { idempotencyKey: 'same' }))
        )
        assert.equal(answers.filter((answer) => answer.outcome === 'charged' && !answer.replayed).length, 1)
        assert.deepEqual(await left(), { a: 46 })
      })
    },
    {
      name: 'ends all grants of an instant before a hold gives back at it, however many there are',
      run: exam({ overdraft: { upTo: '5' } }, async ({ wallet, granted, left, clock }) => {
        const endsAt = START_AT + 1_000
        const scoped = { amount: '1', metrics: ['other'] }
        await granted(
          { ...scoped, id: 'begins', effectiveAt: endsAt },
          ...Array.from({ length: 255 }, (_, at) => ({ ...scoped, id: `ends ${at}`, expiresAt: endsAt })),
          { id: 'held', amount: '10', expiresAt: endsAt }
        )
        assert.equal((await wallet.hold('10', { ...key(), ttlMs: 1_000 })).outcome, 'held')
        assert.equal((await wallet.charge('5', key())).outcome, 'charged')
        clock.jumpWallTo(endsAt)
        assert.deepEqual(await left(), { begins: 1 })
        // What had expired when it came back has paid nothing.
        assert.equal((await wallet.balance()).owed, '5')
      })
    },
    {
      name: 'keeps tenants, accounts, units and keys apart, whatever they are called',
      run: exam({}, async ({ walletOf }) => {
        const names = ['a', 'a:b', 'b', '{a}', '%', 'ä', '💶', '"', "'; drop table", '","', widestIdentifier(7)]
        for (const account of ['a', 'a:b', "'; drop table", widestIdentifier(7)]) {
          const mine = walletOf({}, account)
          for (const id of names) assert.equal((await mine.grant({ id, amount: '1' })).outcome, 'granted')
          for (const idempotencyKey of names.slice(1)) {
            const answer = await mine.charge('1', { idempotencyKey })
            assert.equal(answer.outcome === 'charged' && answer.replayed, false)
          }
          assert.equal((await mine.balance()).balance, '1')
          assert.equal((await walletOf({}, account, 'EUR').balance()).balance, '0.00')
        }
      })
    },
    {
      name: 'is exact at the largest amounts, and refuses a wallet beyond them',
      run: exam({}, async ({ wallet, walletOf, granted, left }) => {
        await granted({ id: 'g', amount: '8999999999999999' }, { id: 'h', amount: '1' })
        assert.deepEqual(await wallet.grant({ id: 'i', amount: '1' }), { outcome: 'wallet-full' })
        await wallet.charge('9000000000000000', { idempotencyKey: 'c' })
        await granted({ id: 'j', amount: '1' })
        assert.deepEqual(await wallet.reverse('c', { idempotencyKey: 'r' }), { outcome: 'wallet-full' })
        assert.deepEqual(await left(), { j: 1 })
        const fine = walletOf({}, 'fine', 'fine')
        await fine.grant({ id: 'g', amount: '0.3' })
        for (let at = 0; at < 3; at++) await fine.charge('0.1', key())
        assert.equal((await fine.balance()).balance, '0.000000')
      })
    },
    {
      name: 'throws an error of the suite for malformed input, and changes nothing',
      run: exam({}, async ({ wallet, walletOf, granted }) => {
        await granted({ id: 'g', amount: '10' })
        const entries = await ledger(wallet)
        const amounts = ['0', '-1', '1.5', 'NaN', '', '1e3', ' 1', '9000000000000001', '٣', 1, Number.NaN, null]
        for (const amount of amounts as string[]) {
          for (const call of [
            () => wallet.grant({ id: 'x', amount }),
            () => wallet.charge(amount, { idempotencyKey: 'x' }),
            () => wallet.hold(amount, { idempotencyKey: 'x', ttlMs: 1 }),
            () => wallet.quote(amount)
          ]) {
            await assert.rejects(call, (error) => isSuiteError(error) && error.message.includes('amount'))
          }
        }
        for (const id of ['', ' ', 'a\u0000', '\ud800', 'x'.repeat(256), 7] as string[]) {
          await assert.rejects(wallet.charge('1', { idempotencyKey: id }), (error) => isSuiteError(error))
          await assert.rejects(wallet.grant({ id, amount: '1' }), (error) => isSuiteError(error))
        }
        assert.throws(
          () => walletOf({}, 'acc', 'no-such-unit'),
          (error) => isSuiteError(error)
        )
        assert.deepEqual(await ledger(wallet), entries)
      })
    },
    {
      name: 'books what happened while nobody looked in the order in which it happened',
      run: exam({ overdraft: 'unlimited' }, async ({ wallet, clock, granted, left }) => {
        await granted(
          { id: 'g', amount: '10', expiresAt: START_AT + 100 },
          { id: 'h', amount: '10', effectiveAt: START_AT + 60 }
        )
        await wallet.hold('10', { idempotencyKey: 'hold', ttlMs: 50 })
        await wallet.charge('5', key())
        clock.jumpWallTo(START_AT + 200)
        // The hold lapsed first: what it gave back paid what was owed, and the rest expired.
        assert.deepEqual(await left(), { h: 10 })
        assert.deepEqual(
          (await ledger(wallet)).slice(-4).map(({ kind, grant, amount, at }) => [kind, grant, amount, at - START_AT]),
          [
            ['returned', 'g', '10', 50],
            ['settled', 'g', '5', 50],
            ['activated', 'h', '10', 60],
            ['expired', 'g', '5', 100]
          ]
        )
      })
    },
    {
      name: 'lets nothing pay at the instant at which it expires, not even the overdraft from a hold that ends then',
      run: exam({ overdraft: 'unlimited' }, async ({ wallet, clock, granted, left }) => {
        await granted({ id: 'g', amount: '10', expiresAt: START_AT + 50 })
        await wallet.hold('10', { idempotencyKey: 'hold', ttlMs: 50 })
        await wallet.charge('5', key())
        clock.jumpWallTo(START_AT + 50)
        assert.deepEqual(await left(), {})
        assert.equal((await wallet.balance()).owed, '5')
      })
    },
    {
      name: 'books what is due in wallets that nobody calls, once, however often it is run',
      run: exam({}, async ({ store, wallet, clock, granted, tenant }) => {
        await granted({ id: 'g', amount: '10', expiresAt: START_AT + 10 }, { id: 'h', amount: '5' })
        await wallet.hold('12', { idempotencyKey: 'hold', ttlMs: 20 })
        const duty = createCredits({ store, units: [CREDITS], onOverrun: 'owe', expiredReversal: 'breakage' }).duty()
        const { signal } = new AbortController()
        clock.jumpWallTo(START_AT + 9)
        const mine = async (): Promise<boolean> => (await store.dueWallets(10_000)).some((due) => due.tenant === tenant)
        assert.equal(await mine(), false)
        clock.jumpWallTo(START_AT + 30)
        assert.equal(await mine(), true)
        while ((await duty.run({ signal })).handled > 0);
        assert.equal(await mine(), false)
        const entries = await ledger(wallet)
        assert.deepEqual(
          entries.slice(-3).map(({ kind, amount, at }) => [kind, amount, at - START_AT]),
          [
            ['returned', '2', 20],
            ['returned', '10', 20],
            ['expired', '10', 20]
          ]
        )
        assert.equal((await wallet.balance()).balance, '5')
      })
    }
  ]
}
