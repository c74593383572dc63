import { canonicalJson, type Requester } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** Where a model's tool call comes from. */
export interface ToolCallOrigin {
  readonly tenant: string
  /**
   * The conversation, thread or run in which the call was made, and the same whenever that is carried on: ids of tool
   * calls are unique within one at best. Printable, at most 256 characters.
   */
  readonly thread: string
  /** Neither of the two may decide on the call. */
  readonly requestedBy: Requester
}

/** One call of a tool by a model. */
export interface ToolCall<Input> {
  readonly origin: ToolCallOrigin
  /** The id that the model or the framework gave the call. */
  readonly toolCallId: string
  readonly input: Input
}

/** Begins every preimage, so that no hash of another kind can pass for one of these. The NUL ends it. */
const DOMAIN = '@enablement/oversight/tool-call/1\0'

/**
 * The idempotency key of the request for a call. A hash, because thread ids and tool call ids may be of any length and
 * hold any separator. The tool's name is no part of it: another tool under the id of this call is the same call
 * tampered with, and has to meet the request of this one.
 */
export function toolCallKey({ thread }: ToolCallOrigin, toolCallId: string): string {
  return `tool-call-${bytesToHex(sha256(utf8ToBytes(DOMAIN + canonicalJson([thread, toolCallId]))))}`
}
