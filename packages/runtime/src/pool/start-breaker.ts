import { backoffMs, type Clock, type Random } from '@enablement/core'

/** Stops starting sandboxes when it keeps failing, and tries again with one after a while. */
export interface StartBreaker {
  /** Whether a sandbox may be started now. Of those that ask once a pause is over, the first may. */
  permits(): boolean
  /** As `permits`, without taking the permission. */
  readonly isOpen: boolean
  /** How long until it may be tried again; 0 when it may. */
  readonly retryAfterMs: number
  /** Gives true when that ended a row of failures. */
  succeeded(): boolean
  /** Gives true when that opened it. */
  failed(): boolean
}

/** Three in a row are no accident (daytona #3289: a pool that went on creating after failures). */
const FAILURES = 3
const BACKOFF = { jitter: 'equal', baseMs: 1_000, maxMs: 60_000 } as const

export function startBreaker({ clock, random }: { readonly clock: Clock; readonly random: Random }): StartBreaker {
  let failures = 0
  let opened = 0
  let opensAt = 0
  let isProbing = false
  const isOpen = (): boolean => opened > 0
  const retryAfterMs = (): number => (isOpen() ? Math.max(0, opensAt - clock.monotonic()) : 0)
  return {
    get isOpen() {
      return isOpen()
    },
    get retryAfterMs() {
      return retryAfterMs()
    },
    permits() {
      if (!isOpen()) return true
      if (isProbing || retryAfterMs() > 0) return false
      isProbing = true
      return true
    },
    succeeded() {
      const wasOpen = isOpen()
      failures = 0
      opened = 0
      isProbing = false
      return wasOpen
    },
    failed() {
      failures += 1
      isProbing = false
      if (failures < FAILURES) return false
      const wasOpen = isOpen()
      // Starts that were under way when it opened fail with it, and are no reason to wait longer.
      if (wasOpen && retryAfterMs() > 0) return false
      opened += 1
      opensAt = clock.monotonic() + backoffMs(BACKOFF, opened, 0, random)
      return !wasOpen
    }
  }
}
