import type { Clock, Timer } from '@enablement/core'
import type { MemoryUsage } from '../sandbox/sandbox-host.ts'

/** Waits between two samples of a guest that runs: far from its limit, and near it. */
const FAR_MS = 50
const NEAR_MS = 10
const NEAR_RATIO = 0.6

/** How long a reading is good for whoever asks in between. */
const FRESH_MS = 5

/** What one reading gives. */
export interface MemoryReading {
  readonly usedBytes: number
  readonly residentBytes: number
}

/** Memory of one sandbox, read ahead of time. */
export interface MemorySampler {
  usage(): MemoryUsage
  /** Looks often, until it is told that the guest rests. */
  watch(): void
  rest(): void
}

/** `read` is synchronous; `onSoftLimit` is called at every sample at or above the soft limit. */
export function memorySampler(options: {
  readonly clock: Clock
  readonly read: () => MemoryReading | undefined
  readonly softLimitBytes: () => number
  readonly onSoftLimit: () => void
}): MemorySampler {
  const { clock, read, softLimitBytes, onSoftLimit } = options
  let usage: MemoryUsage = { usedBytes: 0, peakBytes: 0, residentBytes: 0, ticks: 0 }
  let readAt = Number.NEGATIVE_INFINITY
  let timer: Timer | undefined

  const sample = (): MemoryUsage => {
    const reading = read()
    readAt = clock.monotonic()
    if (reading === undefined) return usage
    const { usedBytes, residentBytes } = reading
    usage = { usedBytes, residentBytes, peakBytes: Math.max(usage.peakBytes, usedBytes), ticks: usage.ticks + 1 }
    return usage
  }

  const look = (): void => {
    const { usedBytes } = sample()
    const soft = softLimitBytes()
    timer = clock.startTimer(usedBytes >= soft * NEAR_RATIO ? NEAR_MS : FAR_MS, look, { background: true })
    if (usedBytes >= soft) onSoftLimit()
  }

  return {
    usage: () => (clock.monotonic() - readAt < FRESH_MS ? usage : sample()),
    watch() {
      timer?.cancel()
      look()
    },
    rest() {
      timer?.cancel()
      timer = undefined
    }
  }
}
