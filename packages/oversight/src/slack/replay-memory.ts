import type { Platform } from '@enablement/core'
import { SIGNATURE_WINDOW_MS } from './slack-signature.ts'

/** Interactions that are known again. 16 a second for as long as a signature counts; each takes some 150 bytes. */
const REMEMBERED_MAX = 10_000

/**
 * Whether a key is seen for the first time, as far as this process knows: what is signed may be sent again for as long as
 * its signature counts. A vote that gets through twice all the same has the same idempotency key.
 */
export function createReplayMemory(clock: Platform['clock']): (key: string) => boolean {
  const seen = new Map<string, number>()
  return (key) => {
    const now = clock.monotonic()
    for (const [oldest, until] of seen) {
      if (until > now && seen.size < REMEMBERED_MAX) break
      seen.delete(oldest)
    }
    if (seen.has(key)) return false
    // A timestamp may be five minutes ahead, and counts until five minutes after.
    seen.set(key, now + 2 * SIGNATURE_WINDOW_MS)
    return true
  }
}
