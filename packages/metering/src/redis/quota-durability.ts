import type { QuotaStep } from '../quota/quota-ledger.ts'
import { type QuotaKeys, quotaKeysOf } from './quota-keys.ts'

/** Where a tenant's quotas are, and in which epoch. */
export interface QuotaPlace {
  readonly tenant: string
  readonly keys: QuotaKeys
  /** The epoch that the server's fence must show; undefined where there is no ledger. */
  readonly epoch: number | undefined
}

/** What has to happen before a caller is answered. */
export interface QuotaDurability {
  readonly durable: 'power-loss' | 'process' | 'none'
  place(tenant: string): QuotaPlace | Promise<QuotaPlace>
  /**
   * Resolves when what a script wrote is as safe as it is to be; throws when it may be lost. False: it is void, and whoever
   * asked may ask again.
   */
  secure?(place: QuotaPlace, step: () => QuotaStep): Promise<boolean>
  /**
   * The server has another fence than the place, or somebody is making its quotas. Resolves when it is worth to ask again.
   */
  fenced?(place: QuotaPlace, as: 'fenced' | 'restoring'): Promise<void>
}

/** Tenants whose keys are kept made. Beyond it the one that was made first is forgotten, and made again when it comes. */
const PLACES_MAX = 10_000

/** Redis keeps what it acknowledged, or does not: nothing is waited for. */
export function fastDurability(): QuotaDurability {
  const places = new Map<string, QuotaPlace>()
  return {
    // What Redis keeps is a matter of its configuration, and by default it keeps nothing.
    durable: 'none',
    place(tenant) {
      const known = places.get(tenant)
      if (known !== undefined) return known
      const made = { tenant, keys: quotaKeysOf(tenant), epoch: undefined }
      if (places.size >= PLACES_MAX) places.delete(places.keys().next().value as string)
      places.set(tenant, made)
      return made
    }
  }
}
