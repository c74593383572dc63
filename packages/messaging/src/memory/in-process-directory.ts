import type { PublicIdentity } from '../identity/public-identity.ts'
import type { PublicPrekey, SignedPrekey } from '../prekey/prekey-bundle.ts'
import type { PrekeyDirectory } from '../prekey/prekey-directory.ts'

interface Listing {
  identity: PublicIdentity
  signedPrekey: SignedPrekey
  /** Oldest first, and handed out in that order. */
  readonly oneTimePrekeys: PublicPrekey[]
  /** Numbers below this were published before. They only ever rise. */
  nextId: number
}

/** A directory for the messengers of one process: each claim takes its one-time prekey in one synchronous step. */
export function inProcessDirectory(): PrekeyDirectory {
  const listings = new Map<string, Listing>()
  return {
    async publish(address, { identity, signedPrekey, oneTimePrekeys }) {
      const listing = listings.get(address) ?? { identity, signedPrekey, oneTimePrekeys: [], nextId: 0 }
      listings.set(address, Object.assign(listing, { identity, signedPrekey }))
      for (const prekey of oneTimePrekeys) {
        if (prekey.id < listing.nextId) continue
        listing.oneTimePrekeys.push(prekey)
        listing.nextId = prekey.id + 1
      }
    },
    async claim(address) {
      const listing = listings.get(address)
      if (listing === undefined) return undefined
      const { identity, signedPrekey } = listing
      const oneTimePrekey = listing.oneTimePrekeys.shift()
      return { identity, signedPrekey, ...(oneTimePrekey === undefined ? {} : { oneTimePrekey }) }
    },
    async remaining(address) {
      return listings.get(address)?.oneTimePrekeys.length ?? 0
    }
  }
}
