import { classOfStatus, type Refusal, readReply } from './server-reply.ts'

/** The part of a mail that was read which is looked at, as `postal-mime` gives it. */
export interface ParsedMail {
  readonly headers: readonly { readonly key: string; readonly value: string }[]
  readonly attachments: readonly { readonly mimeType: string; readonly content: ArrayBuffer | Uint8Array | string }[]
}

/** What a delivery status notification (RFC 3464) says of one recipient. */
export interface DeliveryReport {
  readonly action: 'failed' | 'delayed' | 'delivered'
  readonly refusal: Refusal
  /** Every address that may be the one we wrote to, as the reporting server and the returned headers have it. */
  readonly addresses: readonly string[]
}

/** Our mails have one recipient each; a list expands them into a few. */
const RECIPIENTS_MAX = 20
/** RFC 3464 says a few lines; reports of honest servers have one or two kilobytes. */
const STATUS_MAX = 65_536

/** Of a header this much is looked at: twice what a line may have (RFC 5322 §2.1.1). */
const HEADER_MAX = 2_048

const STATUS_TYPES: ReadonlySet<string> = new Set(['message/delivery-status', 'message/global-delivery-status'])
const RETURNED_TYPES: ReadonlySet<string> = new Set([
  'text/rfc822-headers',
  'message/rfc822',
  'message/global-headers',
  'message/global'
])

/** By what RFC 3464 §2.3.3 allows for an action; all that say that it went on are one here. */
const ACTIONS: Readonly<Record<string, DeliveryReport['action']>> = {
  failed: 'failed',
  delayed: 'delayed',
  delivered: 'delivered',
  relayed: 'delivered',
  expanded: 'delivered'
}

type Fields = ReadonlyMap<string, string>

/** The reports in a mail, none if it is no delivery status notification. */
export function reportsIn(mail: ParsedMail): readonly DeliveryReport[] {
  const type = mail.headers.find(({ key }) => key === 'content-type')?.value ?? ''
  if (!/^multipart\/report\s*(?:;|$)/i.test(type)) return []
  const status = mail.attachments.find(({ mimeType }) => STATUS_TYPES.has(mimeType))
  if (status === undefined) return []
  // The first group of fields is about the message, each one after it about a recipient.
  const [, ...recipients] = groupsIn(textOf(status.content).slice(0, STATUS_MAX))
  const returned = mail.attachments.find(({ mimeType }) => RETURNED_TYPES.has(mimeType))
  const to = returned === undefined ? [] : addressesIn(headerIn(textOf(returned.content), 'to') ?? '')
  return recipients.slice(0, RECIPIENTS_MAX).flatMap((fields) => {
    const action = ACTIONS[(fields.get('action') ?? '').toLowerCase()]
    if (action === undefined) return []
    const named = ['original-recipient', 'final-recipient'].flatMap((name) => addressOfField(fields.get(name)))
    return [{ action, refusal: refusalIn(fields), addresses: [...named, ...to] }]
  })
}

/**
 * The status of the reporting server, or what the server before it said where that is more: some report `5.0.0` for
 * whatever they were told.
 */
function refusalIn(fields: Fields): Refusal {
  const [status = ''] = /^[245]\.\d{1,3}\.\d{1,3}(?![\d.])/.exec(fields.get('status') ?? '') ?? []
  const [, reply] = /^smtp\s*;\s*(.+)$/is.exec(fields.get('diagnostic-code') ?? '') ?? []
  const told = reply === undefined ? undefined : readReply(reply)
  const isVague = status === '' || status.endsWith('.0.0')
  if (isVague && told !== undefined && told.finding !== 'unknown') return told
  return { finding: classOfStatus(status), code: status === '' ? 'none' : status }
}

/** `rfc822; ana@example.com`, or `utf-8;`; some servers put brackets around the address. */
function addressOfField(value: string | undefined): readonly string[] {
  const [, address] = /^[\w-]+\s*;\s*<?([^\s<>]+)>?\s*$/.exec(value ?? '') ?? []
  return address === undefined ? [] : [address]
}

/** Of a header that lists addresses, 20 of them at most. Split rather than searched: a long one without any costs no more. */
export const addressesIn = (header: string): readonly string[] =>
  header
    .slice(0, HEADER_MAX)
    .split(/[\s<>,;"()]+/)
    .filter((word) => /^.+@./.test(word))
    .slice(0, RECIPIENTS_MAX)

function groupsIn(text: string): readonly Fields[] {
  return text
    .replaceAll('\r\n', '\n')
    .split(/\n[ \t]*\n+/)
    .map(fieldsIn)
    .filter((fields) => fields.size > 0)
}

/** Header fields by lower-case name, unfolded (RFC 5322 §2.2.3); of a field that is repeated, the first. */
function fieldsIn(text: string): Fields {
  const fields = new Map<string, string>()
  for (const line of text.replace(/\n[ \t]+/g, ' ').split('\n')) {
    const [, name, value] = /^([!-9;-~]+)[ \t]*:[ \t]*(.*)$/.exec(line) ?? []
    if (name === undefined || value === undefined || fields.has(name.toLowerCase())) continue
    fields.set(name.toLowerCase(), value.trim())
  }
  return fields
}

/** Of a returned message, of which only the headers are looked at. */
function headerIn(message: string, name: string): string | undefined {
  const [headers = ''] = message.slice(0, STATUS_MAX).replaceAll('\r\n', '\n').trimStart().split('\n\n', 1)
  return fieldsIn(headers).get(name)
}

const textOf = (content: ArrayBuffer | Uint8Array | string): string =>
  typeof content === 'string' ? content : new TextDecoder().decode(content)
