import type { WalletName } from './credit-store.ts'
import { fingerprint } from './fingerprint.ts'

/** Names a wallet in 128 bits: two of 10^15 wallets share one with a chance of 1 in 10^8. */
const DIGITS = 32

/** A digest of the whole name, so that rows and indexes that begin with it stay short. */
export function walletKey({ tenant, account, unit }: WalletName): string {
  return fingerprint(tenant, account, unit).slice(0, DIGITS)
}
