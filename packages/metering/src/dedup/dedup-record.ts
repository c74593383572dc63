import type { DedupAnswer, DedupClaim } from './dedup-store.ts'

/** What a store keeps of an identity. */
export interface DedupRecord {
  readonly state: 'claimed' | 'settled'
  readonly payloadHash: string
  /** Epoch milliseconds. */
  readonly receivedAt: number
}

/** What a claim of an identity is told. */
export function answerTo(claim: DedupClaim, record: DedupRecord | undefined): DedupAnswer {
  if (record === undefined) return { outcome: 'new' }
  const { state, receivedAt: firstReceivedAt } = record
  if (claim.payloadHash !== record.payloadHash) {
    return { outcome: 'conflict', firstReceivedAt, settled: state === 'settled' }
  }
  return { outcome: state === 'settled' ? 'duplicate' : 'pending', firstReceivedAt }
}

/** Whether a release frees what is kept: what the same claim claimed, and nobody settled. */
export function isFreedBy(claim: DedupClaim, { state, payloadHash, receivedAt }: DedupRecord): boolean {
  return state === 'claimed' && payloadHash === claim.payloadHash && receivedAt === claim.receivedAt
}
