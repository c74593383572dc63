import { cryptoProvider } from '#crypto'
import type { AgreementKey, CryptoProvider, SigningKey } from '../crypto/crypto-provider.ts'
import { KEY_BYTES } from '../crypto/curve25519.ts'
import { wipe } from '../crypto/wipe.ts'
import { ByteReader } from '../encoding/byte-reader.ts'
import { ByteWriter, labelBytes } from '../encoding/byte-writer.ts'
import { MessagingError } from '../messaging-error.ts'
import { fingerprintOf, identityBinding, type PublicIdentity } from './public-identity.ts'

/** An agent's own identity. It shows its public half; the private keys are behind handles that nothing prints. */
export interface Identity {
  readonly publicIdentity: PublicIdentity
  /** 64 hex digits over both public keys, to be compared over another channel. */
  readonly fingerprint: string
}

/** What the protocols need of an identity. */
export interface IdentityKeys {
  readonly crypto: CryptoProvider
  readonly signing: SigningKey
  readonly agreement: AgreementKey
  /** Keys the digests that recognise a repeated send, so that a stolen store gives no way to guess at plaintexts. */
  readonly digestKey: Uint8Array
}

/** The private half, out of reach of `inspect` and JSON. */
const keysByIdentity = new WeakMap<Identity, IdentityKeys>()

const EXPORT_VERSION = 1
const DIGEST_LABEL = labelBytes('Enablement send digest v1')

/**
 * Makes a new identity from the provider's own randomness. Whatever messenger uses it uses the same provider.
 *
 * `crypto` is Node's provider under Node and noble elsewhere, unless given.
 */
export async function createIdentity(options: { readonly crypto?: CryptoProvider } = {}): Promise<Identity> {
  const { crypto = cryptoProvider } = options
  return assemble(crypto, await crypto.generateSigningKey(), await crypto.generateAgreementKey())
}

/**
 * The identity as 65 secret bytes, for the caller to keep sealed and give to `importIdentity` after a restart. Whoever
 * has them is this agent.
 */
export async function exportIdentity(identity: Identity): Promise<Uint8Array> {
  const { crypto, signing, agreement } = identityKeys(identity)
  const seed = await crypto.exportSigningKey(signing)
  const secret = await crypto.exportAgreementKey(agreement)
  const exported = new ByteWriter().u8(EXPORT_VERSION).bytes(seed).bytes(secret).finish()
  wipe(seed, secret)
  return exported
}

/** Brings back what `exportIdentity` gave. Throws `RECORD_DAMAGED` for anything else. */
export async function importIdentity(
  exported: Uint8Array,
  options: { readonly crypto?: CryptoProvider } = {}
): Promise<Identity> {
  const { crypto = cryptoProvider } = options
  const reader = new ByteReader('exported identity', exported)
  reader.expect(EXPORT_VERSION, 'version')
  const seed = reader.bytes(KEY_BYTES)
  const secret = reader.bytes(KEY_BYTES)
  reader.end()
  const identity = await assemble(crypto, await crypto.importSigningKey(seed), await crypto.importAgreementKey(secret))
  wipe(seed, secret)
  return identity
}

/** The keys behind an identity. Throws `INVALID_ARGUMENT` for an object that this package did not make. */
export function identityKeys(identity: Identity): IdentityKeys {
  const keys = keysByIdentity.get(identity)
  if (keys !== undefined) return keys
  const reason = 'not made by createIdentity or importIdentity of this copy of the package'
  throw new MessagingError('INVALID_ARGUMENT', `identity: ${reason}`, { path: 'identity', reason })
}

async function assemble(crypto: CryptoProvider, signing: SigningKey, agreement: AgreementKey): Promise<Identity> {
  const publicIdentity: PublicIdentity = Object.freeze({
    signingKey: signing.publicKey,
    agreementKey: agreement.publicKey,
    signature: await crypto.sign(signing, identityBinding(signing.publicKey, agreement.publicKey))
  })
  const identity: Identity = Object.freeze({ publicIdentity, fingerprint: fingerprintOf(publicIdentity, crypto) })
  const seed = await crypto.exportSigningKey(signing)
  const digestKey = crypto.hkdf(seed, new Uint8Array(0), DIGEST_LABEL, KEY_BYTES)
  wipe(seed)
  keysByIdentity.set(identity, { crypto, signing, agreement, digestKey })
  return identity
}
