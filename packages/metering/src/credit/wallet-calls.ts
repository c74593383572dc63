import { parseOptions } from '@enablement/core'
import type { Sql } from '@enablement/core/sql'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { MeteringError, storeFailure } from '../metering-error.ts'
import { atOnce } from './at-once.ts'
import { chargeStep } from './charge-step.ts'
import type { CreditEvent } from './credit-event.ts'
import type { CreditPolicy } from './credit-policy.ts'
import { creditSchemas } from './credit-schemas.ts'
import { type CreditStore, emptyWallet, type WalletName, type WalletRows } from './credit-store.ts'
import { type CreditUnit, writeCredits } from './credit-unit.ts'
import { settleDue } from './due-step.ts'
import { activateStep, grantStep, voidStep } from './grant-step.ts'
import { commitStep, extendStep, holdStep, releaseStep } from './hold-step.ts'
import type { GrantTerms } from './lot.ts'
import { reverseStep } from './reverse-step.ts'
import { availableFor } from './taking.ts'
import type { CreditEntry, Wallet } from './wallet.ts'
import { freeOf } from './wallet-session.ts'

/** Members of answers that are amounts: integers inside, decimal text at the edge. */
const AMOUNTS: ReadonlySet<string> = new Set([
  'amount',
  'available',
  'balance',
  'firstAmount',
  'overdrawn',
  'requested',
  'returned',
  'reversible',
  'settled',
  'waived'
])

const ENTRIES_LIMIT = 100

type Signalled = { readonly signal?: AbortSignal | undefined }

/** The methods of one wallet: input checked, steps run in the store, answers in decimal text. */
export function openWallet({
  store,
  name,
  unit,
  policy,
  report
}: {
  readonly store: CreditStore
  readonly name: WalletName
  readonly unit: CreditUnit
  readonly policy: CreditPolicy
  readonly report: (event: CreditEvent) => void
}): Wallet {
  const { scale } = unit
  const schemas = creditSchemas(scale)
  const blank = emptyWallet({ scale, burnOrder: policy.burnOrder })
  const text = (amount: number): string => writeCredits(amount, scale)
  const atEdge = (value: unknown, member = ''): unknown => {
    if (typeof value === 'number') return AMOUNTS.has(member) ? text(value) : value
    if (Array.isArray(value)) return value.map((element) => atEdge(element))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, atEdge(inner, key)]))
  }

  /**
   * Books what is due, then takes the step, in one unit; a wallet in which very much is due has it booked in units of its
   * own before.
   */
  const run = async <Answer>(
    operation: string,
    step: (rows: WalletRows) => Sql<Answer>,
    { signal }: Signalled,
    create: boolean
  ): Promise<Answer> => {
    const work = function* (rows: WalletRows): Sql<{ readonly answer: Answer } | undefined> {
      if (rows.wallet !== undefined && rows.wallet.scale !== scale) throw mismatch(name, scale, rows.wallet.scale)
      const { handled, more } = yield* settleDue(rows)
      if (more) return undefined
      return { answer: yield* step(handled === 0 ? rows : yield* rows.reread()) }
    }
    try {
      for (;;) {
        const done = await store.transact(name, work, {
          ...(create ? { create: { scale, burnOrder: policy.burnOrder } } : {}),
          ...(signal === undefined ? {} : { signal })
        })
        if (done !== undefined) return done.answer
      }
    } catch (error) {
      const failure = error instanceof MeteringError ? undefined : storeFailure(operation, error, signal)
      if (failure === undefined) throw error
      report({ type: 'credit.store-failed', ...name, error: failure })
      throw failure
    }
  }

  /** Gives the answer at the edge, and tells the observer. */
  const answered = <Edge>(key: string, answer: { readonly outcome: string }, amount?: number): Edge => {
    const edge = atEdge(answer) as Record<string, unknown>
    const { outcome } = answer
    switch (outcome) {
      case 'insufficient-credits': {
        const { requested, available } = edge as { requested: string; available: string }
        report({ type: 'credit.insufficient', ...name, key, requested, available })
        break
      }
      case 'conflict':
        report({ type: 'credit.conflicted', ...name, key })
        break
      case 'granted':
      case 'voided':
      case 'charged':
      case 'held':
      case 'committed':
      case 'reversed': {
        if (typeof edge['replayed'] !== 'boolean') break
        const moved = amount === undefined ? (edge['amount'] as string) : text(amount)
        report({ type: `credit.${outcome}`, ...name, key, amount: moved, replayed: edge['replayed'] })
        break
      }
    }
    return edge as Edge
  }

  return {
    unit,
    async grant(grant, { signal } = {}) {
      const asked = parseOptions(schemas.grant, 'wallet.grant', grant)
      const { id, amount, priority, category, costBasis, metrics = [], recurs, rollOver, expiresAt } = asked
      const terms: GrantTerms = {
        amount,
        priority,
        category,
        costBasis,
        metrics: [...new Set(metrics)].sort((a, b) => (a < b ? -1 : 1)),
        ...(recurs === undefined ? {} : { recurs }),
        ...(rollOver === undefined
          ? {}
          : { rollOver: { max: rollOver.max, ...(rollOver.forMs === undefined ? {} : { forMs: rollOver.forMs }) } }),
        endsAt: expiresAt ?? null
      }
      const call = { grant: id, terms, effectiveAt: asked.effectiveAt ?? null, payment: asked.payment }
      const answer = await run('grant credits', (rows) => grantStep(rows, call), { signal }, true)
      return answered(id, answer, amount)
    },
    async activate(grant, options = {}) {
      const { signal } = parseOptions(schemas.grantId, 'wallet.activate', { grant, ...options })
      return await run('activate a grant', (rows) => activateStep(rows, grant), { signal }, false)
    },
    async void(grant, options) {
      const asked = parseOptions(schemas.void, 'wallet.void', { grant, ...options })
      const call = { grant, amount: asked.amount ?? null, key: asked.idempotencyKey }
      return answered(grant, await run('void a grant', (rows) => voidStep(rows, call), asked, false))
    },
    async charge(amount, options) {
      const asked = parseOptions(schemas.charge, 'wallet.charge', { amount, ...options })
      const call = { amount: asked.amount, key: asked.idempotencyKey, metric: asked.metric ?? null }
      const step = (rows: WalletRows) => chargeStep(rows, call, policy)
      return answered(call.key, await run('charge credits', step, asked, policy.overdraftMax > 0))
    },
    async hold(amount, options) {
      const asked = parseOptions(schemas.hold, 'wallet.hold', { amount, ...options })
      const { ttlMs, metric = null } = asked
      const call = { amount: asked.amount, key: asked.idempotencyKey, metric, ttlMs }
      return answered(call.key, await run('hold credits', (rows) => holdStep(rows, call), asked, false))
    },
    async commit(hold, amount, options = {}) {
      const asked = parseOptions(schemas.commit, 'wallet.commit', { hold, amount, ...options })
      const call = { amount: asked.amount, key: hold }
      return answered(hold, await run('commit a hold', (rows) => commitStep(rows, call, policy), asked, false))
    },
    async release(hold, options = {}) {
      const asked = parseOptions(schemas.release, 'wallet.release', { hold, ...options })
      return answered(hold, await run('release a hold', (rows) => releaseStep(rows, hold), asked, false))
    },
    async extend(hold, options) {
      const asked = parseOptions(schemas.extend, 'wallet.extend', { hold, ...options })
      return answered(hold, await run('extend a hold', (rows) => extendStep(rows, hold, asked.ttlMs), asked, false))
    },
    async reverse(charge, options) {
      const asked = parseOptions(schemas.reverse, 'wallet.reverse', { charge, ...options })
      const call = { charge, amount: asked.amount ?? null, key: asked.idempotencyKey }
      return answered(charge, await run('reverse a charge', (rows) => reverseStep(rows, call, policy), asked, false))
    },
    async quote(amount, options = {}) {
      const asked = parseOptions(schemas.quote, 'wallet.quote', { amount, ...options })
      const available = await run(
        'quote a charge',
        ({ wallet = blank }) => {
          const room = Math.max(0, policy.overdraftMax - wallet.owed)
          return atOnce(Math.min(availableFor(wallet, asked.metric ?? null) + room, QUANTITY_MAX))
        },
        asked,
        false
      )
      if (asked.amount <= available) return { outcome: 'sufficient', available: text(available) }
      return { outcome: 'insufficient-credits', requested: text(asked.amount), available: text(available) }
    },
    async balance(options = {}) {
      const asked = parseOptions(schemas.balance, 'wallet.balance', options)
      const { wallet, at } = await run(
        'read a balance',
        ({ wallet: found = blank, now }) => atOnce({ wallet: found, at: now }),
        asked,
        false
      )
      const free = freeOf(wallet)
      const spendable = availableFor(wallet, asked.metric ?? null)
      const { held, waiting, owed, burnOrder } = wallet
      return {
        balance: text(free - owed),
        free: text(free),
        spendable: text(spendable),
        held: text(held),
        waiting: text(waiting),
        owed: text(owed),
        burnOrder,
        at
      }
    },
    async entries(options = {}) {
      const asked = parseOptions(schemas.entries, 'wallet.entries', options)
      const { after = 0, limit = ENTRIES_LIMIT } = asked
      const found = await run('read a ledger', (rows) => rows.entries(after, limit), asked, false)
      return found.map(
        ({ sequence, kind, grant, amount, balance, call, reference, at, bookedAt }): CreditEntry => ({
          sequence,
          kind,
          grant,
          amount: text(amount),
          balance: text(balance),
          call,
          reference,
          at,
          bookedAt
        })
      )
    }
  }
}

function mismatch({ unit }: WalletName, scale: number, storedScale: number): MeteringError<'UNIT_MISMATCH'> {
  const message = `the wallet counts ${unit} with ${storedScale} digits after the point, and ${scale} are declared`
  return new MeteringError('UNIT_MISMATCH', message, { unit, scale, storedScale })
}
