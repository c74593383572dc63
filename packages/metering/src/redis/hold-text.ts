import { replyInteger } from '@enablement/core/redis'

/** What of a hold's text is needed outside of the scripts. */
export interface HoldInText {
  readonly expiresAt: number
  /** Epoch milliseconds; null while it is open. */
  readonly forgetAt: number | null
  readonly parts: readonly HeldInText[]
}

/** Units that a hold has of a counter: those that were taken from [startsAt, endsAt). */
export interface HeldInText {
  readonly startsAt: number
  readonly endsAt: number
  readonly amount: number
  readonly counter: string
}

/** Reads what `metering.hold` has written. Throws `STORE_DAMAGED`. */
export function holdIn(text: string): HoldInText {
  const [head = '', , ...lines] = text.split('\n')
  const [, , expiresAt, , , ...ending] = head.split(':')
  return {
    expiresAt: replyInteger(expiresAt),
    forgetAt: ending.length > 1 ? replyInteger(ending.at(-1)) : null,
    parts: lines
      .filter((line) => line !== '')
      .map((line) => {
        const [startsAt, endsAt, amount, ...counter] = line.split(':')
        return {
          startsAt: replyInteger(startsAt),
          endsAt: replyInteger(endsAt),
          amount: replyInteger(amount),
          // A name has colons of its own, between its parts.
          counter: counter.join(':')
        }
      })
  }
}
