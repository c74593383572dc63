import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { KEY_BYTES } from '../crypto/curve25519.ts'
import { wipe } from '../crypto/wipe.ts'
import { ByteReader } from '../encoding/byte-reader.ts'
import { ByteWriter } from '../encoding/byte-writer.ts'
import { encodeIdentity, type PublicIdentity, readIdentity } from '../identity/public-identity.ts'
import { decodeRatchet, encodeRatchet } from '../ratchet/ratchet-record.ts'
import { wipeReplaced } from '../ratchet/wipe-replaced.ts'
import type { Opening, Session } from './session.ts'

/** All that an agent keeps about one peer. */
export interface PeerRecord {
  /** The identity that was trusted for the address. */
  readonly identity: PublicIdentity
  /** The active one first: it seals. The others only open what was sent before they were archived. */
  readonly sessions: readonly [Session, ...Session[]]
}

/** Sessions kept beside the active one, Sesame §3.2: as many as libsignal keeps. The longest archived make way. */
const ARCHIVED_SESSIONS_MAX = 40

const RECORD_VERSION = 1

/** The record with `session` as the active one, wherever it stood before. */
export function withActive(record: PeerRecord, session: Session, replaced?: Session): PeerRecord {
  const others = record.sessions.filter((other) => other !== replaced)
  return { ...record, sessions: [session, ...others.slice(0, ARCHIVED_SESSIONS_MAX)] }
}

/** The record of a peer that has another identity now, with the first session under it; the others are superseded. */
export function withIdentity(record: PeerRecord, identity: PublicIdentity, session: Session): PeerRecord {
  const [active, ...archived] = record.sessions
  const superseded = (other: Session): Session => ({ ...other, superseded: true })
  return withActive({ identity, sessions: [superseded(active), ...archived.map(superseded)] }, session)
}

/** The record with a session in place of its earlier state, active or archived as that was. */
export function withReplaced(record: PeerRecord, session: Session, replaced: Session): PeerRecord {
  const [active, ...archived] = record.sessions.map((other) => (other === replaced ? session : other))
  return { ...record, sessions: [active as Session, ...archived] }
}

/** The record with one more archived session. */
export function withArchived(record: PeerRecord, session: Session): PeerRecord {
  const [active, ...archived] = record.sessions
  return { ...record, sessions: [active, session, ...archived.slice(0, ARCHIVED_SESSIONS_MAX - 1)] }
}

/** Wipes what only the earlier record held. To be called once the later one is stored. */
export function wipeReplacedSessions(before: PeerRecord, after: PeerRecord): void {
  const later = new Map(after.sessions.map(({ ratchet }) => [ratchet.sessionId, ratchet]))
  for (const { ratchet } of before.sessions) wipeReplaced(ratchet, later.get(ratchet.sessionId))
}

/** The record as bytes, versioned and without slack. They are secret; stores that outlive the process seal them. */
export async function encodePeer(record: PeerRecord, crypto: CryptoProvider): Promise<Uint8Array> {
  const writer = new ByteWriter().u8(RECORD_VERSION).bytes(encodeIdentity(record.identity))
  writer.u8(record.sessions.length)
  for (const { opening, superseded, ratchet } of record.sessions) {
    writer.u8(superseded ? 1 : 0).u8(opening === undefined ? 0 : 1)
    if (opening !== undefined) writeOpening(writer, opening)
    const encoded = await encodeRatchet(ratchet, crypto)
    writer.u32(encoded.length).bytes(encoded)
    wipe(encoded)
  }
  return writer.finish()
}

/** Reads what `encodePeer` wrote. Throws `RECORD_DAMAGED` for anything else. */
export async function decodePeer(bytes: Uint8Array, crypto: CryptoProvider): Promise<PeerRecord> {
  const reader = new ByteReader('session record', bytes)
  reader.expect(RECORD_VERSION, 'version')
  const identity = readIdentity(reader)
  const count = reader.u8()
  if (count > ARCHIVED_SESSIONS_MAX + 1)
    throw reader.damaged(`${count} sessions, where ${ARCHIVED_SESSIONS_MAX + 1} are the most`)
  const sessions: Session[] = []
  for (let at = 0; at < count; at += 1) {
    const superseded = reader.flag()
    const opening = reader.flag() ? readOpening(reader) : undefined
    const encoded = reader.bytes(reader.u32())
    sessions.push({ opening, superseded, ratchet: await decodeRatchet(encoded, crypto) })
    wipe(encoded)
  }
  reader.end()
  const [active, ...archived] = sessions
  if (active === undefined) throw reader.damaged('it holds no session')
  return { identity, sessions: [active, ...archived] }
}

function writeOpening(writer: ByteWriter, { baseKey, signedPrekeyId, oneTimePrekeyId }: Opening): void {
  writer
    .bytes(baseKey)
    .u32(signedPrekeyId)
    .u8(oneTimePrekeyId === undefined ? 0 : 1)
  if (oneTimePrekeyId !== undefined) writer.u32(oneTimePrekeyId)
}

function readOpening(reader: ByteReader): Opening {
  const baseKey = reader.bytes(KEY_BYTES)
  const signedPrekeyId = reader.u32()
  return { baseKey, signedPrekeyId, oneTimePrekeyId: reader.flag() ? reader.u32() : undefined }
}
