import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** A fixed-length name for some parts, whatever they hold: no two lists of parts share one. */
export function keyOf(...parts: readonly (string | number)[]): string {
  return bytesToHex(sha256(utf8ToBytes(JSON.stringify(parts))))
}

/** What a period's invoice is called, in every process and on every attempt. */
export function invoiceId(
  tenant: string,
  subscription: string,
  period: { readonly from: number; readonly to: number }
): string {
  return `inv_${keyOf('invoice', tenant, subscription, period.from, period.to).slice(0, 32)}`
}
