import { type Clock, parseOptions, systemClock } from '@enablement/core'
import { z } from 'zod'
import type { TimeSource } from './time-source.ts'

/** How far off this machine's clock may be without being wrong, unless its keeper knows better: NTP keeps it far closer. */
const ERROR_MS = 1_000

export interface ClockTimeSourceOptions {
  /** The machine's own unless given. */
  readonly clock?: Clock
  /** How far off it may be: 1,000 ms unless given. */
  readonly errorMs?: number
}

const optionsSchema: z.ZodType<ClockTimeSourceOptions> = z.strictObject({
  clock: z.custom<Clock>((value) => typeof value === 'object' && value !== null).exactOptional(),
  errorMs: z.number().min(0).max(3_600_000).exactOptional()
})

/** This machine's clock as one source among others. Throws `INVALID_OPTIONS`. */
export function clockTimeSource(options: ClockTimeSourceOptions = {}): TimeSource {
  const { clock = systemClock, errorMs = ERROR_MS } = parseOptions(optionsSchema, 'clockTimeSource', options)
  return { name: 'own clock', now: async () => ({ epochMs: clock.now(), errorMs }) }
}
