import { isIPv4, isIPv6 } from 'node:net'
import { type Answer, type DecodedPacket, decode, encode, RECURSION_DESIRED } from 'dns-packet'
import type { Question, ServerAnswer } from './name-server.ts'

/** A chain of aliases longer than this is a loop or a mistake; resolvers of the root's operators stop at 8 to 16. */
const ALIASES_MAX = 16

/** More addresses than a name has: what is beyond is left out, so that a huge answer costs no more than a large one. */
const ADDRESSES_MAX = 64

/** What we take in one datagram: fits every path without fragments, which can be forged. DNS flag day 2020. */
export const DATAGRAM_BYTES = 1_232

/** RFC 1035 §4.2.2 and RFC 8484 §6: a message over a stream is at most this long. */
export const MESSAGE_BYTES_MAX = 65_535

/** RFC 2181 §8: a TTL with the top bit set counts as zero. */
const TTL_SECONDS_MAX = 2 ** 31 - 1

const recordType = (question: Question): 'A' | 'AAAA' => (question.family === 4 ? 'A' : 'AAAA')

/** What `decode` returns; its published types lack two of the members. */
type Message = DecodedPacket & { readonly rcode: string; readonly opcode: string }

/** The question in wire form. `datagramBytes` says how large an answer may come in one datagram (RFC 6891). */
export function encodeQuestion(question: Question, id: number, datagramBytes: number): Uint8Array {
  return encode({
    type: 'query',
    id,
    flags: RECURSION_DESIRED,
    questions: [{ type: recordType(question), name: question.name, class: 'IN' }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: datagramBytes,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: []
      }
    ]
  })
}

/** A message that answers our question: decoded, with the id and the question that were sent. */
export interface Reply {
  readonly truncated: boolean
  /** What it says; looks at the records only when called. */
  read(): ServerAnswer
}

/** Undefined when these bytes are no answer to this question: garbage, another id, another question, a query. */
export function decodeReply(bytes: Uint8Array, question: Question, id: number): Reply | undefined {
  const packet = decoded(bytes)
  if (packet === undefined || packet.id !== id || packet.type !== 'response' || packet.opcode !== 'QUERY')
    return undefined
  const [echo, ...others] = packet.questions ?? []
  if (echo === undefined || others.length > 0) return undefined
  if (sameName(echo.name) !== question.name || echo.type !== recordType(question) || echo.class !== 'IN')
    return undefined
  return { truncated: packet.flag_tc, read: () => readReply(packet, question) }
}

function readReply(packet: Message, question: Question): ServerAnswer {
  if (packet.rcode === 'NXDOMAIN') return { outcome: 'no-such-name' }
  if (packet.rcode !== 'NOERROR')
    return { outcome: 'failed', reason: 'refused', cause: new Error(`the server answered ${packet.rcode}`) }
  return readAddresses(packet.answers ?? [], question)
}

/**
 * The addresses at the end of the chain of aliases that begins with the name asked for (RFC 1034 §3.6.2). A record that is
 * not on it was not asked for and is passed over: c-ares, behind Node's own Resolver, takes any address in the message.
 */
function readAddresses(answers: readonly Answer[], question: Question): ServerAnswer {
  const aliases = new Map<string, { readonly target: string; readonly ttl: number }>()
  const owners = new Map<string, { readonly addresses: Set<string>; ttl: number }>()
  const isAddress = question.family === 4 ? isIPv4 : isIPv6
  for (const record of answers) {
    if ('class' in record && record.class !== 'IN') continue
    if (record.type === 'CNAME') {
      aliases.set(sameName(record.name), { target: sameName(record.data), ttl: ttlOf(record.ttl) })
    } else if (record.type === recordType(question) && isAddress(record.data)) {
      const owner = sameName(record.name)
      const found = owners.get(owner) ?? { addresses: new Set(), ttl: TTL_SECONDS_MAX }
      if (found.addresses.size < ADDRESSES_MAX) found.addresses.add(record.data)
      found.ttl = Math.min(found.ttl, ttlOf(record.ttl))
      owners.set(owner, found)
    }
  }
  let name = question.name
  let ttlSeconds = TTL_SECONDS_MAX
  for (let steps = 0; steps <= ALIASES_MAX; steps++) {
    const alias = aliases.get(name)
    if (alias === undefined) {
      const found = owners.get(name)
      if (found !== undefined) {
        return { outcome: 'addresses', addresses: [...found.addresses], ttlSeconds: Math.min(ttlSeconds, found.ttl) }
      }
      if (owners.size === 0) return { outcome: 'no-data' }
      return { outcome: 'failed', reason: 'malformed', cause: new Error('the answer is about other names') }
    }
    ttlSeconds = Math.min(ttlSeconds, alias.ttl)
    name = alias.target
  }
  return { outcome: 'failed', reason: 'malformed', cause: new Error(`more than ${ALIASES_MAX} aliases in a row`) }
}

/** Names differ in case alone to no one (RFC 1035 §2.3.3). */
const sameName = (name: string): string => name.toLowerCase()

function ttlOf(ttl: number | undefined): number {
  return ttl === undefined || !(ttl >= 0 && ttl <= TTL_SECONDS_MAX) ? 0 : ttl
}

function decoded(bytes: Uint8Array): Message | undefined {
  try {
    return decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)) as Message
  } catch {
    // A decoder that is fed garbage may throw anything; all of it means that this is no DNS message.
    return undefined
  }
}
