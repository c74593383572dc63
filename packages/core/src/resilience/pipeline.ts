import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import type { CallOptions, Policy, Work } from './policy.ts'

/** Far more than there are kinds of policies; a longer list is a loop that adds them. */
const POLICIES_MAX = 20

const pipelineOptions: z.ZodType<readonly Policy[]> = z
  .array(
    z.custom<Policy>(
      (value) =>
        typeof value === 'object' && value !== null && 'execute' in value && typeof value.execute === 'function',
      'must be a policy'
    )
  )
  .min(1)
  .max(POLICIES_MAX)

/**
 * Policies around one another, the first outermost: `createPipeline([retry, breaker, bulkhead, timeout])` retries calls
 * that the breaker lets through to the bulkhead, each with a timeout of its own. A pipeline is a policy too.
 *
 * That is the order to begin with, and what each place means:
 *
 * 1. retry, whose deadline bounds everything inside; waits between attempts hold no place and no permit
 * 2. token bucket, so that attempts count against the rate and not calls
 * 3. circuit breaker, so that every attempt is evidence and is asked for anew; when it is open nobody waits for a place
 * 4. bulkhead, so that only calls that are let through take a place
 * 5. timeout, so that it bounds one attempt, without the time spent waiting for leave; the breaker and the retry see it
 *    as a failure
 *
 * A timeout outside the retry bounds all attempts; a breaker outside the retry sees one call where there are several
 * attempts. Throws `INVALID_OPTIONS`.
 */
export function createPipeline(policies: readonly Policy[]): Policy {
  const chain = [...parseOptions(pipelineOptions, 'createPipeline', policies)]
  const run = <T>(at: number, work: Work<T>, options?: CallOptions): Promise<T> => {
    const policy = chain[at] as Policy
    return policy.execute(at + 1 === chain.length ? work : (call) => run(at + 1, work, call), options)
  }
  return { execute: (work, options) => run(0, work, options) }
}
