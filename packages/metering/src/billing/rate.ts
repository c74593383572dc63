import { z } from 'zod'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { DECIMAL_PATTERN, readDecimal } from '../money/decimal-text.ts'
import { compareRatios, plus, type Ratio, ZERO } from '../money/ratio.ts'
import { divideRounded } from '../money/rounding.ts'
import { currencySchema } from './plan.ts'

/** A price for each unit, in proportion: half of `per` costs half of `unitPrice`. */
export interface UnitRate {
  /** What `per` units cost in the currency's major unit: plain decimal text, such as `0.0004`. Negative for a rebate. */
  readonly unitPrice: string
  /** How many units that is the price of: 1 unless given. */
  readonly per?: number
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** A price for each package, whole: one unit more than a package costs two packages. */
export interface PackageRate {
  /** What a package costs in the currency's major unit: plain decimal text. */
  readonly packagePrice: string
  readonly packageSize: number
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** One price whatever is used, also for nothing. */
export interface FlatRate {
  /** In the currency's major unit: plain decimal text. */
  readonly flatPrice: string
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** A tier: the units above the tier before, up to its own bound. */
export interface Tier {
  /** The last unit of the tier, inclusive; the last tier alone has none. */
  readonly upTo?: number | bigint
  /**
   * The last unit of the tier before, for tables that are written with both ends; 0 in the first. It only says what must
   * be so anyway: a gap or an overlap is refused.
   */
  readonly above?: number | bigint
  /** For each unit in the tier: plain decimal text. 0 unless given. */
  readonly unitPrice?: string
  /** How many units `unitPrice` is the price of: 1 unless given. */
  readonly per?: number
  /** Once, as soon as there is a unit in the tier: plain decimal text. 0 unless given. */
  readonly flatPrice?: string
}

/** Each unit at the price of the tier that it lies in, and the flat price of each tier that was entered. */
export interface GraduatedRate {
  readonly graduated: readonly Tier[]
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** All units at the price of the tier that the last one lies in, and the flat price of that tier. */
export interface VolumeRate {
  readonly volume: readonly Tier[]
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** The price of the step that the last unit lies in, whole: seats in bundles of 10, 25 and 100. */
export interface StairstepRate {
  readonly stairstep: readonly (Pick<Tier, 'upTo' | 'above'> & { readonly price: string })[]
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** A line of a rate card. */
export type Rate = UnitRate | PackageRate | FlatRate | GraduatedRate | VolumeRate | StairstepRate

/** No sum of usage comes near; a bound keeps a hostile bigint from becoming minutes of arithmetic. */
export const QUANTITY_BIGINT_MAX: bigint = 10n ** 30n

/** Price lists have a handful; a table of a thousand is no price list. */
const TIERS_MAX = 100

export const priceSchema: z.ZodType<string> = z
  .string()
  .regex(DECIMAL_PATTERN, 'must be plain decimal text such as 0.0004, at most 18 digits a side')
const units = z.number().int().min(1).max(QUANTITY_MAX)
const boundSchema = (min: number): z.ZodType<number | bigint> =>
  z.union([z.number().int().min(min).max(QUANTITY_MAX), z.bigint().min(BigInt(min)).max(QUANTITY_BIGINT_MAX)])

const bounds = { upTo: boundSchema(1).exactOptional(), above: boundSchema(0).exactOptional() }

function tiers<Member extends Pick<Tier, 'upTo' | 'above'>>(member: z.ZodType<Member>): z.ZodType<readonly Member[]> {
  return z
    .array(member)
    .min(1)
    .max(TIERS_MAX)
    .superRefine((list, context) => {
      let before = 0n
      list.forEach(({ upTo, above }, at) => {
        const refuse = (field: string, message: string): void =>
          context.addIssue({ code: 'custom', path: [at, field], message })
        if (above !== undefined && BigInt(above) !== before) {
          const fault = BigInt(above) > before ? 'leaves a gap' : 'overlaps'
          refuse('above', `must be ${before}, where the tier before ends; ${above} ${fault}`)
        }
        const isLast = at === list.length - 1
        if (upTo === undefined) {
          if (!isLast) refuse('upTo', 'must be given: only the last tier is unbounded')
          return
        }
        if (isLast) refuse('upTo', 'must be left out: the last tier is unbounded, so that all usage has a price')
        if (BigInt(upTo) <= before) refuse('upTo', `must be above ${before}, where the tier before ends`)
        before = BigInt(upTo)
      })
    })
}

const tier: z.ZodType<Tier> = z.strictObject({
  ...bounds,
  unitPrice: priceSchema.exactOptional(),
  per: units.exactOptional(),
  flatPrice: priceSchema.exactOptional()
})
const step = z.strictObject({ ...bounds, price: priceSchema })

const shapes = {
  unitPrice: z.strictObject({ unitPrice: priceSchema, per: units.exactOptional(), currency: currencySchema }),
  packagePrice: z.strictObject({ packagePrice: priceSchema, packageSize: units, currency: currencySchema }),
  flatPrice: z.strictObject({ flatPrice: priceSchema, currency: currencySchema }),
  graduated: z.strictObject({ graduated: tiers(tier), currency: currencySchema }),
  volume: z.strictObject({ volume: tiers(tier), currency: currencySchema }),
  stairstep: z.strictObject({ stairstep: tiers(step), currency: currencySchema })
} as const

const KINDS = Object.keys(shapes) as (keyof typeof shapes)[]

/** A union would not say where in which of its members the mistake is: the member that names the kind decides. */
export const rateSchema: z.ZodType<Rate> = z.unknown().transform((value, context): Rate => {
  const kinds = typeof value === 'object' && value !== null ? KINDS.filter((kind) => kind in value) : []
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) {
    context.addIssue({ code: 'custom', message: `must have one of ${KINDS.join(', ')}` })
    return z.NEVER
  }
  const parsed = shapes[kind].safeParse(value)
  if (parsed.success) return parsed.data
  for (const issue of parsed.error.issues) {
    if (issue.code !== 'unrecognized_keys') {
      context.addIssue({ code: 'custom', path: issue.path, message: issue.message })
      continue
    }
    for (const key of issue.keys)
      context.addIssue({ code: 'custom', path: [...issue.path, key], message: 'there is no such option' })
  }
  return z.NEVER
})

/** What a quantity costs by a rate, in major units, exactly; and the packages charged, by a package rate. */
export function chargeOf(rate: Rate, quantity: bigint): { readonly exact: Ratio; readonly packages?: bigint } {
  if ('unitPrice' in rate) return { exact: priceOf(rate.unitPrice, quantity, rate.per) }
  if ('packagePrice' in rate) {
    const packages = divideRounded(quantity, BigInt(rate.packageSize), 'up')
    return { exact: priceOf(rate.packagePrice, packages), packages }
  }
  if ('flatPrice' in rate) return { exact: priceOf(rate.flatPrice, 1n) }
  if (quantity === 0n) return { exact: ZERO }
  if ('graduated' in rate) return { exact: graduatedPrice(rate.graduated, quantity) }
  if ('stairstep' in rate) return { exact: priceOf(reached(rate.stairstep, quantity).price, 1n) }
  return { exact: tierPrice(reached(rate.volume, quantity), quantity) }
}

/** At most `max`, at least `min`. */
export function clampRatio(value: Ratio, min: Ratio | undefined, max: Ratio | undefined): Ratio {
  if (max !== undefined && compareRatios(value, max) > 0n) return max
  if (min !== undefined && compareRatios(value, min) < 0n) return min
  return value
}

/** `times` a price per `per` units. */
export function priceOf(text: string, times: bigint, per = 1): Ratio {
  const { coefficient, scale } = readDecimal(text)
  return { numerator: coefficient * times, denominator: 10n ** BigInt(scale) * BigInt(per) }
}

function graduatedPrice(list: readonly Tier[], quantity: bigint): Ratio {
  let exact = ZERO
  let before = 0n
  for (const one of list) {
    if (quantity <= before) break
    const end = one.upTo === undefined ? quantity : BigInt(one.upTo)
    exact = plus(exact, tierPrice(one, (quantity < end ? quantity : end) - before))
    before = end
  }
  return exact
}

function tierPrice({ unitPrice, per, flatPrice }: Tier, quantity: bigint): Ratio {
  const flat = flatPrice === undefined ? ZERO : priceOf(flatPrice, 1n)
  return unitPrice === undefined ? flat : plus(flat, priceOf(unitPrice, quantity, per))
}

/** The tier that the last unit lies in; the last tier has no end. */
function reached<Member extends Pick<Tier, 'upTo'>>(list: readonly Member[], quantity: bigint): Member {
  return list.find(({ upTo }) => upTo === undefined || quantity <= BigInt(upTo)) as Member
}
