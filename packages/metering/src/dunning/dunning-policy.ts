import { days, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { DECIMAL_PATTERN } from '../money/decimal-text.ts'

/** What happens, and when, from the first failed payment on. MT-8. */
export interface DunningPolicy {
  /** Attempts to collect: the first so long after the failure, and each further one after the one before it ended. */
  readonly retries: { readonly firstAfterMs: number; readonly everyMs: number; readonly attemptsMax: number }
  /** Each is sent once. Names are unique. */
  readonly notices: readonly { readonly name: string; readonly afterMs: number; readonly channel: string }[]
  /** When the service restriction comes into force. A last attempt is made before, if there is one left. */
  readonly restrictAfterMs: number
  /** What quotas are cut to until it is paid, of the plan's own: plain decimal text in [0, 1]. */
  readonly quotaRatio: string
  /**
   * By currency, in minor units: attempts are made once that much is unpaid. What is below still counts, waits, and is
   * noticed; where no threshold is given any amount is enough.
   */
  readonly thresholds: { readonly [currency: string]: bigint }
}

/** Seven days: e-mail on the first, in-app on the third, restriction on the seventh; four attempts; a tenth of the quota. */
export const DUNNING_POLICY: DunningPolicy = {
  retries: { firstAfterMs: days(1), everyMs: days(2), attemptsMax: 4 },
  notices: [
    { name: 'first-notice', afterMs: days(1), channel: 'email' },
    { name: 'second-notice', afterMs: days(3), channel: 'in-app' }
  ],
  restrictAfterMs: days(7),
  quotaRatio: '0.1',
  thresholds: {}
}

/** A year: beyond it nobody is dunned, they are sued. */
const AFTER_MS_MAX = days(366)
const NOTICES_MAX = 32
const ATTEMPTS_MAX = 100

const afterMs = z.int().min(0).max(AFTER_MS_MAX)

const policySchema: z.ZodType<DunningPolicy> = z
  .strictObject({
    retries: z.strictObject({
      firstAfterMs: afterMs,
      everyMs: z.int().min(1).max(AFTER_MS_MAX),
      attemptsMax: z.int().min(0).max(ATTEMPTS_MAX)
    }),
    notices: z
      .array(
        z.strictObject({
          name: z
            .string()
            .regex(/^[a-z][a-z0-9-]{0,31}$/, 'a name is at most 32 lower case letters, digits and hyphens'),
          afterMs,
          channel: z.string().min(1).max(64)
        })
      )
      .max(NOTICES_MAX)
      .refine(
        (notices) => new Set(notices.map(({ name }) => name)).size === notices.length,
        'two notices have the same name'
      ),
    restrictAfterMs: afterMs,
    quotaRatio: z
      .string()
      .regex(DECIMAL_PATTERN, 'must be plain decimal text such as 0.1')
      .refine((text) => Number(text) >= 0 && Number(text) <= 1, 'must be from 0 to 1'),
    thresholds: z.record(z.string().regex(/^[A-Z]{3}$/, 'must be three capital letters'), z.bigint().min(0n))
  })
  .check(({ value, issues }) => {
    const late = value.notices.find((notice) => notice.afterMs > value.restrictAfterMs)
    if (late === undefined) return
    const message = `a notice after the restriction (${late.name}) would warn of what has happened`
    issues.push({ code: 'custom', input: late, path: ['notices'], message })
  })

/** Throws `INVALID_OPTIONS`. */
export function checkPolicy(policy: DunningPolicy): DunningPolicy {
  return parseOptions(policySchema, 'createDunning.policy', policy)
}
