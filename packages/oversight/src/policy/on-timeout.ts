import { z } from 'zod'

/**
 * What happens when a request's deadline comes and nobody has decided. `resume`: it is `timed-out`, and its agent is
 * resumed with that. `terminate`: it is `timed-out`, and its agent's session is ended. `extend`: the deadline moves by
 * `byMs`, at most `timesMax` times, and those who were asked hear of it; then the request ends as `afterwards` says.
 */
export type OnTimeout =
  | 'resume'
  | 'terminate'
  | {
      readonly extend: { readonly byMs: number; readonly timesMax: number }
      readonly afterwards: 'resume' | 'terminate'
    }

/** A month; and a month of days: whoever has not decided by then will not. */
const EXTENSION_MAX_MS = 31 * 86_400_000
const EXTENSIONS_MAX = 31

const ending = z.enum(['resume', 'terminate'])

export const onTimeoutSchema: z.ZodType<OnTimeout> = z.union([
  ending,
  z.strictObject({
    extend: z.strictObject({
      byMs: z.int().min(1).max(EXTENSION_MAX_MS),
      timesMax: z.int().min(1).max(EXTENSIONS_MAX)
    }),
    afterwards: ending
  })
])
