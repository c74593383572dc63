import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { RequestView } from '../request/request-view.ts'

/** Changes whenever something happens to a request that a page shows; what only time changes is not in it. */
export function stateOf(view: RequestView): string {
  const { status, version, argumentHash, tier, queued, votes, comments, edits, execution } = view
  const counted = [votes.length, comments.length, edits.length]
  return bytesToHex(
    sha256(utf8ToBytes(JSON.stringify([status, version, argumentHash, tier, queued, ...counted, execution.state])))
  ).slice(0, 16)
}
