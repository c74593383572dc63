import { sha1 } from '@noble/hashes/legacy.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'

/**
 * A Redis script. Its text keeps to the contract that the runner relies on:
 *
 * - every key it touches is in KEYS, all of one hash tag;
 * - it checks everything before it writes, because Redis does not take back what a failing script wrote;
 * - an idempotency key or batch id is among its arguments, because a client may send it twice;
 * - it reads the time from `redis.call('TIME')`;
 * - it returns integers as text, `string.format('%.0f', n)`: `tostring` turns 1e15 into an exponent.
 */
export interface Script {
  /** Such as `metering.consume`; appears in errors. */
  readonly name: string
  readonly lua: string
  /** How many keys a call passes: a number, or `many` for one or more. */
  readonly keys: number | 'many'
  /** What Redis knows the text by, in hex. */
  readonly sha1: string
}

/** Redis keeps every text it has run, so a script is written once and never assembled from data. */
const LUA_LENGTH_MAX = 65_536

const KEYS_MAX = 1_024

const scriptOptions: z.ZodType<Omit<Script, 'sha1'>> = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9.-]{0,127}$/, 'a name is lower case letters, digits, dots and hyphens'),
  lua: z.string().min(1).max(LUA_LENGTH_MAX),
  keys: z.union([z.number().int().min(1).max(KEYS_MAX), z.literal('many')])
})

/** Names a script's text. Throws `INVALID_OPTIONS`; a script without keys is refused, for a cluster could not route it. */
export function defineScript(options: {
  readonly name: string
  readonly lua: string
  readonly keys: number | 'many'
}): Script {
  const { name, lua, keys } = parseOptions(scriptOptions, 'defineScript', options)
  return Object.freeze({ name, lua, keys, sha1: bytesToHex(sha1(utf8ToBytes(lua))) })
}
