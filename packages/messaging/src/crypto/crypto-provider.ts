/**
 * What a provider may answer at once or later: WebCrypto's curves are asynchronous, those of Node and noble are not.
 */
export type Awaitable<T> = T | Promise<T>

/**
 * An X25519 private key that only the provider which made it can use. The secret is not reachable from the handle, so
 * that neither `inspect` nor JSON can show it.
 */
export interface AgreementKey {
  readonly kind: 'x25519-private'
  /** 32 bytes, RFC 7748 §5. Treat as read-only. */
  readonly publicKey: Uint8Array
}

/**
 * A peer's X25519 public key in the provider's own form: importing costs as much as agreeing, and each serves twice.
 */
export interface PeerKey {
  readonly kind: 'x25519-public'
  /** The 32 bytes it was imported from. Treat as read-only. */
  readonly bytes: Uint8Array
}

/** An Ed25519 private key that only the provider which made it can use. */
export interface SigningKey {
  readonly kind: 'ed25519-private'
  /** 32 bytes, RFC 8032 §5.1.5. Treat as read-only. */
  readonly publicKey: Uint8Array
}

/**
 * The cryptography that the protocols stand on. Every provider passes `cryptoProviderConformance`, so that sessions do
 * not depend on which one a process uses.
 *
 * Curve operations may answer later; hashes and AEADs answer at once. Inputs are never kept or changed, outputs belong
 * to the caller. Keys of the wrong length or from another provider throw `INVALID_KEY`.
 */
export interface CryptoProvider {
  /** Such as `node` or `noble`. */
  readonly name: string

  /** Bytes from the operating system's generator. The only source of keys, salts and seeds. */
  random(lengthBytes: number): Uint8Array

  generateAgreementKey(): Awaitable<AgreementKey>
  /**
   * Takes a 32-byte scalar, clamped on use as RFC 7748 §5 says. The public key is always computed, never taken on
   * trust.
   */
  importAgreementKey(secret: Uint8Array): Awaitable<AgreementKey>
  /** A copy of the 32-byte scalar, for sealing at rest. The caller wipes it. */
  exportAgreementKey(key: AgreementKey): Awaitable<Uint8Array>
  /** Takes any 32 bytes; bit 255 is ignored and values from p on are reduced, RFC 7748 §5. */
  importPeerKey(bytes: Uint8Array): Awaitable<PeerKey>
  /**
   * X25519. Throws `INVALID_KEY` when the shared secret is all zero, which a point of small order gives (RFC 7748
   * §6.1): such a secret is known to everybody.
   */
  agree(key: AgreementKey, peer: PeerKey): Awaitable<Uint8Array>

  generateSigningKey(): Awaitable<SigningKey>
  /** Takes a 32-byte seed, RFC 8032 §5.1.5. The public key is always computed, never taken on trust. */
  importSigningKey(seed: Uint8Array): Awaitable<SigningKey>
  /** A copy of the 32-byte seed, for sealing at rest. The caller wipes it. */
  exportSigningKey(key: SigningKey): Awaitable<Uint8Array>
  /** Ed25519, 64 bytes. */
  sign(key: SigningKey, message: Uint8Array): Awaitable<Uint8Array>
  /**
   * Ed25519 as in RFC 8032 §5.1.7: `S` must be below the group order. Public keys of small order verify nothing, since
   * one signature would fit many messages under them. Malformed keys and signatures are false, not errors.
   */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Awaitable<boolean>

  sha256(message: Uint8Array): Uint8Array
  /** HMAC-SHA256, RFC 2104. */
  hmac(key: Uint8Array, message: Uint8Array): Uint8Array
  /** HKDF-SHA256, RFC 5869; `lengthBytes` from 1 to 255 × 32. */
  hkdf(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, lengthBytes: number): Uint8Array
  /** ChaCha20-Poly1305, RFC 8439 §2.8: 32-byte key, 12-byte nonce. Gives the ciphertext and its 16-byte tag. */
  seal(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** The inverse of `seal`; undefined when the tag does not verify, and then nothing of the plaintext is seen. */
  open(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, sealed: Uint8Array): Uint8Array | undefined
  /** Whether two values are equal, in a time that depends on their lengths alone. */
  equal(left: Uint8Array, right: Uint8Array): boolean
}
