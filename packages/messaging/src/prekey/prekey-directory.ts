import type { PublicIdentity } from '../identity/public-identity.ts'
import type { PrekeyBundle, PublicPrekey, SignedPrekey } from './prekey-bundle.ts'

/** What an agent leaves with the directory. */
export interface PrekeyUpload {
  readonly identity: PublicIdentity
  /** Replaces the one before. */
  readonly signedPrekey: SignedPrekey
  /** Added to those still there. */
  readonly oneTimePrekeys: readonly PublicPrekey[]
}

/**
 * Where agents leave prekeys for each other. It is trusted to be there and to hand each one-time prekey out once;
 * bundles are verified by whoever takes them, so it cannot put itself between two agents that compare fingerprints.
 *
 * Methods throw when the directory cannot answer.
 */
export interface PrekeyDirectory {
  /** Resolved means that `claim` sees it. One-time prekeys whose number was published before are ignored. */
  publish(address: string, upload: PrekeyUpload): Promise<void>
  /**
   * Takes a bundle, and with it one one-time prekey, which under any race goes to nobody else. Undefined when nothing
   * was ever published for the address.
   */
  claim(address: string): Promise<PrekeyBundle | undefined>
  /** How many one-time prekeys are left for the address. */
  remaining(address: string): Promise<number>
}
