import { CoreError, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { isIdentifier } from '../event/identifier.ts'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { identifierSchema } from '../event/usage-event-schema.ts'
import { checkActual, checkAmount } from './amount.ts'
import { CHARGES_MAX, type Charge, type CounterRule, RESERVED_MAX } from './charge.ts'
import { NEVER } from './counter.ts'
import { pathText } from './counter-key.ts'
import { type ExtendRequest, type HoldRequest, type SettleRequest, SPENDS_MAX, type SpendGroup } from './quota-store.ts'

/** The longest duration, in milliseconds: ten years of 365.25 days. */
const DURATION_MS_MAX = 315_576_000_000

/** Characters of a scope: it may name a quota by a limit and a whole path. */
const SCOPE_LENGTH_MAX = 4_096

/** Levels below a tenant: far more than organisations have. */
const PATH_LENGTH_MAX = 16

/** Holds that `endExpired` ends in one call. */
const ENDED_MAX = 10_000

const duration = z.number().int().min(1).max(DURATION_MS_MAX)
const quantity = z.number().int().min(0).max(QUANTITY_MAX)
const instant = z.number().int().min(0).max(NEVER)
const path = z.array(identifierSchema).max(PATH_LENGTH_MAX)

const ruleSchema: z.ZodType<CounterRule> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('lifetime') }),
  z.strictObject({ kind: z.literal('every'), everyMs: duration }),
  z.strictObject({
    kind: z.literal('boundaries'),
    boundaries: z
      .array(instant)
      .min(2)
      .max(8)
      .refine((all) => all.every((at, index) => index === 0 || (all[index - 1] as number) < at), 'must rise')
  }),
  z.strictObject({ kind: z.literal('rolling'), rollingMs: duration }),
  z
    .strictObject({ kind: z.literal('bucket'), refill: z.number().int().min(1).max(QUANTITY_MAX), perMs: duration })
    .refine(
      ({ refill, perMs }) => refill * perMs <= QUANTITY_MAX,
      `refill times perMs must be at most ${QUANTITY_MAX}`
    ),
  z.strictObject({ kind: z.literal('concurrent') })
])

const chargesSchema: z.ZodType<readonly Charge[]> = z
  .array(
    z.strictObject({
      limit: identifierSchema,
      path,
      quantity,
      rule: ruleSchema,
      reserved: z
        .array(z.strictObject({ path, quantity }))
        .max(RESERVED_MAX)
        .refine((parts) => distinct(parts.map((part) => pathText(part.path))), 'two parts have the same path')
    })
  )
  .min(1)
  .max(CHARGES_MAX)
  .refine((all) => distinct(all.map((one) => JSON.stringify([one.limit, one.path]))), 'a counter is charged twice')

const scope = z.string().min(1).max(SCOPE_LENGTH_MAX).refine(isPlainText, 'must be well-formed text without NUL')

const groupSchema = z.object({ scope, idempotencyMs: duration })
const holdSchema = z.object({
  scope,
  key: identifierSchema,
  ttlMs: duration,
  onExpiry: z.enum(['returned', 'spent']),
  keepMs: duration
})
const settleSchema = z.object({ scope, key: identifierSchema, keepMs: duration })
const extendSchema = z.object({ scope, key: identifierSchema, ttlMs: duration })

/** Arrays that were found well-formed, and whether spends can draw on them: callers keep theirs, so this is done once. */
const checked = new WeakMap<readonly Charge[], { readonly spendable: boolean }>()

function checkCharges(subject: string, charges: readonly Charge[]): { readonly spendable: boolean } {
  const before = checked.get(charges)
  if (before !== undefined) return before
  parseOptions(chargesSchema, `${subject}, charges`, charges)
  const found = { spendable: charges.some(({ rule }) => rule.kind !== 'concurrent') }
  checked.set(charges, found)
  return found
}

function checkTenant(subject: string, tenant: string): void {
  if (!isIdentifier(tenant)) parseOptions(z.object({ tenant: identifierSchema }), subject, { tenant })
}

/** Throws `INVALID_AMOUNT` and `INVALID_OPTIONS`, although callers have checked: a store may be called by anyone. */
export function checkConsume(tenant: string, groups: readonly SpendGroup[]): void {
  checkTenant('quotaStore.consume', tenant)
  let spends = 0
  for (const group of groups) {
    const { charges, amounts, keys } = group
    const { spendable } = checkCharges('quotaStore.consume', charges)
    // By hand, being on the hot path; the schema is asked only to say what is wrong.
    if (!isScope(group.scope) || !isDuration(group.idempotencyMs))
      parseOptions(groupSchema, 'quotaStore.consume', group)
    if (!spendable) {
      throw refusal('quotaStore.consume', 'charges', 'units in use at the same time are held, not spent')
    }
    if (keys !== undefined && keys.length !== amounts.length) {
      throw refusal('quotaStore.consume', 'keys', `there are ${keys.length} for ${amounts.length} amounts`)
    }
    for (const amount of amounts) checkAmount(amount)
    if (keys !== undefined) {
      for (const key of keys) {
        if (key !== undefined && !isIdentifier(key))
          parseOptions(z.object({ keys: identifierSchema }), 'quotaStore.consume', { keys: key })
      }
    }
    spends += amounts.length
  }
  if (spends > SPENDS_MAX) {
    throw refusal('quotaStore.consume', 'amounts', `${spends} spends are more than the ${SPENDS_MAX} of one call`)
  }
}

/** As `checkConsume`. */
export function checkHold(tenant: string, request: HoldRequest): void {
  const { charges, amount, amountMin } = request
  checkTenant('quotaStore.hold', tenant)
  checkCharges('quotaStore.hold', charges)
  parseOptions(holdSchema, 'quotaStore.hold', request)
  checkAmount(amount)
  checkAmount(amountMin)
  if (amountMin > amount)
    throw refusal('quotaStore.hold', 'amountMin', `${amountMin} is more than the amount ${amount}`)
}

/** As `checkConsume`. */
export function checkSettle(tenant: string, request: SettleRequest): void {
  checkTenant('quotaStore.settle', tenant)
  checkCharges('quotaStore.settle', request.charges)
  parseOptions(settleSchema, 'quotaStore.settle', request)
  checkActual(request.actual)
}

/** As `checkConsume`. */
export function checkExtend(tenant: string, request: ExtendRequest): void {
  checkTenant('quotaStore.extend', tenant)
  checkCharges('quotaStore.extend', request.charges)
  parseOptions(extendSchema, 'quotaStore.extend', request)
  checkActual(request.amount)
}

/** As `checkConsume`. */
export function checkRead(tenant: string, charges: readonly Charge[]): void {
  checkTenant('quotaStore.read', tenant)
  checkCharges('quotaStore.read', charges)
}

/** As `checkConsume`. */
export function checkEndExpired(limit: number): void {
  parseOptions(z.object({ limit: z.number().int().min(1).max(ENDED_MAX) }), 'quotaStore.endExpired', { limit })
}

function isScope(value: unknown): boolean {
  return typeof value === 'string' && value.length >= 1 && value.length <= SCOPE_LENGTH_MAX && isPlainText(value)
}

function isPlainText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}

function isDuration(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= DURATION_MS_MAX
}

function distinct(texts: readonly string[]): boolean {
  return new Set(texts).size === texts.length
}

function refusal(subject: string, path: string, message: string): CoreError<'INVALID_OPTIONS'> {
  return new CoreError('INVALID_OPTIONS', `${subject}: ${path}: ${message}`, { subject, issues: [{ path, message }] })
}
