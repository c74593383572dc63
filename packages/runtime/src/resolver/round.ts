import type { Clock } from '@enablement/core'
import type { FailureReason, NameServer, Question, ServerAnswer, Tier } from './name-server.ts'

/** What all tiers together say to one question. */
export type RoundResult =
  | Extract<ServerAnswer, { readonly outcome: 'addresses' | 'no-data' | 'no-such-name' }>
  | { readonly outcome: 'failed'; readonly failures: readonly TierFailure[] }

export interface TierFailure {
  readonly server: Tier
  readonly reason: FailureReason
  readonly cause?: unknown
}

export interface RoundOptions {
  /** In the order in which they are asked. */
  readonly tiers: readonly { readonly tier: Tier; readonly server: NameServer }[]
  /** After this long the secondary is asked beside a primary that is still silent. */
  readonly hedgeMs: number
  readonly clock: Clock
  /** Ends the round: whoever has not answered by then has failed. */
  readonly signal: AbortSignal
  /** Whether the name had such addresses before, or is pinned: one server's denial is then a failure of that server. */
  readonly knownGood: boolean
  /** What an answer comes to by the rules for private addresses. */
  readonly screen: (tier: Tier, answer: ServerAnswer) => ServerAnswer
  readonly onFailed: (failure: TierFailure) => void
  readonly onAnswered: (tier: Tier) => void
}

/**
 * Asks tier after tier, the next as soon as all before it have failed, the secondary also when the primary takes long. The
 * first answer ends the round, and those still asked are told to stop.
 *
 * A denial (no such name, no such addresses) of a name known to be good is no answer. Only when every tier there is, two
 * at the least, denies it, is it one: a single resolver that broke, was captured, or lost a zone must not take a name away.
 */
export function askInTurn(question: Question, options: RoundOptions): Promise<RoundResult> {
  const { tiers, clock, signal, knownGood } = options
  return new Promise((resolve) => {
    const stop = new AbortController()
    const failures: TierFailure[] = []
    const denials: Extract<ServerAnswer, { readonly outcome: 'no-data' | 'no-such-name' }>[] = []
    let begun = 0
    let ended = false

    const end = (result: RoundResult): void => {
      if (ended) return
      ended = true
      hedge?.cancel()
      signal.removeEventListener('abort', onAbort)
      resolve(result)
      stop.abort()
    }
    const onAbort = (): void => stop.abort()
    const fail = (failure: TierFailure): void => {
      failures.push(failure)
      options.onFailed(failure)
      if (failures.length === begun && !signal.aborted) next()
      if (failures.length < begun) return
      const denial = denials.find((one) => one.outcome === 'no-such-name') ?? denials[0]
      const agreed = denial !== undefined && tiers.length > 1 && denials.length === tiers.length
      end(agreed ? denial : { outcome: 'failed', failures })
    }
    const next = (): void => {
      const asked = tiers[begun]
      if (asked === undefined) return
      begun += 1
      const { tier, server } = asked
      void server.ask(question, { signal: stop.signal }).then((told) => {
        if (ended) return
        const answer = options.screen(tier, told)
        if (answer.outcome === 'failed') {
          return fail({
            server: tier,
            reason: answer.reason,
            ...(answer.cause === undefined ? {} : { cause: answer.cause })
          })
        }
        if (answer.outcome === 'addresses' || !knownGood) {
          options.onAnswered(tier)
          return end(answer)
        }
        denials.push(answer)
        fail({ server: tier, reason: 'contradicted' })
      })
    }

    if (signal.aborted || tiers.length === 0) return end({ outcome: 'failed', failures })
    signal.addEventListener('abort', onAbort, { once: true })
    next()
    const hedge =
      tiers[1]?.tier === 'secondary'
        ? clock.startTimer(options.hedgeMs, () => {
            if (begun === 1) next()
          })
        : undefined
  })
}
