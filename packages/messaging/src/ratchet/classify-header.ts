import { COUNT_MAX } from './chain-key.ts'
import type { RatchetHeader } from './ratchet-profile.ts'
import type { RatchetState } from './ratchet-state.ts'
import { isRetired } from './retired-keys.ts'
import { SKIP_MAX } from './skipped-keys.ts'

/** Where a header stands to a state. Found before anything is derived, and nothing is changed by finding it. */
export type HeaderClass =
  /** The next message of the newest chain, or, with `skips` above zero, one that overtook as many others. */
  | { readonly kind: 'in-chain'; readonly skips: number }
  /** The first message seen of a new ratchet key. */
  | { readonly kind: 'new-chain'; readonly skipsBefore: number; readonly skips: number }
  /** An overtaken message whose key was set aside, in the chain of that index. */
  | { readonly kind: 'skipped'; readonly chain: number }
  /** Opened before, or given up: its key is gone. */
  | { readonly kind: 'already-processed' }
  /** More than `SKIP_MAX` messages are missing before it. */
  | { readonly kind: 'too-far-ahead'; readonly expected: number; readonly received: number }

/** Classifies an unauthenticated header by comparing keys and numbers alone. */
export function classifyHeader(state: RatchetState, header: RatchetHeader): HeaderClass {
  const { ratchetKey, previousCount, count } = header
  const at = state.chains.findIndex((chain) => sameKey(chain.ratchetKey, ratchetKey))
  const chain = state.chains[at]

  if (chain === undefined) {
    if (isRetired(state.retired, ratchetKey)) return { kind: 'already-processed' }
    const [newest] = state.chains
    const skipsBefore = newest?.chainKey === undefined ? 0 : Math.max(0, previousCount - newest.count)
    if (skipsBefore > SKIP_MAX) return tooFarAhead(newest?.count ?? 0, previousCount)
    if (count > SKIP_MAX) return tooFarAhead(0, count)
    return { kind: 'new-chain', skipsBefore, skips: count }
  }
  if (chain.skipped.has(count)) return { kind: 'skipped', chain: at }
  if (count < chain.count || chain.chainKey === undefined || count === COUNT_MAX) return { kind: 'already-processed' }
  const skips = count - chain.count
  return skips > SKIP_MAX ? tooFarAhead(chain.count, count) : { kind: 'in-chain', skips }
}

function tooFarAhead(expected: number, received: number): HeaderClass {
  return { kind: 'too-far-ahead', expected, received }
}

/** Ratchet keys are public: comparing them may stop at the first difference. */
function sameKey(left: Uint8Array, right: Uint8Array): boolean {
  return left.every((byte, at) => byte === right[at])
}
