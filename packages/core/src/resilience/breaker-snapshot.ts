import { z } from 'zod'
import type { BreakerState } from './breaker-event.ts'
import type { WindowSlice } from './rolling-window.ts'

/** A breaker's standing as JSON: what a function that is started anew for each request, or another process, goes on from. */
export interface BreakerSnapshot {
  /** Of this form, so that later versions can tell it apart. */
  readonly version: 1
  /** When it was taken, in epoch milliseconds. */
  readonly takenAt: number
  readonly state: BreakerState
  /** Of an open breaker: how long the break has still to last. */
  readonly breakLeftMs: number
  /** Of a closed breaker: how long until breaks are no longer in a row with those before. */
  readonly calmLeftMs: number
  /** Breaks in a row, from which the length of the next one follows. */
  readonly breaks: number
  /** The calls of the window, oldest first. */
  readonly window: readonly WindowSlice[]
}

/** Counts are bounded like the windows, or a damaged snapshot could keep `restore` busy. */
const countSchema = z.int().min(0).max(1_000_000_000)

export const snapshotSchema: z.ZodType<BreakerSnapshot> = z.strictObject({
  version: z.literal(1),
  takenAt: z.number().min(0),
  state: z.enum(['closed', 'open', 'half-open', 'metrics-only', 'forced-open', 'disabled']),
  breakLeftMs: z.number().min(0),
  calmLeftMs: z.number().min(0),
  breaks: countSchema,
  window: z
    .array(
      z
        .strictObject({ ageMs: z.number().min(0), calls: countSchema, failures: countSchema, slow: countSchema })
        .refine(
          ({ calls, failures, slow }) => failures <= calls && slow <= calls,
          'more failures or slow calls than calls'
        )
    )
    .max(10_000)
})
