import type { RequestRecord } from '../request/request.ts'
import type { SettledRequest } from './settled-request.ts'

/** A request that has ended, as statistics count it; undefined for one that is open. */
export function settledRow(request: RequestRecord): SettledRequest | undefined {
  const { action, risk, status, openedAt, tier, settlement, seats, votes, views, lateByMs } = request
  if (status === 'pending' || settlement === undefined) return undefined
  const firstViewedAt = views.reduce<number | undefined>((first, { at }) => Math.min(first ?? at, at), undefined)
  return {
    action,
    risk,
    status,
    decidedBy: decidedBy(request, settlement.by),
    openedAt,
    settledAt: settlement.at,
    tier,
    ...(firstViewedAt === undefined ? {} : { firstViewedAt }),
    lateByMs,
    asked: seats.map(({ approver, askedAt }) => ({ approver, askedAt })),
    votes: votes.map(({ approver, decision, votedAt }) => ({ approver, decision, votedAt }))
  }
}

function decidedBy({ status }: RequestRecord, by: string): SettledRequest['decidedBy'] {
  if (status === 'timed-out' || status === 'cancelled') return 'nobody'
  if (by.startsWith('grant:')) return 'grant'
  return by.startsWith('system:') ? 'system' : 'person'
}
