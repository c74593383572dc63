import type { JsonObject } from '@enablement/core'
import { type CheckedUsage, parseUsageEvent } from '../event/parse-usage-event.ts'
import type { HeldReason } from '../event/record-outcome.ts'
import { MeteringError } from '../metering-error.ts'

/** What of core's `Journal` a meter uses: `openJournal` of `@enablement/core/journal` gives one. */
export interface UsageJournal {
  append(payload: Uint8Array, options?: { readonly type?: number }): Promise<bigint>
  replay(options?: { readonly after?: bigint; readonly signal?: AbortSignal }): AsyncIterable<{
    readonly sequence: bigint
    readonly type: number
    readonly payload: Uint8Array
  }>
  trim(options: { readonly through: bigint }): Promise<unknown>
}

/** An event that waits in the journal. */
export interface HeldUsage {
  readonly usage: CheckedUsage
  /** Epoch milliseconds. */
  readonly receivedAt: number
}

/** Types of the journal's records. A journal with others is somebody else's. */
export const HELD_TYPE = 1
/** Everything up to the sequence in it is settled: what a restart need not settle again, trimmed or not. */
export const SETTLED_TYPE = 2

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

export function encodeHeld({ usage, receivedAt }: HeldUsage, reason: HeldReason): Uint8Array {
  return encoder.encode(JSON.stringify({ usage, receivedAt, reason }))
}

export function encodeSettled(sequence: bigint): Uint8Array {
  return encoder.encode(String(sequence))
}

/** Throws `JOURNAL_FAILED` for what `encodeHeld` has not written. */
export function decodeHeld(record: {
  readonly sequence: bigint
  readonly type: number
  readonly payload: Uint8Array
}): HeldUsage {
  const held = record.type === HELD_TYPE ? readJson(record.payload) : undefined
  const parsed = parseUsageEvent(held?.['usage'])
  const receivedAt = held?.['receivedAt']
  if (parsed.outcome === 'rejected' || typeof receivedAt !== 'number' || !Number.isSafeInteger(receivedAt)) {
    throw foreign(record.sequence)
  }
  return { usage: parsed.usage, receivedAt }
}

/** Throws `JOURNAL_FAILED` for what `encodeSettled` has not written. */
export function decodeSettled(record: { readonly sequence: bigint; readonly payload: Uint8Array }): bigint {
  const text = decoder.decode(record.payload)
  if (!/^\d{1,20}$/.test(text)) throw foreign(record.sequence)
  return BigInt(text)
}

function readJson(payload: Uint8Array): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(decoder.decode(payload))
    return typeof value === 'object' && value !== null ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}

function foreign(sequence: bigint): MeteringError<'JOURNAL_FAILED'> {
  const message = `record ${sequence} of the journal is not this meter's: give it a journal of its own`
  return new MeteringError('JOURNAL_FAILED', message, { operation: 'read', reason: 'FOREIGN_RECORD' })
}
