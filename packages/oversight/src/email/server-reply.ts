/**
 * What a refusal means for the one who was written to.
 *
 * - `hard`: there is no such mailbox, and there will be none when it is tried again
 * - `soft`: not now; a full mailbox is one of these, whatever its code says
 * - `greylisted`: not now, because of policy or rate: servers that greylist want to be asked again after minutes
 * - `sender`: for good, but not because of the mailbox: policy, authentication, size. The operator has something to mend,
 *   and nothing is held against the address
 * - `unknown`: not a refusal as SMTP has them
 */
export type RefusalClass = 'hard' | 'soft' | 'greylisted' | 'sender' | 'unknown'

/** A refusal that was read. */
export interface Refusal {
  readonly finding: RefusalClass
  /** The codes alone, such as `550 5.1.1`. The server's words go no further: they may say anything. */
  readonly code: string
}

/**
 * What was refused. A reply to RCPT TO is about the mailbox; one to DATA about the message, so that without an enhanced
 * code only its words can say that it means the mailbox; one to anything else about who sends.
 */
export type RefusedStage = 'recipient' | 'message' | 'session'

/** As RFC 3463 §3 and its registry have them: no such mailbox, no such domain, bad syntax, moved, null MX, disabled. */
const NO_MAILBOX: ReadonlySet<string> = new Set(['5.1.1', '5.1.2', '5.1.3', '5.1.6', '5.1.10', '5.2.1'])

/** Permanent by its code and cured by its owner: mailbox full. */
const MAILBOX_FULL = '5.2.2'

/** RFC 5321 §4.2.3, for servers without enhanced codes: no such mailbox, not local, name not allowed. */
const NO_MAILBOX_BASIC: ReadonlySet<string> = new Set(['550', '551', '553'])
/** Exceeded storage. */
const STORAGE_EXCEEDED = '552'
/** "Transaction failed", said for anything. */
const TRANSACTION_FAILED = '554'

/** A reply as of RFC 5321 §4.2, and the enhanced code (RFC 2034) of the first of its lines that has one. */
const REPLY_CODE = /^([2-5]\d\d)(?:[ -]|$)/
const ENHANCED_CODE = /^\d{3}[ -]+([45]\.\d{1,3}\.\d{1,3})(?![\d.])/m

/** What servers write when they mean the mailbox. Only looked for where the code does not say. */
const MEANS_MAILBOX =
  /no such (?:user|mailbox|recipient|address|account)|(?:unknown|invalid) (?:user|mailbox|recipient|account)|(?:user|mailbox|recipient|address|account)\b.{0,40}\b(?:unknown|not found|not exist|doesn't exist|disabled|no longer)/i

/** Of a reply this much is looked at: lines are 512 octets (RFC 5321 §4.5.3.1.5), and the first says it. */
const LOOKED_AT = 1_024

/**
 * Reads an SMTP reply, its code first. The enhanced status code decides where there is one; where it contradicts the
 * basic code, the more lenient of the two does.
 */
export function readReply(reply: string, stage: RefusedStage = 'recipient'): Refusal {
  const text = reply.trimStart().slice(0, LOOKED_AT)
  const [, basic] = REPLY_CODE.exec(text) ?? []
  const [, enhanced] = ENHANCED_CODE.exec(text) ?? []
  if (basic === undefined || !/^[45]/.test(basic)) return { finding: 'unknown', code: basic ?? 'none' }
  const code = enhanced === undefined ? basic : `${basic} ${enhanced}`
  if (stage === 'session') return { finding: basic.startsWith('4') ? 'soft' : 'sender', code }
  if (enhanced !== undefined) {
    const finding = classOfStatus(enhanced)
    return { finding: basic.startsWith('4') && !enhanced.startsWith('4') ? 'soft' : finding, code }
  }
  return { finding: classOfBasicCode(basic, text, stage), code }
}

function classOfBasicCode(basic: string, text: string, stage: RefusedStage): RefusalClass {
  if (basic.startsWith('4') || basic === STORAGE_EXCEEDED) return 'soft'
  const isAboutMailbox = stage === 'recipient' && NO_MAILBOX_BASIC.has(basic)
  const mayBeAboutMailbox = basic === TRANSACTION_FAILED || NO_MAILBOX_BASIC.has(basic)
  return isAboutMailbox || (mayBeAboutMailbox && MEANS_MAILBOX.test(text)) ? 'hard' : 'sender'
}

/** A status code `class.subject.detail` (RFC 3463 §2) as such. */
export function classOfStatus(status: string): RefusalClass {
  const [kind, subject] = status.split('.')
  if (kind === '4') return subject === '7' ? 'greylisted' : 'soft'
  if (kind !== '5') return 'unknown'
  if (NO_MAILBOX.has(status)) return 'hard'
  return status === MAILBOX_FULL ? 'soft' : 'sender'
}
