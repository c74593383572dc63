import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { plainText } from '../failure/plain-text.ts'

/** What is to be delivered. */
export interface OutboxDraft {
  /** JSON text, mostly, or bytes; at most the outbox's `payloadMaxBytes` of UTF-8. Well-formed and without NUL. */
  readonly payload: string | Uint8Array
  /**
   * Messages of one key are delivered one after another, in the order in which their units were committed. Without a key
   * a message waits for no other. 1 to 256 characters.
   */
  readonly key?: string
  /**
   * Who receives it: what shares a circuit breaker and a limit of concurrent deliveries, such as a host or a channel. The
   * outbox's name unless given; at most 200 characters, no secret.
   */
  readonly destination?: string
  /** A repeated put of the same key is a `duplicate` as long as the first message is kept. 1 to 256 characters. */
  readonly idempotencyKey?: string
  /** Not to be delivered before this; 0 unless given, up to a year. Later messages of its key wait behind it. */
  readonly delayMs?: number
}

/** What became of a put, if the caller's unit is committed. */
export type OutboxRef =
  /** The message will be delivered under this id, a UUIDv7, which is what a receiver may know repetitions by. */
  | { readonly outcome: 'queued'; readonly id: string }
  /** The idempotency key belongs to the message `id`, which is unchanged. */
  | { readonly outcome: 'duplicate'; readonly id: string }

/** A message, as its deliverer sees it. */
export interface OutboxMessage {
  /** The same in every attempt. */
  readonly id: string
  readonly key: string | undefined
  readonly destination: string
  readonly payload: string | Uint8Array
  /**
   * Higher than that of every earlier message of its key. A receiver that keeps the highest it has seen of a key can
   * drop whatever is lower, from a worker that stood still, and whatever is the same, which is a repetition.
   */
  readonly sequence: number
  /** 1 for the first attempt, or the first since it was revived. */
  readonly attempt: number
  /** Higher in every attempt: a receiver of one message can refuse an attempt that comes after a later one. */
  readonly fence: number
  /** When it was put, by the store's clock: epoch milliseconds. */
  readonly putAt: number
}

/** Keys and idempotency keys are mostly a kind and an id. In UTF-16 code units. */
const KEY_MAX = 256
/** As a circuit breaker's name, which it becomes. */
const DESTINATION_MAX = 200
/** A year: what is due later than that is a calendar's business. */
const DELAY_MAX_MS = 31_536_000_000

/** A unit of some 10 ms, during which other puts to its keys wait; by then a message more costs the same again. */
const DRAFTS_MAX = 1_000
/** As much as the largest payload that any outbox takes: they travel as one value, twice as long where they are bytes. */
const DRAFTS_MAX_BYTES = 16_777_216

export const nameSchema: z.ZodType<string> = plainText(DESTINATION_MAX)

const utf8 = new TextEncoder()

/** The length of a payload as it is stored. */
function bytesIn(payload: string | Uint8Array, bytesMax: number): number {
  if (typeof payload !== 'string') return payload.length
  // No UTF-16 code unit takes more than three bytes of UTF-8.
  return payload.length * 3 <= bytesMax ? payload.length : utf8.encode(payload).length
}

/** What checks drafts: one for `put`, or many for `putAll`. Both throw `INVALID_OPTIONS`. */
export interface DraftChecks {
  one(draft: OutboxDraft): OutboxDraft
  all(drafts: readonly OutboxDraft[]): readonly OutboxDraft[]
}

/** The checks for an outbox whose payloads have at most `payloadMaxBytes`. */
export function draftChecks(payloadMaxBytes: number): DraftChecks {
  const draftSchema: z.ZodType<OutboxDraft> = z.strictObject({
    payload: z
      .custom<string | Uint8Array>(
        (value) =>
          value instanceof Uint8Array || (typeof value === 'string' && value.isWellFormed() && !value.includes('\0')),
        'must be bytes, or text that is well-formed and without NUL'
      )
      .superRefine((payload, { addIssue }) => {
        const bytes = bytesIn(payload, payloadMaxBytes)
        if (bytes > payloadMaxBytes) addIssue(`has ${bytes} bytes, and at most ${payloadMaxBytes} are taken`)
      }),
    key: plainText(KEY_MAX).exactOptional(),
    destination: nameSchema.exactOptional(),
    idempotencyKey: plainText(KEY_MAX).exactOptional(),
    delayMs: z.int().min(0).max(DELAY_MAX_MS).exactOptional()
  })
  const draftsSchema: z.ZodType<readonly OutboxDraft[]> = z.array(draftSchema).check(({ value: drafts, issues }) => {
    const refuse = (path: PropertyKey[], message: string): void => {
      issues.push({ code: 'custom', input: undefined, path, message })
    }
    if (drafts.length > DRAFTS_MAX)
      refuse([DRAFTS_MAX], `is one of ${drafts.length}, and at most ${DRAFTS_MAX} are taken`)
    const excess = firstBeyond(drafts, DRAFTS_MAX_BYTES)
    if (excess !== -1) refuse([excess, 'payload'], `with those before it exceeds ${DRAFTS_MAX_BYTES} bytes`)
  })
  return {
    one: (draft) => parseOptions(draftSchema, 'outbox.put', draft),
    all: (drafts) => parseOptions(draftsSchema, 'outbox.putAll', drafts)
  }
}

/** Where payloads exceed `bytesMax` together, or -1. */
function firstBeyond(drafts: readonly OutboxDraft[], bytesMax: number): number {
  let left = bytesMax
  return drafts.findIndex(({ payload }) => {
    left -= typeof payload === 'string' ? utf8.encode(payload).length : payload.length
    return left < 0
  })
}
