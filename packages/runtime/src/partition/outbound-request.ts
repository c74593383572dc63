/**
 * How often a request may take effect. `safe`: it changes nothing; `idempotent`: a second time changes nothing more;
 * `keyed`: it carries an idempotency key that its server heeds; `never`: it must not be sent a second time.
 */
export type EffectPolicy = 'safe' | 'idempotent' | 'keyed' | 'never'

/** Memory for a body that is kept so that it can be sent again. */
export interface BodyRoom {
  /**
   * Asks for `bytes` more. False where the body or all bodies together would exceed their bound: the body is then not kept,
   * and what was taken for it before is given back.
   */
  take(bytes: number): boolean
}

/** What an attempt is given. */
export interface Attempt {
  /** 1 for the first. */
  readonly attempt: number
  /** Aborts when nobody waits for this attempt any more. It must then end soon, as `unsent` or `lost`. */
  readonly signal: AbortSignal
  /** To be sent along, as the header `Idempotency-Key` where it is HTTP. Present for `keyed` requests. */
  readonly idempotencyKey?: string
  /** For bodies that are read only while they are sent: what is kept of them takes its memory here. */
  readonly room: BodyRoom
}

/** How an attempt ended. */
export type AttemptEnd<Reply> =
  | { readonly outcome: 'replied'; readonly reply: Reply }
  /** The network failed, and it is certain that nothing was sent. */
  | { readonly outcome: 'unsent'; readonly error: unknown }
  /** Something was sent, and no reply came: whether it had an effect is unknown. */
  | { readonly outcome: 'lost'; readonly error: unknown }
  /** Trying again is in vain: a certificate was refused, the request is invalid. */
  | { readonly outcome: 'failed'; readonly error: unknown }

/** Printable characters, as a header's value can hold them, so that a key cannot smuggle in another header. */
const IDEMPOTENCY_KEY = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/

export const isIdempotencyKey = (text: string): boolean => IDEMPOTENCY_KEY.test(text)

export interface Sendable<Reply> {
  /** Requests of one lane are replayed one after the other, in the order in which they were made; lanes go side by side. */
  readonly lane: string
  /** How much memory its body takes while it waits; 0 unless given. */
  readonly bytes?: number
  /** How long it may take in all, waiting included; no bound of its own unless given. */
  readonly deadlineMs?: number
  /**
   * For a body that is not in memory yet: reads it, or the rest of it, into `room`. Called once, before it waits in the
   * buffer. False when it does not fit or can no longer be read whole: the request is then refused.
   */
  load?(room: BodyRoom): Promise<boolean>
  /** One attempt. Never rejects, or that counts as `failed`. */
  send(attempt: Attempt): Promise<AttemptEnd<Reply>>
}

/** A request that can wait for the network. */
export type OutboundRequest<Reply> = Sendable<Reply> &
  (
    | { readonly policy: 'safe' | 'idempotent' | 'never' }
    /** The key is 1 to 255 printable ASCII characters, without space around them. */
    | { readonly policy: 'keyed'; readonly idempotencyKey: string }
  )

/** Why a request was not taken into the buffer. */
export type RefusalReason =
  /** It must not be sent twice, and while the network is away there is no knowing. */
  | 'not-repeatable'
  /** As many requests wait as may. */
  | 'entries'
  /** Its body is too large to be kept, or could not be read whole. */
  | 'body'
  /** The bodies that are kept leave no room for it. */
  | 'bytes'
  | 'closed'

/** What became of a request. `sent`: an attempt may have reached the server, so that an effect is possible. */
export type SendOutcome<Reply> =
  | { readonly outcome: 'replied'; readonly reply: Reply; readonly attempts: number; readonly waitedMs: number }
  | { readonly outcome: 'refused'; readonly reason: RefusalReason; readonly sent: boolean; readonly error?: unknown }
  | {
      readonly outcome: 'expired'
      readonly limit: 'age' | 'deadline'
      readonly waitedMs: number
      readonly sent: boolean
    }
  /** It was sent and lost its reply, and must not be sent again. */
  | { readonly outcome: 'reply-lost'; readonly error: unknown }
  /** The last attempt's error, which the network is not to blame for, or which a request fails with that is not repeated. */
  | { readonly outcome: 'failed'; readonly error: unknown; readonly attempts: number; readonly sent: boolean }
