import type { PublicIdentity } from './public-identity.ts'

/** Whom a trust decision is about. The keys are proven to belong together, not to belong to the address. */
export interface PeerToTrust {
  readonly address: string
  /** 64 hex digits, for comparison over another channel or with a register of agents. */
  readonly fingerprint: string
  readonly publicIdentity: PublicIdentity
  /**
   * `sending`: nothing has left yet. `receiving`: the peer's first message has been authenticated and not been stored.
   */
  readonly direction: 'sending' | 'receiving'
  /** Set when another identity was trusted for this address before. */
  readonly previousFingerprint?: string
}

/**
 * Decides whether the identity is the one that belongs to the address. Asked once for each new identity of an address,
 * and always awaited; anything but `true` refuses. Messages of that one address wait meanwhile.
 */
export type Trust = (peer: PeerToTrust) => boolean | Promise<boolean>
