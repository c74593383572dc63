import { wipe } from '../crypto/wipe.ts'
import type { RatchetState } from './ratchet-state.ts'

/**
 * Wipes the keys of `before` that `after` no longer holds; all of them when the session was dropped and nothing came
 * after. To be called once `after` is stored and nothing uses `before` any more: until then the step may still have to
 * be taken back.
 */
export function wipeReplaced(before: RatchetState, after: RatchetState | undefined): void {
  if (before === after) return
  if (before.rootKey !== after?.rootKey) wipe(before.rootKey)
  if (before.sending?.chainKey !== after?.sending?.chainKey) wipe(before.sending?.chainKey)
  if (before.chains === after?.chains) return
  const later = after?.chains ?? []
  const kept = new Set<unknown>()
  for (const { chainKey, skipped } of later) kept.add(chainKey).add(skipped)
  for (const { chainKey, skipped } of before.chains) {
    if (!kept.has(chainKey)) wipe(chainKey)
    if (kept.has(skipped) || skipped.size === 0) continue
    const living = new Set<Uint8Array>()
    for (const chain of later) for (const { messageKey } of chain.skipped.values()) living.add(messageKey)
    for (const { messageKey } of skipped.values()) if (!living.has(messageKey)) wipe(messageKey)
  }
}
