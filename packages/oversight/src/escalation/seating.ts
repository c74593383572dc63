import type { Requester } from '@enablement/core'
import type { ApproverRef } from '../directory/approver-ref.ts'
import { eligible } from '../directory/requester.ts'
import type { Seat } from '../directory/seat.ts'

/** Who sits in a tier, as far as is known when it is to be asked. */
export type Seating =
  | {
      readonly outcome: 'seated'
      /** Those who may decide on this request. */
      readonly seats: readonly Seat[]
      /** Who would have been asked and was not, and why. */
      readonly absent: readonly { readonly approver: string; readonly because: string }[]
    }
  /** The directory did not answer: an outage must not be taken for nobody. */
  | { readonly outcome: 'unavailable' }

/** The seating of each tier of a request; undefined where it has not been found out. */
export type Seatings = (tier: number) => Seating | undefined

/** Leaves out those who ask. */
export function withoutRequesters(
  found: {
    readonly seats: readonly Seat[]
    readonly absent: readonly { readonly approver: string; readonly because: string }[]
  },
  requestedBy: Requester,
  principals: readonly string[]
): Seating {
  const seats = eligible(found.seats, requestedBy, principals)
  const asking = found.seats.filter((seat) => !seats.includes(seat))
  return {
    outcome: 'seated',
    seats,
    absent: [...found.absent, ...asking.map(({ approver }) => ({ approver, because: 'requester' }))]
  }
}

/** The seating of a tier where no directory knows more about people than their names. */
export function namedSeating(approvers: readonly ApproverRef[], requestedBy: Requester): Seating {
  const seats = approvers
    .filter((ref) => typeof ref === 'string')
    .map((approver): Seat => ({ approver, principal: approver, roles: [], authority: 0, via: { kind: 'named' } }))
  return withoutRequesters({ seats, absent: [] }, requestedBy, [])
}

/** Who asks, by name: the agent, and whoever it acts for. */
export function requestersOf({ agent, onBehalfOf }: Requester): readonly string[] {
  return onBehalfOf === undefined ? [agent] : [agent, onBehalfOf]
}

/** A seat's `via`, in a word or two for the record. */
export function viaOf({ via }: Seat): string {
  return via.kind === 'named' ? 'named' : `${via.kind}:${via.of}`
}
