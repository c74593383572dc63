import { type Clock, isSuiteError, untilAborted, type Verdict } from '@enablement/core'
import { type AgentControl, type AlertOps, agentCall } from '../channel/agent-control.ts'
import type { Addressee, Channel, DeliveryOutcome } from '../channel/channel.ts'
import type { ApproverDirectory } from '../directory/approver-directory.ts'
import { findApprover } from '../directory/asked-directory.ts'
import type { OversightEvent } from '../oversight-event.ts'
import type { Courier, MessageAttempt, MessageOutcome, OutgoingMessage, OversightStore } from '../oversight-store.ts'
import type { InvitationRecord } from '../request/invitation-record.ts'
import { alert, type Message, messageOf } from '../request/message.ts'
import { type RequestRecord, verdictOf } from '../request/request.ts'
import type { Step } from '../request/step.ts'
import type { Transitions } from '../transition/transitions.ts'
import { recordDelivery } from './delivery-result.ts'
import { digestFor } from './digest.ts'
import { invitationFor } from './shown-invitation.ts'

/** Attempts at an invitation unless its channel says otherwise: some 1, 2 and 4 s apart, inside most tiers' waits. */
const ATTEMPTS_MAX = 4
/** Attempts at the agent's host and the pager, whose messages nothing else replaces: about an hour with the pauses. */
const PORT_ATTEMPTS_MAX = 12

/** What an error may ask to wait: less would be no pause, and more is nobody's to ask while people wait. */
const ASKED_WAIT_MIN_MS = 1_000
const ASKED_WAIT_MAX_MS = 3_600_000

/** Until a store or a directory that did not answer is asked again. What it is asked for is not thereby out of reach. */
const STORE_PAUSE_MS = 1_000
const DIRECTORY_PAUSE_MS = 5_000

/** Characters of a receipt and of a channel's reason that are kept. */
const RECEIPT_LENGTH_MAX = 1_024
const REASON_LENGTH_MAX = 500

export interface CourierOptions {
  readonly store: OversightStore
  readonly transitions: Transitions
  readonly channels: { readonly [name: string]: Channel }
  readonly directory: ApproverDirectory | undefined
  readonly agentControl: AgentControl | undefined
  readonly alertOps: AlertOps | undefined
  readonly clock: Clock
  readonly emit: (event: OversightEvent) => void
}

/** What is told of after the commit. */
interface Settled {
  readonly facts: Step<unknown>['facts']
  readonly messages: readonly OutgoingMessage[]
  readonly now: number
}

/** Brings messages where they are to go, and says what their end means for their request. */
export function courierOf(options: CourierOptions): Courier {
  const { store, transitions, channels, emit } = options

  return {
    async deliver(attempt, { signal }) {
      const message = messageOf(attempt.payload)
      if (message === undefined) return { outcome: 'dropped' }
      let request: RequestRecord | undefined
      try {
        request = await store.find(message.requestId)
      } catch (error) {
        emit({ type: 'delivery.failed', requestId: message.requestId, kind: message.kind, channel: undefined, error })
        // Nothing was tried on the channel, whose attempts are not to be used up by a store that was away.
        if (isAway(error)) return { outcome: 'postponed', reason: nameOf(error), afterMs: STORE_PAUSE_MS }
        throw error
      }
      if (request === undefined) return { outcome: 'dropped' }
      const max = attemptsMax(message, request, channels)
      // The last one ran out of time, or its worker died.
      if (attempt.attempt > max) return unreachable(`${max} attempts failed, the last without an answer`)
      const last = attempt.attempt === max
      try {
        // Nobody waits for an attempt whose time is up.
        const outcome = await untilAborted(send(options, { message, request, attempt }, signal), signal)
        return last && outcome.outcome === 'failed' ? unreachable(outcome.reason) : outcome
      } catch (error) {
        emit({ type: 'delivery.failed', ...concerning(message, request), error })
        // What it says stays out of the record: it may quote a URL with a key in it. Observers get the error itself.
        const reason = nameOf(error)
        if (isSuiteError(error, 'DIRECTORY_UNAVAILABLE'))
          return { outcome: 'postponed', reason, afterMs: DIRECTORY_PAUSE_MS }
        const afterMs = waitIn(error)
        // A verdict has no other way to its reader, and its channel no other way to say that it is not the time for it.
        if (afterMs !== undefined && isUpdate(message)) return { outcome: 'postponed', reason, afterMs }
        if (last) return unreachable(`${attempt.attempt} attempts failed, the last with ${reason}`)
        return { outcome: 'failed', reason, ...(afterMs === undefined ? {} : { afterMs }) }
      }
    },

    requestOf: (payload) => messageOf(payload)?.requestId,

    settle(request, payload, end, now) {
      const message = messageOf(payload)
      if (message === undefined) return { answer: undefined }
      const step = settleMessage(request, message, end, now)
      const change = transitions.changeOf(step.request ?? request, step)
      return { ...change, answer: { facts: step.facts, messages: change.messages ?? [], now } satisfies Settled }
    },

    settled(request, answer) {
      const { facts, messages, now } = answer as Settled
      transitions.announce(request, facts, messages, now)
    }
  }
}

function attemptsMax(message: Message, request: RequestRecord, channels: CourierOptions['channels']): number {
  if (!('invitationId' in message)) return PORT_ATTEMPTS_MAX
  const channel = invitationIn(request, message.invitationId)?.channel
  return (channel === undefined ? undefined : channels[channel]?.attemptsMax) ?? ATTEMPTS_MAX
}

interface Sending {
  readonly message: Message
  readonly request: RequestRecord
  readonly attempt: MessageAttempt
}

async function send(options: CourierOptions, sending: Sending, signal: AbortSignal): Promise<MessageOutcome> {
  const { message, request, attempt } = sending
  const { agentControl, alertOps } = options
  const { id, tenant, action, risk, summary } = request
  switch (message.kind) {
    case 'alert':
      await alertOps?.(
        { id: attempt.id, reason: message.reason, requestId: id, tenant, action, risk, summary },
        { signal }
      )
      return { outcome: 'delivered' }
    case 'resume': {
      const verdict = verdictOf(request)
      if (verdict !== undefined) await agentControl?.resume({ ...agentCall(request, attempt.id), verdict }, { signal })
      return { outcome: 'delivered' }
    }
    case 'terminate':
      await agentControl?.terminate(agentCall(request, attempt.id), { signal })
      return { outcome: 'delivered' }
    case 'invitation':
    case 'reminder':
    case 'verdict':
    case 'superseded': {
      const invitation = invitationIn(request, message.invitationId)
      if (invitation === undefined) return { outcome: 'dropped' }
      return sendOnChannel(options, { message, request, attempt, invitation }, signal)
    }
  }
}

async function sendOnChannel(
  options: CourierOptions,
  {
    message,
    request,
    attempt,
    invitation
  }: Omit<Sending, 'message'> & {
    readonly message: Extract<Message, { readonly invitationId: string }>
    readonly invitation: InvitationRecord
  },
  signal: AbortSignal
): Promise<MessageOutcome> {
  const { channels } = options
  const { id: requestId, tenant, action, summary, status, version } = request
  const current = status === 'pending' && invitation.version === version
  const asks = message.kind === 'invitation' || message.kind === 'reminder'
  // Nothing is asked any more, or a digest has brought it before.
  if (asks && (!current || (message.kind === 'invitation' && invitation.state !== 'queued'))) {
    return { outcome: 'dropped' }
  }
  const channel = channels[invitation.channel]
  if (channel === undefined) return unreachable(`this worker knows no channel ${invitation.channel}`)
  const approver = await addresseeOf(options, invitation, tenant, signal)
  if (approver === undefined) return unreachable('the directory has no address on this channel')

  if (isUpdate(message)) {
    const verdict =
      message.kind === 'verdict'
        ? (verdictOf(request) as Verdict)
        : ({ outcome: 'superseded', requestId, version: invitation.version } as const)
    const about = { requestId, tenant, action, summary, approver, receipt: invitation.receipt }
    await channel.update?.({ id: attempt.id, ...about, verdict }, { signal })
    return { outcome: 'delivered' }
  }

  const reach = await channel.reachability?.(approver, { signal })
  if (reach?.outcome === 'unreachable') return unreachable(reach.reason)
  const shown = invitationFor(request, invitation, { kind: message.kind, approver, attempt })
  if (message.kind === 'invitation' && channel.digest !== undefined) {
    const digested = await digestFor(options, { channel, shown, invitation, approver }, signal)
    if (digested !== undefined) return outcomeOf(digested)
  }
  return outcomeOf(await channel.deliver(shown, { signal }))
}

function outcomeOf(delivered: DeliveryOutcome): MessageOutcome {
  switch (delivered.outcome) {
    case 'delivered': {
      const receipt = bounded(delivered.receipt, RECEIPT_LENGTH_MAX)
      return receipt === undefined ? { outcome: 'delivered' } : { outcome: 'delivered', receipt }
    }
    case 'unreachable':
      return unreachable(delivered.reason)
    case 'retry': {
      const { reason, afterMs } = delivered
      return { outcome: 'failed', reason, ...(afterMs === undefined ? {} : { afterMs }) }
    }
    case 'postponed':
      return delivered
  }
}

/** What the end of a message changes in its request. */
function settleMessage(
  request: RequestRecord,
  message: Message,
  end: Parameters<Courier['settle']>[2],
  now: number
): Step<unknown> {
  switch (message.kind) {
    case 'invitation': {
      if (end.outcome === 'dropped') return { answer: undefined, facts: [] }
      return recordDelivery(request, { invitationId: message.invitationId, result: end }, now)
    }
    case 'resume':
    case 'terminate': {
      if (end.outcome !== 'unreachable') {
        const type = message.kind === 'resume' ? 'agent.resumed' : 'agent.terminated'
        return { answer: undefined, facts: [{ type }] }
      }
      const fact = { type: 'agent.unreachable', call: message.kind, reason: end.reason } as const
      return { answer: undefined, messages: [alert(request.id, 'agent-unreachable')], facts: [fact] }
    }
    case 'superseded': {
      // It was kept for its receipt, and nobody needs that any more.
      const invitations = request.invitations.filter(({ id }) => id !== message.invitationId)
      return { answer: undefined, request: { ...request, invitations }, facts: [] }
    }
    default:
      return { answer: undefined, facts: [] }
  }
}

/** Without a directory an approver's id is their name and their address. Throws `DIRECTORY_UNAVAILABLE`. */
async function addresseeOf(
  { directory, clock }: Pick<CourierOptions, 'directory' | 'clock'>,
  { approver: id, channel }: InvitationRecord,
  tenant: string,
  signal: AbortSignal
): Promise<Addressee | undefined> {
  if (directory === undefined) return { id, name: id, address: id, alternatives: [] }
  const known = await findApprover(directory, id, { tenant, clock, signal })
  const addresses = known?.addresses[channel]
  if (known === undefined || addresses === undefined) return undefined
  const [address, ...alternatives] = typeof addresses === 'string' ? [addresses] : addresses
  return address === undefined ? undefined : { id, name: known.name, address, alternatives }
}

const invitationIn = (request: RequestRecord, invitationId: string): InvitationRecord | undefined =>
  request.invitations.find(({ id }) => id === invitationId)

function concerning(
  message: Message,
  request: RequestRecord
): { readonly requestId: string; readonly kind: Message['kind']; readonly channel: string | undefined } {
  const invitation = 'invitationId' in message ? invitationIn(request, message.invitationId) : undefined
  return { requestId: request.id, kind: message.kind, channel: invitation?.channel }
}

function unreachable(reason: string): MessageOutcome {
  return { outcome: 'unreachable', reason: bounded(reason, REASON_LENGTH_MAX) ?? '' }
}

/** Text from a channel, cut to its bound and fit for every store. */
function bounded(text: string | undefined, lengthMax: number): string | undefined {
  return text?.slice(0, lengthMax).replaceAll('\0', '').toWellFormed()
}

const AWAY = ['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN', 'OVERLOADED']
const isAway = (error: unknown): boolean => AWAY.some((code) => isSuiteError(error, code))

/** What marks an invitation as answered, or as asking for what is not asked any more. */
const isUpdate = (message: Message): message is Extract<Message, { readonly kind: 'verdict' | 'superseded' }> =>
  message.kind === 'verdict' || message.kind === 'superseded'

/** How long whoever threw asks to be left alone, within reason; undefined when it does not say. */
function waitIn(error: unknown): number | undefined {
  const asked = isSuiteError(error) ? (error.detail as { readonly retryAfterMs?: unknown }).retryAfterMs : undefined
  if (typeof asked !== 'number' || Number.isNaN(asked)) return undefined
  return Math.min(ASKED_WAIT_MAX_MS, Math.max(ASKED_WAIT_MIN_MS, asked))
}

function nameOf(error: unknown): string {
  if (isSuiteError(error)) return error.code
  return error instanceof Error ? error.name : typeof error
}
