import type { Platform, Verdict } from '@enablement/core'
import type { Duty, DutyRun } from '@enablement/core/schedule'
import type { ApproverDirectory } from '../directory/approver-directory.ts'
import type { OversightEvent } from '../evidence/event.ts'
import type { OversightStore } from '../oversight-store.ts'
import type { Delivery } from '../request/delivery.ts'
import { type RequestRecord, verdictOf } from '../request/request.ts'
import type { Transitions } from '../request/transitions.ts'
import { withinTime } from './attempt.ts'
import type { Addressee, Channel, Invitation } from './channel.ts'
import { type DeliveryResult, recordDelivery } from './delivery-result.ts'

const NAME = 'oversight.delivery'

/** Messages that one run sends at the same time: a provider's burst limit is met sooner than a socket limit. */
const BATCH = 16

/**
 * What the lease has beyond the time for the attempt itself: for the result to be committed, also by a database that is
 * slow. A worker that dies is noticed after both.
 */
const LEASE_MARGIN_MS = 20_000

/** The pause before the second attempt; it doubles, with jitter, up to the attempts' bound: some 1, 2 and 4 s. */
const RETRY_MS = 1_000

/** Characters of a receipt and of a channel's reason that are kept. */
const RECEIPT_LENGTH_MAX = 1_024
const REASON_LENGTH_MAX = 500

interface DeliveryDutyOptions {
  readonly store: OversightStore
  readonly transitions: Transitions
  readonly channels: { readonly [name: string]: Channel }
  readonly directory: ApproverDirectory | undefined
  readonly platform: Platform
  readonly emit: (event: OversightEvent) => void
  /** How long one attempt may take, the directory's answer included. */
  readonly attemptMs: number
}

/** Sends what the outbox holds and commits what became of it. */
export function deliveryDuty(options: DeliveryDutyOptions): Duty {
  const { store, emit, attemptMs } = options
  return {
    name: NAME,
    async run({ signal }): Promise<DutyRun> {
      signal.throwIfAborted()
      const claimed = await store.claimDeliveries({ limit: BATCH, leaseMs: attemptMs + LEASE_MARGIN_MS })
      let failures = 0
      let failure: unknown
      // What was claimed is carried through even if the worker closes meanwhile: the attempt's time bounds it.
      const deliverOne = async (delivery: Delivery): Promise<void> => {
        try {
          await deliver(options, delivery)
        } catch (error) {
          // Not read, or its result not committed: it is due again when the lease ends.
          failures += 1
          failure = error
          emit({ type: 'duty.failed', duty: NAME, requestId: delivery.requestId, error })
        }
      }
      await Promise.all(claimed.map(deliverOne))
      if (failures > 0 && failures === claimed.length) throw failure
      return { handled: claimed.length }
    }
  }
}

async function deliver(options: DeliveryDutyOptions, delivery: Delivery): Promise<void> {
  const { store, transitions, platform, emit, attemptMs } = options
  const { id, requestId, kind, channel, attempts } = delivery
  const request = await store.find(requestId)
  // Settled since it was claimed: the invitation has been called off.
  if (request === undefined || (kind === 'invitation' && request.status !== 'pending')) return
  let result: DeliveryResult
  try {
    result = await withinTime(platform.clock, attemptMs, (signal) => attempt(options, { delivery, request }, signal))
  } catch (error) {
    emit({ type: 'delivery.failed', requestId, deliveryId: id, channel, error })
    const pauseMs = RETRY_MS * 2 ** (attempts - 1)
    const retryInMs = Math.ceil(pauseMs * (1 + platform.random.float() / 2))
    // The message stays out of the record: it may quote a URL with a key in it. Observers get the error itself.
    result = { outcome: 'failed', reason: `${attempts} attempts failed, the last with ${nameOf(error)}`, retryInMs }
  }
  await transitions.apply(requestId, (dossier, now) => recordDelivery(dossier, { id, attempts, result }, now))
}

async function attempt(
  { channels, directory }: DeliveryDutyOptions,
  { delivery, request }: { readonly delivery: Delivery; readonly request: RequestRecord },
  signal: AbortSignal
): Promise<DeliveryResult> {
  const channel = channels[delivery.channel]
  if (channel === undefined) return unreachable(`this worker knows no channel ${delivery.channel}`)
  const approver = await addresseeOf(directory, delivery, request.tenant, signal)
  if (approver === undefined) return unreachable('the directory has no address on this channel')
  const { id: requestId, tenant, action, summary, detail, requestedBy, openedAt, tierEndsAt, deadlineAt } = request
  const { id, tier, receipt } = delivery

  if (delivery.kind === 'verdict') {
    const verdict = verdictOf(request) as Verdict
    await channel.update?.({ id, requestId, tenant, action, summary, approver, receipt, verdict }, { signal })
    return { outcome: 'delivered' }
  }
  const reach = await channel.reachability?.(approver, { signal })
  if (reach?.outcome === 'unreachable') return unreachable(reach.reason)
  const escalatesAt = tier === request.tier ? tierEndsAt : undefined
  const about = { id, requestId, tenant, action, summary, detail, requestedBy, approver, tier }
  const invitation: Invitation = { ...about, openedAt, escalatesAt, deadlineAt }
  const delivered = await channel.deliver(invitation, { signal })
  if (delivered.outcome === 'unreachable') return unreachable(delivered.reason)
  return { outcome: 'delivered', receipt: bounded(delivered.receipt, RECEIPT_LENGTH_MAX) }
}

/** Without a directory an approver's id is their name and their address. */
async function addresseeOf(
  directory: ApproverDirectory | undefined,
  { approver: id, channel }: { readonly approver: string; readonly channel: string },
  tenant: string,
  signal: AbortSignal
): Promise<Addressee | undefined> {
  if (directory === undefined) return { id, name: id, address: id }
  const known = await directory.find(id, { tenant, signal })
  const address = known?.addresses[channel]
  return known === undefined || address === undefined ? undefined : { id, name: known.name, address }
}

function unreachable(reason: string): DeliveryResult {
  return { outcome: 'unreachable', reason: bounded(reason, REASON_LENGTH_MAX) ?? '' }
}

/** Text from a channel, cut to its bound and fit for every store. */
function bounded(text: string | undefined, lengthMax: number): string | undefined {
  return text?.slice(0, lengthMax).replaceAll('\0', '').toWellFormed()
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error
}
