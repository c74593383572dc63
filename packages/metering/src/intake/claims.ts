import { isSuiteError } from '@enablement/core'
import type { DedupAnswer, DedupClaim, DedupStore } from '../dedup/dedup-store.ts'
import { type MeteringError, storeFailure } from '../metering-error.ts'

/** What a claim found, or that nobody can say. */
export type ClaimAnswer = DedupAnswer | { readonly outcome: 'unknown'; readonly error: MeteringError<'STORE_FAILED'> }

/** What a meter asks before the ledger: what `createDedup` gives, or a dedup store. */
export interface UsageDedup extends Pick<DedupStore, 'settle' | 'release'> {
  claim(claims: readonly DedupClaim[], options?: { readonly signal?: AbortSignal }): Promise<readonly ClaimAnswer[]>
}

/** Claims before the ledger's unit, and what is said of them after it. */
export interface Claims {
  /** Never throws for a store that failed: its answers are then `unknown`. Throws the signal's reason. */
  claim(claims: readonly DedupClaim[], signal: AbortSignal | undefined): Promise<readonly ClaimAnswer[]>
  /** These are stored now. Said later, with others; when it is never heard, the ledger answers in its place. */
  settle(claims: readonly DedupClaim[]): void
  /** These will not be stored: free again, so that a retry is not told that it is a duplicate. Never throws. */
  release(claims: readonly DedupClaim[]): Promise<void>
  /** Waits for what was said. */
  flush(): Promise<void>
}

/** Settlements that wait to be said; beyond that they are forgotten, which costs a question to the ledger each. */
const SETTLEMENTS_MAX = 10_000

/** Claims of one call. */
const CLAIMS_MAX = 1_000

export function claimsOn(dedup: UsageDedup, onFailure: (error: MeteringError<'STORE_FAILED'>) => void): Claims {
  let waiting: DedupClaim[] = []
  let saying: Promise<void> | undefined

  const failed = (operation: string, error: unknown, signal?: AbortSignal): MeteringError<'STORE_FAILED'> => {
    const failure = storeFailure(operation, error, signal)
    if (failure === undefined) throw error
    onFailure(failure)
    return failure
  }

  const say = async (): Promise<void> => {
    while (waiting.length > 0) {
      const claims = waiting.slice(0, CLAIMS_MAX)
      waiting = waiting.slice(CLAIMS_MAX)
      try {
        await dedup.settle(claims)
      } catch (error) {
        if (isSuiteError(error)) failed('settle dedup claims', error)
      }
    }
    saying = undefined
  }

  return {
    async claim(claims, signal) {
      const answers: ClaimAnswer[] = []
      for (let at = 0; at < claims.length; at += CLAIMS_MAX) {
        const part = claims.slice(at, at + CLAIMS_MAX)
        try {
          answers.push(...(await dedup.claim(part, signal === undefined ? {} : { signal })))
        } catch (error) {
          const unknown = { outcome: 'unknown', error: failed('claim identities', error, signal) } as const
          answers.push(...part.map(() => unknown))
        }
      }
      return answers
    },
    settle(claims) {
      for (const claim of claims) if (waiting.length < SETTLEMENTS_MAX) waiting.push(claim)
      // On the next turn of the microtasks, with those of the other callers that one unit served.
      saying ??= Promise.resolve().then(say)
    },
    async release(claims) {
      if (claims.length === 0) return
      try {
        await dedup.release(claims)
      } catch (error) {
        if (isSuiteError(error)) failed('release dedup claims', error)
      }
    },
    async flush() {
      await saying
    }
  }
}
