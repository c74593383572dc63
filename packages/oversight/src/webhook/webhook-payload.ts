import type { JsonObject, Requester, Verdict } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { Digest, Invitation, VerdictNotice } from '../channel/channel.ts'
import type { Risk } from '../policy/risk.ts'
import type { ContextStatus } from '../request/context-status.ts'

/** What an endpoint is told of a request. Instants are epoch milliseconds. Free texts are cut and then end in `…`. */
export interface WebhookRequest {
  readonly requestId: string
  readonly tenant: string
  readonly action: string
  readonly risk: Risk
  readonly summary: string
  /** Of what would be done, in full; a vote made from this message names it. */
  readonly argumentHash: string
  readonly version: number
  readonly requestedBy: Requester
  readonly context?: ContextStatus
  /** Which tier is asked, from 0. */
  readonly tier: number
  readonly openedAt: number
  readonly escalatesAt?: number
  readonly deadlineAt?: number
  /** Where a person sees and decides it. */
  readonly openUrl?: string
}

/**
 * The JSON that endpoints get. `timestamp` is when this attempt was made, in ISO 8601; the header `webhook-id` is what
 * tells a repetition.
 */
export type WebhookPayload =
  | {
      readonly type: 'approval.requested' | 'approval.reminded'
      readonly timestamp: string
      readonly data: {
        /** The same in a reminder and in what becomes of the request. */
        readonly invitationId: string
        readonly approver: { readonly id: string; readonly name: string }
        readonly request: WebhookRequest
        /** As much of what would be done as messages may carry; empty when that is too long for a webhook. */
        readonly excerpt: JsonObject
        readonly excerptOmitted: boolean
      }
    }
  | {
      readonly type: 'approvals.digest'
      readonly timestamp: string
      readonly data: {
        readonly digestId: string
        readonly approver: { readonly id: string; readonly name: string }
        /** The oldest first, as many as fit. */
        readonly requests: readonly WebhookRequest[]
        /** How many more wait. */
        readonly more: number
      }
    }
  | {
      readonly type: 'approval.settled'
      readonly timestamp: string
      readonly data: WebhookNotice & { readonly verdict: Verdict }
    }
  /** What was asked was edited: the invitation counts no more, and another one follows. */
  | {
      readonly type: 'approval.superseded'
      readonly timestamp: string
      readonly data: WebhookNotice & { readonly version: number }
    }

/** Whom and what a notice is about. */
export interface WebhookNotice {
  readonly requestId: string
  readonly tenant: string
  readonly action: string
  readonly summary: string
  readonly approver: { readonly id: string; readonly name: string }
  /** Of the invitation or the digest that it was asked with, if it was delivered. */
  readonly invitationId?: string
}

/** Standard Webhooks 1.0, "Payload": thin, below 20 kB. Excerpts and digests give way until a payload fits. */
const PAYLOAD_MAX_BYTES = 20_000

/** A sentence or two. With all free texts at their bounds a payload without its excerpt fits. */
const TEXT_LENGTH_MAX = 500
const NAME_LENGTH_MAX = 200
const DIGEST_TEXT_LENGTH_MAX = 200
const OPEN_URL_LENGTH_MAX = 2_048

const utf8 = new TextEncoder()

/** What is sent: the payload's bytes, and the id that is the same for every attempt. */
export interface WebhookMessage {
  readonly id: string
  /** Of the invitation, digest or notice. */
  readonly reference: string
  readonly type: WebhookPayload['type']
  readonly body: Uint8Array<ArrayBuffer>
}

/** Where a request is opened, if anywhere. */
export type OpenUrlOf = (invitation: Invitation) => string | undefined

export function invitationMessage(invitation: Invitation, at: number, openUrlOf: OpenUrlOf): WebhookMessage {
  const { id, kind, receipt, approver, excerpt } = invitation
  const type = kind === 'reminder' ? 'approval.reminded' : 'approval.requested'
  const invitationId = kind === 'reminder' ? (receipt ?? id) : id
  const request = requestOf(invitation, TEXT_LENGTH_MAX, openUrlOf)
  const about = { invitationId, approver: nameplate(approver), request }
  const whole = encoded({ type, timestamp: iso(at), data: { ...about, excerpt, excerptOmitted: false } })
  const body =
    whole.length <= PAYLOAD_MAX_BYTES
      ? whole
      : encoded({ type, timestamp: iso(at), data: { ...about, excerpt: {}, excerptOmitted: true } })
  return { id: webhookId(id), reference: id, type, body }
}

export function digestMessage(
  { id, approver, invitations, more }: Digest,
  at: number,
  openUrlOf: OpenUrlOf
): WebhookMessage {
  const type = 'approvals.digest'
  const all = invitations.map((invitation) => requestOf(invitation, DIGEST_TEXT_LENGTH_MAX, openUrlOf))
  const bodyOf = (count: number): Uint8Array<ArrayBuffer> => {
    const shown = { requests: all.slice(0, count), more: more + all.length - count }
    return encoded({ type, timestamp: iso(at), data: { digestId: id, approver: nameplate(approver), ...shown } })
  }
  let count = all.length
  let body = bodyOf(count)
  while (body.length > PAYLOAD_MAX_BYTES && count > 0) body = bodyOf(--count)
  return { id: webhookId(id), reference: id, type, body }
}

export function noticeMessage(notice: VerdictNotice, at: number): WebhookMessage {
  const { id, requestId, tenant, action, summary, approver, receipt, verdict } = notice
  const about: WebhookNotice = {
    requestId,
    tenant,
    action,
    summary: cut(summary, TEXT_LENGTH_MAX),
    approver: nameplate(approver),
    ...(receipt === undefined ? {} : { invitationId: receipt })
  }
  const timestamp = iso(at)
  if (verdict.outcome === 'superseded') {
    const type = 'approval.superseded'
    return {
      id: webhookId(id),
      reference: id,
      type,
      body: encoded({ type, timestamp, data: { ...about, version: verdict.version } })
    }
  }
  const type = 'approval.settled'
  const said = 'reason' in verdict ? { ...verdict, reason: cut(verdict.reason, TEXT_LENGTH_MAX) } : verdict
  return {
    id: webhookId(id),
    reference: id,
    type,
    body: encoded({ type, timestamp, data: { ...about, verdict: said } })
  }
}

function requestOf(invitation: Invitation, textMax: number, openUrlOf: OpenUrlOf): WebhookRequest {
  const { requestId, tenant, action, risk, summary, argumentHash, version, requestedBy, context, tier } = invitation
  const { openedAt, escalatesAt, deadlineAt } = invitation
  const openUrl = openUrlOf(invitation)
  return {
    requestId,
    tenant,
    action,
    risk,
    summary: cut(summary, textMax),
    argumentHash,
    version,
    requestedBy: {
      agent: cut(requestedBy.agent, NAME_LENGTH_MAX),
      ...(requestedBy.onBehalfOf === undefined ? {} : { onBehalfOf: cut(requestedBy.onBehalfOf, NAME_LENGTH_MAX) })
    },
    ...(context === undefined
      ? {}
      : {
          context: context.outcome === 'unavailable' ? { ...context, reason: cut(context.reason, textMax) } : context
        }),
    tier,
    openedAt,
    ...(escalatesAt === undefined ? {} : { escalatesAt }),
    ...(deadlineAt === undefined ? {} : { deadlineAt }),
    ...(openUrl === undefined || openUrl.length > OPEN_URL_LENGTH_MAX ? {} : { openUrl })
  }
}

const nameplate = ({ id, name }: { readonly id: string; readonly name: string }) => ({
  id,
  name: cut(name, NAME_LENGTH_MAX)
})

const cut = (text: string, lengthMax: number): string =>
  text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1).toWellFormed()}…`

const iso = (at: number): string => new Date(at).toISOString()

const encoded = (payload: WebhookPayload): Uint8Array<ArrayBuffer> => utf8.encode(JSON.stringify(payload))

/**
 * The id as a header that is signed carries it: without the dot that separates what is signed. Any other than the usual
 * ids is hashed, so that it stays the same for the same.
 */
const webhookId = (id: string): string =>
  /^[A-Za-z0-9_:-]{1,128}$/.test(id) ? id : `h_${bytesToHex(sha256(utf8ToBytes(id)))}`
