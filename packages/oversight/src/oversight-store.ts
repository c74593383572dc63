import type { AuditDraft } from '@enablement/core/audit'
import type { Duty } from '@enablement/core/schedule'
import type { GrantRecord } from './grant/grant-record.ts'
import type { RequestRecord } from './request/request.ts'

/** A message for the outbox: what it is about, as text, and where it goes. */
export interface OutgoingMessage {
  readonly payload: string
  readonly destination: string
  /** Messages of one line go out one after another, in the order in which they were committed. */
  readonly line?: string
}

/** What a step changes, as data that a store commits as one. */
export interface Change<Answer> {
  readonly answer: Answer
  /** The request as it is from now on; absent when it stays as it was. */
  readonly request?: RequestRecord
  readonly messages?: readonly OutgoingMessage[]
  readonly evidence?: readonly AuditDraft[]
}

/** What opens a request. */
export interface Opening {
  /** The id that the request will have, if this opens it. */
  readonly id: string
  readonly tenant: string
  readonly idempotencyKey: string
  /** Requests of the same identity are one while they are open; undefined where each is asked for itself. */
  readonly identity: string | undefined
  /** Whether the tenant's standing grants are wanted: they are then locked for the unit. */
  readonly grants: boolean
  /** What is opened, by the store's clock. May be called again, and must not do anything but decide. */
  open(
    now: number,
    grants: readonly GrantRecord[]
  ): Change<unknown> & {
    readonly request: RequestRecord
    /** A grant that was used up to this point. */
    readonly grant?: GrantRecord
  }
  /** What is to be put on record when an open request has this identity. */
  coalesce(request: RequestRecord): readonly AuditDraft[]
}

/** What became of an opening. */
export interface Opened {
  /** `found`: the key opened it before. `coalesced`: it has the identity of one that is open; the key is its from now on. */
  readonly outcome: 'opened' | 'found' | 'coalesced'
  readonly request: RequestRecord
}

/** What became of a request that was due. */
export type DueResult<Answer> =
  | { readonly outcome: 'changed'; readonly requestId: string; readonly answer: Answer }
  | { readonly outcome: 'failed'; readonly requestId: string; readonly error: unknown }

/** Evidence as it was recorded: `at` is when, in epoch milliseconds. */
export interface RecordedEntry extends AuditDraft {
  readonly at: number
}

/** Which requests to list. */
export interface RequestQuery {
  readonly tenant: string
  readonly status?: 'pending' | 'settled'
  /** Open ones that wait for this person. */
  readonly approver?: string
  /** Before this id, which need not exist. */
  readonly before?: string
  /** From this id on, the oldest first. For those that wait for an approver, and without `before`. */
  readonly from?: string
  readonly limit: number
}

/** A message that is to be delivered. */
export interface MessageAttempt {
  readonly id: string
  readonly payload: string
  /** From 1. */
  readonly attempt: number
}

/** What became of an attempt. */
export type MessageOutcome =
  | MessageEnd
  | { readonly outcome: 'failed'; readonly reason: string; readonly afterMs?: number }
  /** It was no attempt: a limit is used up. */
  | { readonly outcome: 'postponed'; readonly reason: string; readonly afterMs: number }

/** How a message came to its end. */
export type MessageEnd =
  /** `receipt`: at most 1,024 characters. */
  | { readonly outcome: 'delivered'; readonly receipt?: string }
  /** What it was to say no longer holds, and it was not sent. */
  | { readonly outcome: 'dropped' }
  /** It will not get there, and is not tried again. `reason`: in words, at most 500 characters. */
  | { readonly outcome: 'unreachable'; readonly reason: string }

/** Who delivers messages, and what their end means. */
export interface Courier {
  deliver(message: MessageAttempt, options: { readonly signal: AbortSignal }): Promise<MessageOutcome>
  /** The request that a message belongs to; undefined for a payload that is none of ours. */
  requestOf(payload: string): string | undefined
  /**
   * What the end of a message changes in its request, committed in the unit that ends the message. The answer is handed to
   * `settled` after the commit.
   */
  settle(request: RequestRecord, payload: string, end: MessageEnd, now: number): Change<unknown>
  settled(request: RequestRecord, answer: unknown): void
}

/**
 * Where requests, their messages and their evidence are kept. `now` is always the store's own clock, in epoch milliseconds,
 * read when nothing else can change the request any more. What a step makes is committed whole, or not at all. A store
 * that cannot tell whether a write happened throws.
 */
export interface OversightStore {
  /** Opens a request, unless its key or, while that is open, its identity did before. */
  open(opening: Opening): Promise<Opened>

  /** The request as it is committed. */
  find(requestId: string): Promise<RequestRecord | undefined>

  /**
   * Takes one request through a step: keeps everyone else from changing it, and commits what the step makes of it. Steps on
   * one request happen one after the other, in every process. `step` may be called again and must not do anything but
   * decide; what it throws is thrown, and nothing of it is committed. Throws `UNKNOWN_REQUEST`.
   */
  change<Answer>(requestId: string, step: (request: RequestRecord, now: number) => Change<Answer>): Promise<Answer>

  /**
   * Takes requests that are due through a step, the longest overdue first, leaving out those in `skip` and those that
   * somebody else is changing. A step that throws leaves its request as it was and is told of as `failed`.
   */
  changeDue<Answer>(
    kind: 'escalation' | 'execution',
    options: { readonly limit: number; readonly skip: readonly string[] },
    step: (request: RequestRecord, now: number) => Change<Answer>
  ): Promise<readonly DueResult<Answer>[]>

  /** How long until the next request is due; 0 for one that is, undefined for none. */
  nextDueInMs(kind: 'escalation' | 'execution'): Promise<number | undefined>

  /** Requests, the newest first; with `from` the oldest. */
  list(query: RequestQuery): Promise<readonly RequestRecord[]>

  /** What was committed as evidence about these subjects, in the order of the commits. */
  entries(tenant: string, subjects: readonly string[]): Promise<readonly RecordedEntry[]>

  /** Keeps what is made by the store's clock: a grant of a new id, or the evidence of why there is none. */
  addGrant<Answer>(
    make: (now: number) => {
      readonly answer: Answer
      readonly grant?: GrantRecord
      readonly evidence: readonly AuditDraft[]
    }
  ): Promise<Answer>
  /** Changes a grant under its lock. Undefined: there is no such grant. */
  changeGrant<Answer>(
    grantId: string,
    step: (
      grant: GrantRecord,
      now: number
    ) => { readonly answer: Answer; readonly grant?: GrantRecord; readonly evidence: readonly AuditDraft[] }
  ): Promise<Answer | undefined>
  /** A tenant's grants, the newest first. */
  grants(query: {
    readonly tenant: string
    readonly before?: string
    readonly limit: number
  }): Promise<readonly GrantRecord[]>

  /** Delivers its messages through `courier`. Called once. */
  deliverThrough(courier: Courier): readonly Duty[]
}
