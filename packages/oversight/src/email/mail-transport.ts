import { type RefusalClass, type RefusedStage, readReply } from './server-reply.ts'

/** A mail as it is handed to nodemailer. It has one recipient. */
export interface OutgoingMail {
  readonly from: { readonly name: string; readonly address: string }
  readonly to: { readonly name: string; readonly address: string }
  readonly subject: string
  readonly text: string
  readonly html: string
  readonly messageId: string
  /** Of the mail that this one belongs to. */
  readonly inReplyTo?: string
  readonly references?: string
  readonly date: string
  readonly envelope: { readonly from: string; readonly to: string }
  readonly headers: { readonly [name: string]: string }
  readonly xMailer: false
  /** Nothing in a mail is a reason to read a file or to call a server. */
  readonly disableFileAccess: true
  readonly disableUrlAccess: true
  /** Heeded by nodemailer from 10 on; earlier ones finish in the background. */
  readonly signal: AbortSignal
}

/**
 * What mail is sent with: nodemailer's transporter, whose settings, credentials and end are the user's. Set its
 * `connectionTimeout`, `greetingTimeout`, `socketTimeout` and `dnsTimeout`: their defaults are minutes.
 */
export interface MailTransport {
  sendMail(mail: OutgoingMail): Promise<unknown>
}

/** What became of handing a mail over. */
export type Handover =
  | { readonly outcome: 'accepted' }
  | {
      readonly outcome: 'refused'
      readonly stage: RefusedStage
      readonly finding: RefusalClass
      readonly code: string
    }
  /** No server said anything about it. After the connection broke it may have been taken all the same. */
  | { readonly outcome: 'unsent'; readonly code: string }

/** The part of nodemailer's errors that is read. Their messages may hold credentials, so that nothing of them goes on. */
interface TransportError {
  readonly code?: unknown
  readonly command?: unknown
  readonly response?: unknown
}

/** Hands a mail over, and says what the server said. Throws the signal's reason when it aborts first, and nothing else. */
export async function handOver(transport: MailTransport, mail: OutgoingMail): Promise<Handover> {
  const { signal } = mail
  signal.throwIfAborted()
  try {
    const answer = await unlessAborted(signal, transport.sendMail(mail))
    const [rejection] = rejectionsIn(answer)
    return rejection === undefined ? { outcome: 'accepted' } : refusalIn(rejection)
  } catch (error) {
    signal.throwIfAborted()
    const [rejection = error] = rejectionsIn(error)
    return refusalIn(rejection)
  }
}

/** Transports that resolve although the only recipient was rejected say so in the same members as errors do. */
function rejectionsIn(answer: unknown): readonly unknown[] {
  const { rejectedErrors, rejected } = (answer ?? {}) as { rejectedErrors?: unknown; rejected?: unknown }
  if (Array.isArray(rejectedErrors) && rejectedErrors.length > 0) return rejectedErrors
  return Array.isArray(rejected) && !(answer instanceof Error) ? rejected : []
}

function refusalIn(error: unknown): Handover {
  const { response, command, code } = (typeof error === 'object' && error !== null ? error : {}) as TransportError
  if (typeof response !== 'string' || response === '') return { outcome: 'unsent', code: nameOf(code) }
  const stage = stageOf(command)
  return { outcome: 'refused', stage, ...readReply(response, stage) }
}

function stageOf(command: unknown): RefusedStage {
  if (command === 'RCPT TO') return 'recipient'
  return command === 'DATA' ? 'message' : 'session'
}

/** Codes are words such as `ECONNECTION`; anything else might be a text of somebody's. */
const nameOf = (code: unknown): string => (typeof code === 'string' && /^[A-Z_]{1,40}$/.test(code) ? code : 'unknown')

function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
