import type { Fact } from '../evidence/fact.ts'
import { type Delivery, noticeOf } from '../request/delivery.ts'
import type { Dossier } from '../request/dossier.ts'
import type { Step } from '../request/step.ts'

/** What became of an attempt to send. */
export type DeliveryResult =
  | { readonly outcome: 'delivered'; readonly receipt?: string | undefined }
  | { readonly outcome: 'unreachable'; readonly reason: string }
  /** The channel did not answer or threw: whether the message went out is not known. */
  | { readonly outcome: 'failed'; readonly reason: string; readonly retryInMs: number }

/**
 * Attempts to send one message whose channel fails. The pauses in between (see the delivery duty) add up to about 10 s,
 * inside of most tiers' waits; a channel that says `unreachable` is believed at once.
 */
const DELIVERY_ATTEMPTS_MAX = 4

/**
 * Commits what became of an attempt. When it was the tier's last hope and the tier is to be skipped if unreachable, the
 * tier's wait ends now. An invitation that went out while the verdict was being committed is followed by that verdict.
 */
export function recordDelivery(
  dossier: Dossier,
  attempt: { readonly id: string; readonly attempts: number; readonly result: DeliveryResult },
  now: number
): Step<{ readonly state: Delivery['state'] | 'unknown' }> {
  const { request, deliveries } = dossier
  const delivery = deliveries.find(({ id }) => id === attempt.id)
  if (delivery === undefined) return { answer: { state: 'unknown' }, facts: [] }
  const { result } = attempt
  const late = delivery.state === 'cancelled' && result.outcome === 'delivered'
  // A result that comes after another worker has settled the matter changes nothing.
  if (delivery.state !== 'queued' && !late) return { answer: { state: delivery.state }, facts: [] }

  const after = resultOf(delivery, attempt, now)
  if (after === delivery) return { answer: { state: delivery.state }, facts: [] }
  const answer = { state: after.state }
  const facts = factsOf(after, result)
  if (delivery.kind === 'verdict') return { answer, changedDeliveries: [after], facts }
  if (request.status !== 'pending') {
    const newDeliveries = after.state === 'delivered' ? [noticeOf(after, now)] : []
    return { answer, changedDeliveries: [after], newDeliveries, facts }
  }
  const tier = request.policy.tiers[delivery.tier]
  const hopeless =
    tier?.skipIfUnreachable === true &&
    delivery.tier === request.tier &&
    request.tierEndsAt !== undefined &&
    deliveries.every(
      (other) =>
        other.id === after.id || other.tier !== after.tier || other.kind !== after.kind || other.state === 'unreachable'
    ) &&
    after.state === 'unreachable'
  if (!hopeless) return { answer, changedDeliveries: [after], facts }
  const tierEndsAt = Math.min(now, request.tierEndsAt ?? now)
  return { answer, request: { ...request, tierEndsAt }, changedDeliveries: [after], facts }
}

function resultOf(
  delivery: Delivery,
  { attempts, result }: { readonly attempts: number; readonly result: DeliveryResult },
  now: number
): Delivery {
  switch (result.outcome) {
    case 'delivered':
      return { ...delivery, state: 'delivered', dueAt: undefined, receipt: result.receipt ?? delivery.receipt }
    case 'unreachable':
      return { ...delivery, state: delivery.kind === 'verdict' ? 'failed' : 'unreachable', dueAt: undefined }
    case 'failed':
      // Another worker has taken it since: that one's result counts.
      if (delivery.attempts !== attempts) return delivery
      if (attempts < DELIVERY_ATTEMPTS_MAX) return { ...delivery, dueAt: now + result.retryInMs }
      return { ...delivery, state: delivery.kind === 'verdict' ? 'failed' : 'unreachable', dueAt: undefined }
  }
}

function factsOf({ kind, state, tier, approver, channel }: Delivery, result: DeliveryResult): readonly Fact[] {
  if (kind === 'verdict') return []
  if (state === 'delivered') return [{ type: 'invitation.delivered', tier, approver, channel }]
  if (state !== 'unreachable' || result.outcome === 'delivered') return []
  return [{ type: 'invitation.unreachable', tier, approver, channel, reason: result.reason }]
}
