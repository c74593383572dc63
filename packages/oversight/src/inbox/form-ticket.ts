import type { Platform } from '@enablement/core'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { InboxVisitor } from './visitor.ts'

/** Proof that a form was shown to this very person by this very inbox. */
export interface FormTickets {
  issue(visitor: InboxVisitor): string
  /** The number of the form when the ticket is good, or undefined. */
  open(ticket: string, visitor: InboxVisitor): string | undefined
}

/** How long a form may be left open: a working day and the night after it. */
const TICKET_MS = 43_200_000

/** Servers whose clocks differ issue tickets for each other. */
const CLOCK_SKEW_MS = 60_000

const NONCE_BYTES = 16

/** Begins every message that is authenticated, so that no other use of the same key can make a ticket. */
const DOMAIN = '@enablement/oversight/inbox/form/1\0'

const TICKET = /^([0-9a-z]{1,11})\.([0-9a-f]{32})\.([0-9a-f]{64})$/

/**
 * A ticket is `issued at . nonce . HMAC-SHA256`, over the tenant, the approver and the session too: one that was shown to
 * somebody else, or elsewhere, is no good. It holds nothing secret and the server keeps none of it. It may be used again
 * while it lasts; its nonce makes the repetition of a form recognisable as one.
 *
 * `keys`: the first signs, all of them verify, so that a key can be replaced while forms are open.
 */
export function formTickets(keys: readonly Uint8Array[], basePath: string, platform: Platform): FormTickets {
  const mac = (key: Uint8Array, visitor: InboxVisitor, claim: string): string => {
    const whom = [basePath, visitor.tenant, visitor.approver, visitor.session ?? null, claim]
    return bytesToHex(hmac(sha256, key, utf8ToBytes(DOMAIN + JSON.stringify(whom))))
  }
  return {
    issue(visitor) {
      const nonce = bytesToHex(platform.random.fill(new Uint8Array(NONCE_BYTES)))
      const claim = `${platform.clock.now().toString(36)}.${nonce}`
      return `${claim}.${mac(keys[0] as Uint8Array, visitor, claim)}`
    },
    open(ticket, visitor) {
      const [, issued, nonce, given] = TICKET.exec(ticket) ?? []
      if (issued === undefined || nonce === undefined || given === undefined) return undefined
      if (!keys.some((key) => isEqual(given, mac(key, visitor, `${issued}.${nonce}`)))) return undefined
      const ageMs = platform.clock.now() - Number.parseInt(issued, 36)
      return ageMs >= -CLOCK_SKEW_MS && ageMs <= TICKET_MS ? nonce : undefined
    }
  }
}

/** Of two texts of 64 characters. Takes as long when they differ at once as when they differ at the end. */
function isEqual(one: string, other: string): boolean {
  let difference = 0
  for (let at = 0; at < other.length; at++) difference |= one.charCodeAt(at) ^ other.charCodeAt(at)
  return difference === 0
}
