/** IPv4 or IPv6: records of type A or AAAA. */
export type Family = 4 | 6

/** One question to a name server. The name is in the form that `parseHostName` gives. */
export interface Question {
  readonly name: string
  readonly family: Family
}

/**
 * Why a server gave no answer that can be used.
 *
 * - `timed-out`, `unreachable`: nothing came, or no connection came about
 * - `refused`: it answered with a code other than NOERROR and NXDOMAIN, such as SERVFAIL
 * - `malformed`: what came is not an answer, is too large, or is about something else
 * - `untrusted`: the certificate of a DNS-over-HTTPS server did not verify
 * - `contradicted`: it denied a name that is known to exist
 * - `private`: it gave private addresses alone for a public name
 */
export type FailureReason =
  | 'timed-out'
  | 'unreachable'
  | 'refused'
  | 'malformed'
  | 'untrusted'
  | 'contradicted'
  | 'private'

/** What a server said. */
export type ServerAnswer =
  /** At least one address. `ttlSeconds` is the least of all the records that led there. */
  | { readonly outcome: 'addresses'; readonly addresses: readonly string[]; readonly ttlSeconds: number }
  /** The name exists, without addresses of this family. */
  | { readonly outcome: 'no-data' }
  /** NXDOMAIN: there is no such name. */
  | { readonly outcome: 'no-such-name' }
  | { readonly outcome: 'failed'; readonly reason: FailureReason; readonly cause?: unknown }

/** Someone to ask. */
export interface NameServer {
  /** Never rejects. When the signal aborts it gives up at once, with `timed-out`, and leaves no socket or timer behind. */
  ask(question: Question, options: { readonly signal: AbortSignal }): Promise<ServerAnswer>
  /** Gives back what is kept between questions. */
  close(): void
}

/** Which of the three tiers. */
export type Tier = 'primary' | 'secondary' | 'doh'
