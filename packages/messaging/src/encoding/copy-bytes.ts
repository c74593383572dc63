/**
 * A copy that shares nothing with the original. `slice` is no such thing where callers may pass Node's `Buffer`: there
 * it gives a view, and wiping either would wipe both.
 */
export function copyBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
