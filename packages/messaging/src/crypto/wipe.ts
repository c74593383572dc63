/**
 * Overwrites secrets that are no longer needed. Best effort: the engine may have moved or copied the bytes before, and
 * Node's key objects cannot be wiped at all.
 */
export function wipe(...secrets: readonly (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0)
}
