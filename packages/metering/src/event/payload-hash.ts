import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** What of an event is no identity. */
export interface UsagePayload {
  readonly metric: string
  readonly quantity: number
  /** As the sender gave it: epoch milliseconds. */
  readonly at: number
  readonly propertiesJson: string
}

/**
 * SHA-256 in hex over all of an event but its identity and its source. Two events of one identity with equal hashes are
 * one event sent twice; with different hashes they contradict each other. The time of use belongs to the payload, for it
 * decides the period that is billed: a sender that retries must not stamp the event anew.
 */
export function payloadHash({ metric, quantity, at, propertiesJson }: UsagePayload): string {
  // The properties go in as the text they are, so that the outer text is short to write and still binds them.
  return sha256Hex(JSON.stringify([metric, quantity, at, propertiesJson]))
}

/** Names a value of the property that a metric counts the different values of; binds the property's name. */
export function uniqueValueHash(property: string, valueJson: string): string {
  return sha256Hex(JSON.stringify([property, valueJson]))
}

/** Node's own, where there is one, takes a ninth of the time: every event is hashed. */
function sha256Hex(text: string): string {
  return native === undefined ? bytesToHex(sha256(utf8ToBytes(text))) : native('sha256', text, 'hex')
}

// Asked for and not imported, so that this works where there is no Node.
const builtin = globalThis.process?.getBuiltinModule as typeof process.getBuiltinModule | undefined
const native = builtin?.('node:crypto')?.hash
