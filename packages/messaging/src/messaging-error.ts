import { SuiteError } from '@enablement/core'

/** What goes wrong in messaging, by code. Details name keys, records and numbers, never key bytes or plaintext. */
export type MessagingErrorTable = {
  /** A key has the wrong length, belongs to another provider, or its point is of small order. */
  readonly INVALID_KEY: { readonly key: string; readonly reason: string }
  /** An argument of a call is not what it must be. Nothing was sent, stored or changed. */
  readonly INVALID_ARGUMENT: { readonly path: string; readonly reason: string }
  /** A record read from a store, or an exported identity, does not decode: truncated, extended, damaged or foreign. */
  readonly RECORD_DAMAGED: { readonly record: string; readonly reason: string }
  /** A sealed record does not open: another sealing key, damaged, or moved from another row or an older version. */
  readonly RECORD_NOT_AUTHENTIC: { readonly record: string; readonly version: number }
  /** A session record in the store is older than one this messenger has committed: sending on it would reuse keys. */
  readonly STATE_ROLLED_BACK: { readonly peer: string; readonly seenVersion: number; readonly foundVersion: number }
  /**
   * Other processes changed the same record between every read and commit of this one. Nothing was changed; try again.
   */
  readonly STORE_CONTENDED: { readonly record: string; readonly attempts: number }
  /** The prekey directory failed. Nothing was sent. */
  readonly DIRECTORY_UNAVAILABLE: { readonly address: string; readonly operation: string }
  /** The caller's `trust` threw instead of deciding. Nothing was changed. */
  readonly TRUST_UNDECIDED: { readonly address: string; readonly fingerprint: string }
  /** A counter has no next value: 2^32 - 1 messages in one chain, or 2^32 - 1 prekeys. */
  readonly COUNTER_EXHAUSTED: { readonly counter: string }
  /** The messenger was closed before the call. */
  readonly MESSENGER_CLOSED: { readonly address: string }
}

/** An error of `@enablement/messaging`. */
export class MessagingError<Code extends keyof MessagingErrorTable = keyof MessagingErrorTable> extends SuiteError<
  MessagingErrorTable,
  Code
> {
  override readonly name = 'MessagingError'
}
