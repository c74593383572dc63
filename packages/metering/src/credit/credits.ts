import { parseOptions, reporter } from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { identifierSchema } from '../event/usage-event-schema.ts'
import type { MeteringObserver } from '../metering-event.ts'
import { BURN_ORDERS, type BurnOrder } from './burn-order.ts'
import type { CreditPolicy } from './credit-policy.ts'
import type { CreditStore, WalletName } from './credit-store.ts'
import { type CreditUnit, readCredits, SCALE_MAX, unitOf } from './credit-unit.ts'
import { expiryDuty } from './expiry-duty.ts'
import type { ExpiredReversal } from './giving-back.ts'
import type { Wallet } from './wallet.ts'
import { openWallet } from './wallet-calls.ts'

/** Units that one service declares: each is a word of its price list. */
const UNITS_MAX = 100

/** The longest second life of reversed credits, ten years. */
const RESTORE_MS_MAX = 3_660 * 86_400_000

export interface CreditsOptions {
  readonly store: CreditStore
  /** Units of your own, with their digits. Any other name is a currency of ISO 4217, with its minor unit. */
  readonly units?: readonly CreditUnit[]
  /** The order of wallets that are new, `expiry-fifo` unless given: a wallet keeps the order that it began with. */
  readonly burnOrder?: BurnOrder
  /**
   * How much a charge may let a wallet owe, as decimal text of its unit: `refuse` unless given. What is owed shows as a
   * negative balance, and the next credits that come without a scope pay it.
   */
  readonly overdraft?: 'refuse' | { readonly upTo: string } | 'unlimited'
  /** What a commit does with usage that no grant can pay: the wallet owes it, beyond any limit, or nobody pays it. */
  readonly onOverrun: 'owe' | 'waive'
  /** What becomes of credits that a reversal gives back to a grant that has expired since the charge. */
  readonly expiredReversal: ExpiredReversal
  /** Is told of every decision. What it throws is ignored. */
  readonly observe?: MeteringObserver
}

/** Wallets of credits. */
export interface Credits {
  /**
   * One wallet. Cheap, and keeps nothing open; nothing is stored before the first grant. Throws `INVALID_OPTIONS`, and
   * `UNKNOWN_CURRENCY` for a unit that is neither declared nor a currency.
   */
  wallet(name: WalletName): Wallet
  /**
   * Books expiries, lapsed holds and new periods in wallets that nobody calls. Balances do not depend on it: every call
   * books what is due in its wallet first. Run it by a worker, nightly or all the time.
   */
  duty(): Duty
}

const decimal = z.string().regex(/^\d{1,16}(?:\.\d{1,12})?$/, 'must be a plain decimal number')

const optionsSchema: z.ZodType<CreditsOptions> = z.strictObject({
  store: z.custom<CreditStore>(
    (value) => typeof value === 'object' && value !== null && typeof (value as CreditStore).transact === 'function',
    'must be a credit store, such as sqlCreditStore(db)'
  ),
  units: z
    .array(z.strictObject({ name: identifierSchema, scale: z.int().min(0).max(SCALE_MAX) }))
    .max(UNITS_MAX)
    .refine((units) => new Set(units.map(({ name }) => name)).size === units.length, 'two units have the same name')
    .exactOptional(),
  burnOrder: z.enum(BURN_ORDERS as readonly [BurnOrder, ...BurnOrder[]]).exactOptional(),
  overdraft: z.union([z.literal('refuse'), z.literal('unlimited'), z.strictObject({ upTo: decimal })]).exactOptional(),
  onOverrun: z.enum(['owe', 'waive']),
  expiredReversal: z.union([
    z.literal('breakage'),
    z.strictObject({ restoreForMs: z.int().min(1).max(RESTORE_MS_MAX) })
  ]),
  observe: z.custom<MeteringObserver>((value) => typeof value === 'function', 'must be a function').exactOptional()
})

const nameSchema: z.ZodType<WalletName> = z.strictObject({
  tenant: identifierSchema,
  account: identifierSchema,
  unit: identifierSchema
})

/** Wallets over a store. Throws `INVALID_OPTIONS`. */
export function createCredits(options: CreditsOptions): Credits {
  const {
    store,
    units = [],
    burnOrder = 'expiry-fifo',
    overdraft = 'refuse',
    onOverrun,
    expiredReversal,
    observe
  } = parseOptions(optionsSchema, 'createCredits', options)
  const report = reporter(observe)
  const declared = new Map(units.map((unit) => [unit.name, unit]))
  const policies = new Map<number, CreditPolicy>()

  /** The policy in units of so many digits: the overdraft is decimal text until the unit is known. */
  const policyOf = (scale: number): CreditPolicy => {
    const known = policies.get(scale)
    if (known !== undefined) return known
    const policy = { burnOrder, overdraftMax: overdraftIn(overdraft, scale), onOverrun, expiredReversal }
    policies.set(scale, policy)
    return policy
  }

  return {
    wallet(named) {
      const name = parseOptions(nameSchema, 'credits.wallet', named)
      const unit = unitOf(name.unit, declared)
      return openWallet({ store, name, unit, policy: policyOf(unit.scale), report })
    },
    duty: () => expiryDuty(store)
  }
}

function overdraftIn(overdraft: NonNullable<CreditsOptions['overdraft']>, scale: number): number {
  if (overdraft === 'refuse') return 0
  if (overdraft === 'unlimited') return QUANTITY_MAX
  const read = readCredits(overdraft.upTo, scale, 0)
  if (typeof read === 'number') return read
  const issue = z.never(read)
  return parseOptions(z.strictObject({ overdraft: z.strictObject({ upTo: issue }) }), 'createCredits', {
    overdraft
  }).overdraft.upTo
}
