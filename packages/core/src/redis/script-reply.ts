import { CoreError } from '../failure/core-error.ts'
import { SCRIPT_INTEGER_MAX } from './script-parameters.ts'

/** What a script returned. Its own integers come as text; Redis replies with numbers where a script returns one as such. */
export type ScriptReply = string | number | null | readonly ScriptReply[]

/** Integers as scripts write them with `%.0f`: no sign on zero, no leading zeros, no exponent, no fraction. */
const INTEGER = /^(?:0|-?[1-9][0-9]{0,15})$/

/** A reply that is a list. Throws `STORE_DAMAGED` when it is anything else. */
export function replyList(reply: ScriptReply | undefined): readonly ScriptReply[] {
  if (!Array.isArray(reply)) throw wrongShape('a list', reply)
  return reply as readonly ScriptReply[]
}

/** A reply that is text. Throws `STORE_DAMAGED` when it is anything else. */
export function replyText(reply: ScriptReply | undefined): string {
  if (typeof reply !== 'string') throw wrongShape('text', reply)
  return reply
}

/** A reply that is an integer within +-9e15, as text or as a number. Throws `STORE_DAMAGED` when it is anything else. */
export function replyInteger(reply: ScriptReply | undefined): number {
  const value = typeof reply === 'string' && INTEGER.test(reply) ? Number(reply) : reply
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || Math.abs(value) > SCRIPT_INTEGER_MAX) {
    throw wrongShape('an integer within 9e15', reply)
  }
  return value
}

/** As `replyText`; undefined for nil, which is what Redis makes of Lua's `false`. */
export function optionalReplyText(reply: ScriptReply | undefined): string | undefined {
  return reply === null ? undefined : replyText(reply)
}

/** As `replyInteger`; undefined for nil, which is what Redis makes of Lua's `false`. */
export function optionalReplyInteger(reply: ScriptReply | undefined): number | undefined {
  return reply === null ? undefined : replyInteger(reply)
}

function wrongShape(expected: string, found: ScriptReply | undefined): CoreError<'STORE_DAMAGED'> {
  const kind = found === null ? 'nil' : found === undefined ? 'nothing' : Array.isArray(found) ? 'a list' : typeof found
  const reason = `a script should have returned ${expected} and returned ${kind === 'string' ? 'other text' : kind}`
  return new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
}
