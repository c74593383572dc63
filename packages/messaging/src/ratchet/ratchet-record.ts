import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { KEY_BYTES } from '../crypto/curve25519.ts'
import { wipe } from '../crypto/wipe.ts'
import { ByteReader } from '../encoding/byte-reader.ts'
import { ByteWriter } from '../encoding/byte-writer.ts'
import type { RatchetState } from './ratchet-state.ts'
import { RECEIVING_CHAINS_MAX, type ReceivingChain } from './receiving-chain.ts'
import { RETIRED_KEY_BYTES, RETIRED_KEYS_MAX } from './retired-keys.ts'
import { SKIPPED_KEYS_MAX, type SkippedKey } from './skipped-keys.ts'

const RECORD_VERSION = 1

/**
 * The state as bytes: about 190 for a young session, below 1 KB after any number of turns when nothing is missing, and
 * 40 more for each skipped key. They are secret; whoever keeps them seals them.
 */
export async function encodeRatchet(state: RatchetState, crypto: CryptoProvider): Promise<Uint8Array> {
  const { ratchetKey, sending, peerKey } = state
  const secret = ratchetKey === undefined ? undefined : await crypto.exportAgreementKey(ratchetKey)
  const writer = new ByteWriter().u8(RECORD_VERSION).bytes(state.sessionId).bytes(state.rootKey)
  writer.u8(secret === undefined ? 0 : 1)
  if (secret !== undefined) writer.bytes(secret)
  wipe(secret)
  writer.u8(sending === undefined ? 0 : 1)
  if (sending !== undefined) writer.bytes(sending.chainKey).u32(sending.count)
  writer.u32(state.previousCount)
  writer.u8(peerKey === undefined ? 0 : 1)
  if (peerKey !== undefined) writer.bytes(peerKey.bytes)
  writer.u8(state.chains.length)
  for (const chain of state.chains) writeChain(writer, chain)
  writer.u8(state.retired.length)
  for (const prefix of state.retired) writer.bytes(prefix)
  return writer.finish()
}

/** Reads what `encodeRatchet` wrote. Throws `RECORD_DAMAGED` for anything else. */
export async function decodeRatchet(record: Uint8Array, crypto: CryptoProvider): Promise<RatchetState> {
  const reader = new ByteReader('ratchet record', record)
  reader.expect(RECORD_VERSION, 'version')
  const sessionId = reader.bytes(KEY_BYTES)
  const rootKey = reader.bytes(KEY_BYTES)
  const secret = reader.flag() ? reader.bytes(KEY_BYTES) : undefined
  const sending = reader.flag() ? { chainKey: reader.bytes(KEY_BYTES), count: reader.u32() } : undefined
  const previousCount = reader.u32()
  const peer = reader.flag() ? reader.bytes(KEY_BYTES) : undefined
  const chains = Array.from({ length: bounded(reader, 'chains', reader.u8(), RECEIVING_CHAINS_MAX) }, () =>
    readChain(reader)
  )
  const retired = Array.from({ length: bounded(reader, 'retired keys', reader.u8(), RETIRED_KEYS_MAX) }, () =>
    reader.bytes(RETIRED_KEY_BYTES)
  )
  reader.end()
  const ratchetKey = secret === undefined ? undefined : await crypto.importAgreementKey(secret)
  wipe(secret)
  const peerKey = peer === undefined ? undefined : await crypto.importPeerKey(peer)
  return { sessionId, rootKey, ratchetKey, sending, previousCount, peerKey, chains, retired }
}

function writeChain(writer: ByteWriter, { ratchetKey, chainKey, count, skipped }: ReceivingChain): void {
  writer.bytes(ratchetKey).u8(chainKey === undefined ? 0 : 1)
  if (chainKey !== undefined) writer.bytes(chainKey)
  writer.u32(count).u16(skipped.size)
  for (const [number, { messageKey, sinceMinutes }] of skipped) {
    writer.u32(number).u32(sinceMinutes).bytes(messageKey)
  }
}

function readChain(reader: ByteReader): ReceivingChain {
  const ratchetKey = reader.bytes(KEY_BYTES)
  const chainKey = reader.flag() ? reader.bytes(KEY_BYTES) : undefined
  const count = reader.u32()
  const skipped = new Map<number, SkippedKey>()
  const size = bounded(reader, 'skipped keys', reader.u16(), SKIPPED_KEYS_MAX)
  for (let at = 0; at < size; at += 1) {
    const number = reader.u32()
    const sinceMinutes = reader.u32()
    skipped.set(number, { sinceMinutes, messageKey: reader.bytes(KEY_BYTES) })
  }
  if (skipped.size !== size) throw reader.damaged('a skipped key stands in it twice')
  return { ratchetKey, chainKey, count, skipped }
}

/** A count that a record may state. Refused before anything of that size is made. */
function bounded(reader: ByteReader, what: string, count: number, max: number): number {
  if (count > max) throw reader.damaged(`${count} ${what}, where ${max} are the most`)
  return count
}
