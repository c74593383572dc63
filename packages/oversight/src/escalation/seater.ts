import { type Clock, isSuiteError, type Requester } from '@enablement/core'
import { withinTime } from '../channel/attempt.ts'
import type { ApproverDirectory } from '../directory/approver-directory.ts'
import { principalsBehind } from '../directory/requester.ts'
import { seatsOf, type TierSeats } from '../directory/seats.ts'
import type { OversightEvent } from '../oversight-event.ts'
import type { ApprovalPolicy } from '../policy/policy.ts'
import { namedSeating, requestersOf, type Seating, type Seatings, withoutRequesters } from './seating.ts'

/** Whose tiers are to be seated. */
interface Asking {
  readonly policy: ApprovalPolicy
  readonly tenant: string
  readonly requestedBy: Requester
}

/** Who sits in the tiers that are to be asked next. */
export interface Seated {
  readonly seatings: Seatings
  /** Everyone who is behind the request, as far as is known. */
  readonly principals: readonly string[]
}

/** Finds out who sits in a tier, before the unit in which it is asked. */
export interface Seater {
  /** Tiers from `tier` on, up to the first in which anybody sits. */
  from(asking: Asking, tier: number, signal?: AbortSignal): Promise<Seated>
  /** As far as it is known without asking anybody: always, where there is no directory. */
  known(asking: Asking, tier: number): Seating | undefined
}

/** How long a directory may take for one tier. */
const DIRECTORY_MS = 5_000

/**
 * For how long a directory that did not answer in time is not asked for further tiers of its tenant: a hundred requests
 * that each wait for it in vain would keep all others waiting with them.
 */
const REST_MS = 1_000
/** Tenants whose directories are left alone at the same time; beyond it they are asked. */
const RESTING_MAX = 1_000

export function createSeater(options: {
  readonly directory: ApproverDirectory | undefined
  readonly clock: Clock
  readonly emit: (event: OversightEvent) => void
}): Seater {
  const { directory, clock, emit } = options

  /** By tenant, on the monotonic clock. */
  const restsUntil = new Map<string, number>()
  const isResting = (tenant: string): boolean => {
    const until = restsUntil.get(tenant)
    if (until === undefined || until > clock.monotonic()) return until !== undefined
    restsUntil.delete(tenant)
    return false
  }
  const rest = (tenant: string): void => {
    if (restsUntil.size >= RESTING_MAX) restsUntil.clear()
    restsUntil.set(tenant, clock.monotonic() + REST_MS)
  }

  const known: Seater['known'] = ({ policy, requestedBy }, index) => {
    const tier = policy.tiers[index]
    return directory !== undefined || tier === undefined ? undefined : namedSeating(tier.approvers, requestedBy)
  }

  const askDirectory = async (
    asking: Asking,
    index: number,
    signal: AbortSignal | undefined
  ): Promise<{ readonly seating: Seating; readonly principals: readonly string[] }> => {
    const { policy, tenant, requestedBy } = asking
    const tier = policy.tiers[index]
    if (tier === undefined || isResting(tenant)) return { seating: { outcome: 'unavailable' }, principals: [] }
    try {
      return await withinTime(clock, DIRECTORY_MS, async (timeout) => {
        const within = signal === undefined ? timeout : AbortSignal.any([signal, timeout])
        const question = { directory, tenant, at: clock.now(), signal: within }
        const [found, principals] = await Promise.all([
          seatsOf(tier, question),
          principalsBehind(requestedBy, directory, { tenant, signal: within })
        ])
        return { seating: withoutRequesters(leftOut(found), requestedBy, principals), principals }
      })
    } catch (error) {
      signal?.throwIfAborted()
      const isTimeout = error instanceof Error && error.name === 'AttemptTimedOut'
      if (!isTimeout && !isSuiteError(error, 'DIRECTORY_UNAVAILABLE')) throw error
      if (isTimeout) rest(tenant)
      emit({ type: 'directory.failed', tenant, error })
      return { seating: { outcome: 'unavailable' }, principals: [] }
    }
  }

  return {
    known,
    async from(asking, first, signal) {
      const requesters = requestersOf(asking.requestedBy)
      if (directory === undefined) return { seatings: (tier) => known(asking, tier), principals: requesters }
      const seatings = new Map<number, Seating>()
      let principals = requesters
      for (let tier = first; tier < asking.policy.tiers.length; tier++) {
        const asked = await askDirectory(asking, tier, signal)
        seatings.set(tier, asked.seating)
        principals = [...new Set([...principals, ...asked.principals])]
        if (asked.seating.outcome === 'unavailable' || asked.seating.seats.length > 0) break
      }
      return { seatings: (tier) => seatings.get(tier), principals }
    }
  }
}

/** Who was left out, in the words of the record: people, and groups and schedules that there are not. */
function leftOut({ seats, absent, unknown, cut }: TierSeats): Parameters<typeof withoutRequesters>[0] {
  const nameOf = (ref: TierSeats['unknown'][number]): string =>
    typeof ref === 'string' ? ref : 'group' in ref ? `group:${ref.group}` : `on-call:${ref.onCall}`
  return {
    seats,
    absent: [
      ...absent.map(({ approver, because }) => ({ approver, because })),
      ...unknown.map((ref) => ({ approver: nameOf(ref), because: 'not-known' })),
      ...cut.map(({ from, people }) => ({ approver: nameOf(from), because: `${people} too many` }))
    ]
  }
}
