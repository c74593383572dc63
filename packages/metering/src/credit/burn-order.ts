import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { readDecimal } from '../money/decimal-text.ts'
import type { LotOrigin } from './lot.ts'

/**
 * In which order grants are burnt. Each is a total order: whatever a peer leaves open is decided by the time of creation
 * and then by the grant's id, so that a retry books what the first try would have.
 */
export type BurnOrder =
  /** Expiry (none last), then priority. The default: nothing expires that could have been spent. */
  | 'expiry-fifo'
  /** Priority, expiry, promotional before paid, effective. Stripe's credit grants, and Stigg. */
  | 'stripe'
  /** Priority, expiry in whole seconds. */
  | 'openmeter'
  /** Priority, expiry. Kong Metering & Billing. */
  | 'kong'
  /** Priority, granted (promotional) before purchased. */
  | 'lago'
  /** Scoped before unscoped, expiry, cheaper cost basis. */
  | 'orb'
  /** Priority, free of cost first, fewest metrics (all is most), expiry, effective. */
  | 'metronome'
  /** Rolled over first; then by expiry. */
  | 'autumn'
  /** Priority, expiring before non-expiring, oldest first. */
  | 'flexprice'

/** What decides a lot's place. */
export interface BurnPlace {
  readonly grant: string
  readonly origin: LotOrigin
  readonly lot: number
  readonly priority: number
  readonly category: 'paid' | 'promotional'
  readonly costBasis: string
  readonly metrics: readonly string[]
  readonly createdAt: number
  readonly effectiveAt: number
  readonly expiresAt: number | null
}

type Part = (place: BurnPlace) => string

/** Never is later than any instant: 16 digits hold every safe integer. */
const instant = (at: number | null): string => (at === null ? '9'.repeat(16) : String(at).padStart(16, '0'))
const expiry: Part = ({ expiresAt }) => instant(expiresAt)
const expirySecond: Part = ({ expiresAt }) => instant(expiresAt === null ? null : Math.floor(expiresAt / 1_000))
const effective: Part = ({ effectiveAt }) => instant(effectiveAt)
const priority: Part = ({ priority: rank }) => String(rank).padStart(3, '0')
const promotionalFirst: Part = ({ category }) => (category === 'promotional' ? '0' : '1')
const costFreeFirst: Part = ({ costBasis }) => (readDecimal(costBasis).coefficient === 0n ? '0' : '1')
/** 18 digits on each side of the point, as many as a decimal may have. */
const cost: Part = ({ costBasis }) => {
  const { coefficient, scale } = readDecimal(costBasis)
  return (coefficient * 10n ** BigInt(18 - scale)).toString().padStart(36, '0')
}
const scopedFirst: Part = ({ metrics }) => (metrics.length > 0 ? '0' : '1')
const fewestMetrics: Part = ({ metrics }) => String(metrics.length === 0 ? 99 : metrics.length).padStart(2, '0')
const rolledOverFirst: Part = ({ origin }) => (origin === 'rolled-over' ? '0' : '1')
const expiringFirst: Part = ({ expiresAt }) => (expiresAt === null ? '1' : '0')

const PARTS: Readonly<Record<BurnOrder, readonly Part[]>> = {
  'expiry-fifo': [expiry, priority],
  stripe: [priority, expiry, promotionalFirst, effective],
  openmeter: [priority, expirySecond],
  kong: [priority, expiry],
  lago: [priority, promotionalFirst],
  orb: [scopedFirst, expiry, cost],
  metronome: [priority, costFreeFirst, fewestMetrics, expiry, effective],
  autumn: [rolledOverFirst, expiry],
  flexprice: [priority, expiringFirst]
}

/** Every profile, for validation. */
export const BURN_ORDERS = Object.keys(PARTS) as readonly BurnOrder[]

/**
 * A lot's place as text: digits of fixed width and an id in hexadecimal, which databases sort alike whatever their
 * collation is. The lot's number comes last, for lots of one grant that were made in one millisecond.
 */
export function burnKey(order: BurnOrder, place: BurnPlace): string {
  const { createdAt, grant, lot } = place
  // No id has a zero byte: the two zeros end it, and sort a shorter id before those that it begins.
  const named = `${instant(createdAt)}${bytesToHex(utf8ToBytes(grant))}00`
  return `${PARTS[order].map((part) => part(place)).join('')}${named}${String(lot).padStart(16, '0')}`
}
