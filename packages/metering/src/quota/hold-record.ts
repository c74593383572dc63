import { NEVER, type Pin } from './counter.ts'
import { joined, keyText } from './counter-key.ts'

/** What a store keeps of a hold, by scope and key. */
export interface HoldRecord {
  readonly scope: string
  /** The hold's name within its scope. */
  readonly key: string
  /** What the call that made it asked for: a repetition asks for the same. */
  readonly asked: number
  /** What is or was held, with what extensions added. */
  readonly amount: number
  /** Epoch milliseconds, exclusive. */
  readonly expiresAt: number
  readonly onExpiry: 'returned' | 'spent'
  /** How long its expiry is remembered, in milliseconds from when a call found it. */
  readonly keepMs: number
  /** What the counters can get back, by counter; of no use once `end.settled`. */
  readonly parts: readonly HeldPart[]
  /** Undefined while it is open. */
  readonly end: HoldEnding | undefined
}

/** Units taken from one counter, at one time: an extension adds a part where it takes from a later window. Oldest first. */
export interface HeldPart extends Pin {
  /** The counter's key. */
  readonly counter: string
  readonly amount: number
}

/** How it ended; `charged + overrun = actual`. */
export interface HoldEnding {
  readonly actual: number
  readonly charged: number
  readonly overrun: number
  readonly expired: boolean
  /** Somebody said what was used. False after an expiry that nobody has answered. */
  readonly settled: boolean
  /** Epoch milliseconds, exclusive: from here on the key is free again. */
  readonly forgetAt: number
}

/** The record, unless it has been forgotten by now, whether or not a store still has it. */
export function remembered(record: HoldRecord | undefined, now: number): HoldRecord | undefined {
  return record?.end === undefined || now < record.end.forgetAt ? record : undefined
}

/** Whether it is open and its time is over. */
export function isOverdue(record: HoldRecord, now: number): boolean {
  return record.end === undefined && record.expiresAt <= now
}

/** The key of a hold's record. */
export function holdKey({ scope, key }: { readonly scope: string; readonly key: string }): string {
  return joined(keyText(scope), keyText(key))
}

/** From when on a store need not have it, epoch milliseconds; `NEVER` while it is open. */
export function forgetHoldAt({ end }: HoldRecord): number {
  return end === undefined ? NEVER : end.forgetAt
}
