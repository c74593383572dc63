import { utf8ToBytes } from '@noble/hashes/utils.js'
import { CoreError } from '../failure/core-error.ts'
import { fromBase64, toBase64 } from './base64.ts'
import { type CheckpointSigner, isSignedBy, type ParsedVerifierKey } from './checkpoint-key.ts'
import { HASH_BYTES } from './merkle-hash.ts'
import { keyIdOf, readNote, signaturesOf, writeNote } from './signed-note.ts'

/**
 * What a signature says of a log: its tree at a size. Kept as a signed note, https://c2sp.org/tlog-checkpoint, which
 * tools for transparency logs read.
 */
export interface Checkpoint {
  /** Which log: `<name of the key>/<tenant, percent-encoded>`. */
  readonly origin: string
  readonly size: number
  readonly root: Uint8Array
}

/** The origin of a tenant's log under a key's name. Percent-encoded, so that every tenant has a line of its own. */
export function originOf(name: string, tenant: string): string {
  // `encodeURIComponent` leaves no space, plus or control character; the segment after the last slash is the tenant.
  return `${name}/${encodeURIComponent(tenant)}`
}

/** The tenant of an origin; undefined when it is none of ours. */
export function tenantOf(origin: string): string | undefined {
  try {
    const tenant = decodeURIComponent(origin.slice(origin.lastIndexOf('/') + 1))
    return originOf(origin.slice(0, origin.lastIndexOf('/')), tenant) === origin && tenant !== '' ? tenant : undefined
  } catch {
    return undefined
  }
}

/**
 * Signs a checkpoint: the note. Throws what the signer throws, and `INVALID_OPTIONS` for a signature that is not by its
 * public key: a sink would keep it for ever, and every verification would fail by it.
 */
export async function signCheckpoint(
  signer: CheckpointSigner,
  checkpoint: Checkpoint,
  options: { readonly signal: AbortSignal }
): Promise<string> {
  const { origin } = checkpoint
  const text = `${origin}\n${checkpoint.size}\n${toBase64(checkpoint.root)}\n`
  const message = utf8ToBytes(text)
  const signature = await signer.sign(message, options)
  if (!isSignedBy(signature, message, signer.publicKey)) {
    const fault = 'must give a signature by the public key'
    throw new CoreError('INVALID_OPTIONS', `a checkpoint signer was refused: sign: ${fault}`, {
      subject: 'a checkpoint signer',
      issues: [{ path: 'sign', message: fault }]
    })
  }
  // The format wants a log's key to be named like the log.
  return writeNote(text, { keyName: origin, keyId: keyIdOf(origin, signer.publicKey), signature })
}

/** The checkpoint in a note, its signatures unverified; undefined when it holds none. */
export function readCheckpoint(note: string): Checkpoint | undefined {
  const text = readNote(note)?.text
  if (text === undefined) return undefined
  const [origin = '', digits = '', encoded = '', ...extensions] = text.slice(0, -1).split('\n')
  const size = Number(digits)
  const root = fromBase64(encoded)
  if (origin === '' || extensions.includes('') || !/^(0|[1-9][0-9]*)$/.test(digits)) return undefined
  if (!Number.isSafeInteger(size) || root?.length !== HASH_BYTES) return undefined
  return { origin, size, root }
}

/** Whether a note is a checkpoint of one of the key's logs and bears its signature. A second one by it that fails is one too many. */
export function isCheckpointOf(note: string, { name, publicKey }: ParsedVerifierKey): boolean {
  const read = readNote(note)
  const checkpoint = readCheckpoint(note)
  if (read === undefined || checkpoint === undefined) return false
  const tenant = tenantOf(checkpoint.origin)
  if (tenant === undefined || originOf(name, tenant) !== checkpoint.origin) return false
  const signatures = signaturesOf(read, checkpoint.origin, publicKey)
  const message = utf8ToBytes(read.text)
  return signatures.length > 0 && signatures.every((one) => isSignedBy(one, message, publicKey))
}
