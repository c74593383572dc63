import { hexToBytes } from '@noble/hashes/utils.js'
import { CoreError } from '../failure/core-error.ts'
import type { SqlValue } from '../sql/sql-database.ts'
import { integerValue } from '../sql/unit.ts'

type Reader = (text: string) => SqlValue

const asText: Reader = (text) => text
const asInteger: Reader = (text) => integerValue(BigInt(text))

/**
 * How the types become `SqlValue`s, by the ids that Postgres fixes in `pg_type.dat`. `sum` over bigint is numeric, so a
 * whole numeric reads as an integer; one with a fraction stays text, for no number holds it exactly.
 */
export const readers: Readonly<Record<number, Reader>> = {
  /** bool */ 16: (text) => (text === 't' ? 1 : 0),
  /** bytea */ 17: readBytes,
  /** int8 */ 20: asInteger,
  /** int2 */ 21: Number,
  /** int4 */ 23: Number,
  /** oid */ 26: Number,
  /** float4 */ 700: Number,
  /** float8 */ 701: Number,
  /** numeric */ 1700: (text) => (/^-?\d+$/.test(text) ? asInteger(text) : text),
  // What follows would come back from PGlite as objects of its own making: json, date, timestamp, timestamptz, jsonb.
  114: asText,
  1082: asText,
  1114: asText,
  1184: asText,
  3802: asText
}

/** The reader for a type, given with each query, so that the parsers an application has set on `pg` stay its own. */
export function getTypeParser(oid: number): Reader {
  return readers[oid] ?? asText
}

function readBytes(text: string): Uint8Array {
  if (text.startsWith('\\x')) return hexToBytes(text.slice(2))
  const reason = 'bytes came in the escape format; the connection needs bytea_output = hex, the default'
  throw new CoreError('STORE_DAMAGED', reason, { store: 'postgres', reason })
}

/** Numbers go as text, of which Postgres makes the type that the place asks for; bytes go as they are. */
export function writeValue(value: SqlValue): string | Uint8Array | null {
  return typeof value === 'number' || typeof value === 'bigint' ? value.toString() : value
}
