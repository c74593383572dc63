import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { plainText } from '../failure/plain-text.ts'
import { nameSchema } from '../lock/lock-store.ts'

/**
 * How a breaker stands for all processes. Times are spans by the store's clock, so that the processes' clocks do not
 * matter.
 */
export type SharedStanding = {
  /** Grows with every break, claim and closing, and is never given again; 0 while the store knows nothing of the breaker. */
  readonly generation: number
  /** Breaks in a row up to the last one. */
  readonly breaks: number
  /** How long the last break was meant to last; 0 when there was none. */
  readonly breakMs: number
} & (
  | {
      readonly state: 'closed'
      /** How long ago it closed; 0 when it never was open. */
      readonly closedForMs: number
    }
  | {
      readonly state: 'open'
      /** How long the break has still to last; 0 when it is over and nobody has closed the breaker yet. */
      readonly breakLeftMs: number
      /** How long the claim of whoever probes has still to last; 0 when there is none. */
      readonly probeLeftMs: number
    }
)

/** A break as the process that opened it has it. */
export interface SharedBreak {
  /** The generation that the process knew: when there has been another since, its evidence is out of date. */
  readonly generation: number
  /** 1 to 1e9. */
  readonly breaks: number
  /** What the next break grows from, an integer from 1 ms to a day. */
  readonly breakMs: number
  /** What of it is left, an integer from 0 to `breakMs`: telling the store takes time. */
  readonly breakLeftMs: number
}

/** Who wants to find out whether the break can end. */
export interface ProbeClaim {
  readonly generation: number
  /** One for as long as a process runs: 1 to 128 characters. Its claim is the same when it is sent twice. */
  readonly owner: string
  /** How long the claim lasts, an integer from 1 ms to two days. */
  readonly leaseMs: number
}

export interface ProbeAnswer {
  readonly outcome: 'granted' | 'refused'
  readonly standing: SharedStanding
}

/**
 * Where processes that call the same callee agree on one breaker. Each counts its own calls; what they share is whether
 * it is open, how long, and who probes. Each call is one atomic step that compares generations: of two processes that
 * saw the same one, the first changes it, and the second is told what stands. So all may be sent twice. A claim is a
 * generation too, and with it a fence: whoever holds an older claim can neither open nor close any more.
 *
 * Generations are the one before plus one, or the store's clock in microseconds where that is more, so that they are not
 * given twice when the store has lost its record. A clock that is set back ends breaks and claims rather than prolong
 * them by more than their length. Names have 1 to 256 characters. A store that does not answer throws
 * `STORE_UNAVAILABLE` or `COMMIT_UNKNOWN`.
 */
export interface BreakerStateStore {
  readonly supports: {
    /** What a break survives. */
    readonly durable: 'power-loss' | 'process' | 'none'
    /** Whether several processes may use the same breakers. */
    readonly shared: boolean
  }
  read(name: string): Promise<SharedStanding>
  /** Opens the breaker, anew when it is open, and ends a claim to probe. Gives what stands after it. */
  open(name: string, next: SharedBreak): Promise<SharedStanding>
  /**
   * Claims the probe once the break is over. Of all owners one gets it, under a new generation, until the lease ends;
   * that owner gets it again, under the same, with its whole lease. Refused during a break, while another claim lasts,
   * when the breaker is closed, and when the generation is not the claimant's.
   */
  claimProbe(name: string, claim: ProbeClaim): Promise<ProbeAnswer>
  /** Closes the breaker: the probe was fine. Gives what stands after it. */
  close(name: string, known: { readonly generation: number }): Promise<SharedStanding>
  /** Closes the breaker whatever the generation, and forgets its breaks in a row. */
  reset(name: string): Promise<SharedStanding>
}

const DAY_MS = 86_400_000

export const BREAKS_MAX = 1_000_000_000

const generationSchema = z.int().min(0)

const openSchema: z.ZodType<{ readonly name: string } & SharedBreak> = z
  .strictObject({
    name: nameSchema,
    generation: generationSchema,
    breaks: z.int().min(1).max(BREAKS_MAX),
    breakMs: z.int().min(1).max(DAY_MS),
    breakLeftMs: z.int().min(0)
  })
  .refine(({ breakMs, breakLeftMs }) => breakLeftMs <= breakMs, {
    path: ['breakLeftMs'],
    message: 'is longer than the break'
  })

const claimSchema: z.ZodType<{ readonly name: string } & ProbeClaim> = z.strictObject({
  name: nameSchema,
  generation: generationSchema,
  owner: plainText(128),
  leaseMs: z
    .int()
    .min(1)
    .max(2 * DAY_MS)
})

const closeSchema: z.ZodType<{ readonly name: string; readonly generation: number }> = z.strictObject({
  name: nameSchema,
  generation: generationSchema
})

const nameOnly: z.ZodType<{ readonly name: string }> = z.strictObject({ name: nameSchema })

/** One step on a breaker's record, checked: every store takes and refuses the same. */
export type BreakerStep =
  | ({ readonly do: 'open' } & SharedBreak)
  | ({ readonly do: 'claim' } & ProbeClaim)
  | { readonly do: 'close'; readonly generation: number }
  | { readonly do: 'reset' }

/** Throws `INVALID_OPTIONS`. */
function checkName(subject: string, name: string): string {
  return parseOptions(nameOnly, subject, { name }).name
}

/** The port over the two things that a store must do: read a record and take a step. Both get what has been checked. */
export function breakerStateStoreOf(
  subject: string,
  supports: BreakerStateStore['supports'],
  record: {
    read(name: string): Promise<SharedStanding>
    take(name: string, step: BreakerStep): Promise<ProbeAnswer>
  }
): BreakerStateStore {
  const take = async (name: string, step: BreakerStep): Promise<SharedStanding> =>
    (await record.take(name, step)).standing
  return {
    supports,
    read: async (name) => record.read(checkName(`${subject}.read`, name)),
    async open(name, next) {
      const { name: checked, ...step } = parseOptions(openSchema, `${subject}.open`, { ...next, name })
      return take(checked, { do: 'open', ...step })
    },
    async claimProbe(name, claim) {
      const { name: checked, ...step } = parseOptions(claimSchema, `${subject}.claimProbe`, { ...claim, name })
      return record.take(checked, { do: 'claim', ...step })
    },
    async close(name, known) {
      // A whole standing may be passed on, as the type allows; the rest of it is of no interest here.
      const given = { name, generation: known.generation }
      const { name: checked, generation } = parseOptions(closeSchema, `${subject}.close`, given)
      return take(checked, { do: 'close', generation })
    },
    reset: async (name) => take(checkName(`${subject}.reset`, name), { do: 'reset' })
  }
}
