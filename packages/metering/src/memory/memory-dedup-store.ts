import { CoreError, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import { answerTo, type DedupRecord, isFreedBy } from '../dedup/dedup-record.ts'
import { checkClaims, DEDUP_TTL_MS, type DedupAnswer, type DedupClaim, type DedupStore } from '../dedup/dedup-store.ts'
import { identityKey } from '../dedup/repeat.ts'

/** Identities held, some 150 MB of them: a bound for tests and demos, which is what this store is for. */
const IDENTITIES_MAX = 500_000

/** Records looked at for expiry with each claim: two go for each one that comes, so the map shrinks by itself. */
const EXPIRED_PER_CLAIM = 2

export interface MemoryDedupStoreOptions {
  /** How long an identity is remembered: 45 days unless given. */
  readonly ttlMs?: number
  /** Identities it holds; beyond it `claim` and `settle` throw `OVERLOADED`. 500,000 unless given. */
  readonly identitiesMax?: number
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<MemoryDedupStoreOptions> = z.strictObject({
  ttlMs: z
    .int()
    .min(1_000)
    .max(3_660 * 86_400_000)
    .exactOptional(),
  identitiesMax: z.int().min(1).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/** A record, and when it is forgotten. */
interface KeptRecord extends DedupRecord {
  readonly expiresAt: number
}

/**
 * Identities in this process's memory, for tests and demos: they end with it, and no other process sees them. Throws
 * `INVALID_OPTIONS`.
 */
export function memoryDedupStore(options: MemoryDedupStoreOptions = {}): DedupStore {
  const parsed = parseOptions(optionsSchema, 'memoryDedupStore', options)
  const { ttlMs = DEDUP_TTL_MS, identitiesMax = IDENTITIES_MAX, platform = systemPlatform } = parsed
  /** In the order in which they were claimed, which is that of expiry, as far as the clock is not set back. */
  const records = new Map<string, KeptRecord>()

  const forgetExpired = (now: number, claims: number): void => {
    let looked = 0
    for (const [key, { expiresAt }] of records) {
      if (looked === claims * EXPIRED_PER_CLAIM || now < expiresAt) return
      records.delete(key)
      looked += 1
    }
  }

  /** Runs `step` for each claim with what is kept of it, all or none: a full store takes no part of a call. */
  const each = (
    subject: string,
    claims: readonly DedupClaim[],
    signal: AbortSignal | undefined,
    step: (claim: DedupClaim, record: DedupRecord | undefined, keep: (record: DedupRecord | undefined) => void) => void
  ): void => {
    signal?.throwIfAborted()
    checkClaims(subject, claims)
    const now = platform.clock.now()
    forgetExpired(now, claims.length)
    const drafts = new Map<string, KeptRecord | undefined>()
    for (const claim of claims) {
      const key = identityKey(claim)
      const kept = drafts.has(key) ? drafts.get(key) : records.get(key)
      const record = kept !== undefined && now < kept.expiresAt ? kept : undefined
      step(claim, record, (next) => {
        drafts.set(key, next === undefined ? undefined : { ...next, expiresAt: record?.expiresAt ?? now + ttlMs })
      })
    }
    const added = [...drafts].filter(([key, record]) => record !== undefined && !records.has(key)).length
    if (records.size + added > identitiesMax) {
      const what = 'the memory dedup store'
      const message = `${what} holds ${records.size} identities and takes no more than ${identitiesMax}`
      throw new CoreError('OVERLOADED', message, { what, waiting: records.size, limit: identitiesMax })
    }
    for (const [key, record] of drafts) {
      const isInPlace = record?.expiresAt === records.get(key)?.expiresAt
      if (!isInPlace) records.delete(key)
      if (record !== undefined) records.set(key, record)
    }
  }

  return {
    ttlMs,
    async claim(claims, { signal } = {}) {
      const answers: DedupAnswer[] = []
      each('memoryDedupStore.claim', claims, signal, (claim, record, keep) => {
        answers.push(answerTo(claim, record))
        if (record === undefined) keep({ ...receiptOf(claim), state: 'claimed' })
      })
      return answers
    },
    async settle(claims, { signal } = {}) {
      each('memoryDedupStore.settle', claims, signal, (claim, record, keep) => {
        if (record?.state !== 'settled') keep({ ...receiptOf(claim), state: 'settled' })
      })
    },
    async release(claims, { signal } = {}) {
      each('memoryDedupStore.release', claims, signal, (claim, record, keep) => {
        if (record !== undefined && isFreedBy(claim, record)) keep(undefined)
      })
    }
  }
}

function receiptOf({ payloadHash, receivedAt }: DedupClaim): Omit<DedupRecord, 'state'> {
  return { payloadHash, receivedAt }
}
