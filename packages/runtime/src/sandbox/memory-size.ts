import { CoreError } from '@enablement/core'

/** The least a sandbox can be given: an empty QuickJS context takes 0.1 MiB, and a program should fit beside it. */
export const MEMORY_LIMIT_MIN_BYTES = 1_048_576

/** The most a sandbox can be given: half of what a 32-bit WebAssembly memory addresses, so that its cap has slack. */
export const MEMORY_LIMIT_MAX_BYTES = 2_147_483_648

/** `count` mebibytes (2^20 bytes) in bytes. Throws `INVALID_OPTIONS` unless the result is a positive whole number. */
export function mebibytes(count: number): number {
  const bytes = count * 1_048_576
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes
  const message = `${count} MiB is not a positive whole number of bytes`
  throw new CoreError('INVALID_OPTIONS', message, { subject: 'mebibytes', issues: [{ path: 'count', message }] })
}
