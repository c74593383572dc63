import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { fingerprintOf, type PublicIdentity } from '../identity/public-identity.ts'
import type { PeerToTrust, Trust } from '../identity/trust.ts'
import { MessagingError } from '../messaging-error.ts'
import type { Observe } from '../messaging-event.ts'

/** What happens around a new identity: the question whether it is trusted, and the news that a session exists. */
export interface Introduction {
  /** Asks the caller's `trust`. Throws `TRUST_UNDECIDED` when that throws. */
  trusts(
    address: string,
    identity: PublicIdentity,
    direction: PeerToTrust['direction'],
    previous: PublicIdentity | undefined
  ): Promise<boolean>
  fingerprint(identity: PublicIdentity): string
  established(address: string, identity: PublicIdentity, role: 'initiator' | 'responder', oneTimePrekey: boolean): void
}

export function createIntroduction(options: {
  readonly trust: Trust
  readonly crypto: CryptoProvider
  readonly notify: Observe
}): Introduction {
  const { trust, crypto, notify } = options
  return {
    async trusts(address, identity, direction, previous) {
      const fingerprint = fingerprintOf(identity, crypto)
      const peer: PeerToTrust = {
        address,
        fingerprint,
        publicIdentity: identity,
        direction,
        ...(previous === undefined ? {} : { previousFingerprint: fingerprintOf(previous, crypto) })
      }
      try {
        // Whatever a caller without types gives back: only `true` is trust.
        const answer: unknown = await trust(peer)
        return answer === true
      } catch (cause) {
        throw new MessagingError(
          'TRUST_UNDECIDED',
          `trust did not decide about ${address} with fingerprint ${fingerprint}`,
          { address, fingerprint },
          { cause }
        )
      }
    },
    fingerprint: (identity) => fingerprintOf(identity, crypto),
    established(address, identity, role, oneTimePrekey) {
      const fingerprint = fingerprintOf(identity, crypto)
      notify({ type: 'session.established', peer: address, fingerprint, role, oneTimePrekey })
    }
  }
}
