/** How close a sandbox is to its limit. */
export type MemoryLevel = 'normal' | 'warning' | 'critical'

/** When levels begin and end, as shares of the limit in (0, 1]. A level ends below its clear ratio, so that usage that hovers at a threshold does not flap. */
export interface MemoryThresholds {
  readonly warningRatio: number
  readonly warningClearRatio: number
  readonly criticalRatio: number
  readonly criticalClearRatio: number
}

/** Catalog RT-1: warning from 0.80 on, critical from 0.95 on. */
export const memoryThresholds: MemoryThresholds = {
  warningRatio: 0.8,
  warningClearRatio: 0.75,
  criticalRatio: 0.95,
  criticalClearRatio: 0.88
}

/** One look at a sandbox. */
export interface MemorySample {
  readonly usedBytes: number
  /** Monotonic milliseconds. */
  readonly at: number
}

/** What a sample showed. */
export interface MemoryReading {
  readonly level: MemoryLevel
  /** The level before, when this sample changed it. */
  readonly changedFrom?: MemoryLevel
  /** An allocation failed: the limit was not approached but hit. */
  readonly exceeded: boolean
  readonly usedBytes: number
  readonly limitBytes: number
  /** Used bytes over limit. */
  readonly usedRatio: number
  /** How fast usage grows, smoothed over the last samples: bytes a second, negative while it shrinks. */
  readonly trendBytesPerSecond: number
  /** When the limit is reached if the trend goes on. Absent unless usage grows. */
  readonly secondsToLimit?: number
  /** When to look again. */
  readonly nextSampleMs: number
}

/** Turns samples into levels. Holds no clock and no timer: who samples, and when, is the caller's business. */
export interface MemoryMonitor {
  /** From this many bytes on the level is critical. */
  readonly criticalAtBytes: number
  /** Below this many bytes a critical level ends. */
  readonly criticalClearBytes: number
  observe(sample: MemorySample): MemoryReading
  /** An allocation failed: critical whatever the sample says, for the bomb jumps 8 MB at a time. */
  exceeded(sample: MemorySample): MemoryReading
  /** Whether the last sample is older than three of the intervals it asked for: then it says nothing about now. */
  isStale(now: number): boolean
}

/** Looking costs four loads from shared memory, about a microsecond: 100 ms when calm, 20 ms near the limit. */
const CALM_MS = 100
const ALERT_MS = 20

/** Share of the limit from which the short interval holds, below the warning so that a warning is seen early. */
const ALERT_RATIO = 0.7

/** Weight of the newest slope in the trend; four samples carry 94 % of it. */
const TREND_WEIGHT = 0.5

const STALE_INTERVALS = 3

/** A monitor for a sandbox of `limitBytes`. */
export function createMemoryMonitor(
  limitBytes: number,
  thresholds: MemoryThresholds = memoryThresholds
): MemoryMonitor {
  const bytesAt = (ratio: number): number => Math.ceil(Number((limitBytes * ratio).toFixed(6)))
  const warningAtBytes = bytesAt(thresholds.warningRatio)
  const warningClearBytes = bytesAt(thresholds.warningClearRatio)
  const criticalAtBytes = bytesAt(thresholds.criticalRatio)
  const criticalClearBytes = bytesAt(thresholds.criticalClearRatio)
  let level: MemoryLevel = 'normal'
  let trend = 0
  let last: MemorySample | undefined
  let nextSampleMs = CALM_MS

  const levelFor = (usedBytes: number): MemoryLevel => {
    if (usedBytes >= criticalAtBytes || (level === 'critical' && usedBytes >= criticalClearBytes)) return 'critical'
    if (usedBytes >= warningAtBytes || (level !== 'normal' && usedBytes >= warningClearBytes)) return 'warning'
    return 'normal'
  }

  const read = (sample: MemorySample, exceeded: boolean): MemoryReading => {
    const elapsedMs = last === undefined ? 0 : sample.at - last.at
    if (last !== undefined && elapsedMs > 0) {
      const slope = ((sample.usedBytes - last.usedBytes) * 1_000) / elapsedMs
      trend = trend === 0 ? slope : trend * (1 - TREND_WEIGHT) + slope * TREND_WEIGHT
    }
    last = sample
    const before = level
    level = exceeded ? 'critical' : levelFor(sample.usedBytes)
    const secondsToLimit = trend > 0 ? Math.max(0, limitBytes - sample.usedBytes) / trend : undefined
    // Also when the trend would reach the limit before the third calm look.
    const alert =
      sample.usedBytes >= limitBytes * ALERT_RATIO ||
      (secondsToLimit !== undefined && secondsToLimit * 1_000 < CALM_MS * STALE_INTERVALS)
    nextSampleMs = alert ? ALERT_MS : CALM_MS
    return {
      level,
      ...(before === level ? {} : { changedFrom: before }),
      exceeded,
      usedBytes: sample.usedBytes,
      limitBytes,
      usedRatio: sample.usedBytes / limitBytes,
      trendBytesPerSecond: trend,
      ...(secondsToLimit === undefined ? {} : { secondsToLimit }),
      nextSampleMs
    }
  }

  return {
    criticalAtBytes,
    criticalClearBytes,
    observe: (sample) => read(sample, false),
    exceeded: (sample) => read(sample, true),
    isStale: (now) => last !== undefined && now - last.at > nextSampleMs * STALE_INTERVALS
  }
}
