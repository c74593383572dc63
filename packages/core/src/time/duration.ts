import { CoreError } from '../failure/core-error.ts'

function milliseconds(count: number, unit: string, unitMs: number): number {
  const durationMs = count * unitMs
  if (!Number.isFinite(durationMs) || durationMs < 0) {
    throw new CoreError(
      'INVALID_DURATION',
      `a duration of ${count} ${unit} is not a finite, non-negative length of time`,
      {
        count,
        unit
      }
    )
  }
  return durationMs
}

/** `count` seconds in milliseconds. Throws `INVALID_DURATION` for a negative, NaN or infinite count. */
export const seconds = (count: number): number => milliseconds(count, 'seconds', 1_000)

/** `count` minutes in milliseconds. Throws `INVALID_DURATION` for a negative, NaN or infinite count. */
export const minutes = (count: number): number => milliseconds(count, 'minutes', 60_000)

/** `count` hours in milliseconds. Throws `INVALID_DURATION` for a negative, NaN or infinite count. */
export const hours = (count: number): number => milliseconds(count, 'hours', 3_600_000)

/**
 * `count` spans of 24 hours in milliseconds: elapsed time, not calendar days, which are 23 or 25 hours long when
 * daylight saving changes. Throws `INVALID_DURATION` for a negative, NaN or infinite count.
 */
export const days = (count: number): number => milliseconds(count, 'days', 86_400_000)
