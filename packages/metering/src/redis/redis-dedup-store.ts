import { hash } from 'node:crypto'
import { CoreError, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import {
  createScriptRunner,
  defineScript,
  hashTagged,
  replyInteger,
  replyList,
  replyText,
  type ScriptClient,
  type ScriptRunner
} from '@enablement/core/redis'
import { z } from 'zod'
import { checkClaims, DEDUP_TTL_MS, type DedupAnswer, type DedupClaim, type DedupStore } from '../dedup/dedup-store.ts'
import lua from './dedup.lua'
import { DedupLane, type LaneJob } from './dedup-lane.ts'

/** Identities in Redis. */
export interface RedisDedupStore extends DedupStore {
  /**
   * Asks every master whether it would evict keys, which would forget identities early. Call it once at start. Throws
   * `STORE_UNSUITABLE`, `STORE_UNAVAILABLE` and the signal's reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

export interface RedisDedupStoreOptions {
  /**
   * How long an identity is remembered at least, half as long again at most: 45 days unless given. Processes that share
   * identities give the same; while they do not, they do not see each other's.
   */
  readonly ttlMs?: number
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<RedisDedupStoreOptions> = z.strictObject({
  ttlMs: z
    .int()
    .min(60_000)
    .max(3_660 * 86_400_000)
    .exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * Identities in Redis or Redis Cluster, through an ioredis `Redis` or `Cluster` that stays the caller's to close. What is
 * claimed, settled and released for a tenant within a turn of the event loop is one script in the tenant's slot, and the
 * next gathers while it is under way. An identity takes some 110 bytes, and is forgotten by the server's clock.
 *
 * A failover that loses acknowledged writes forgets what they said: the ledger's unique index decides then. Throws
 * `INVALID_OPTIONS`, also for a connection without deadlines: see core's `redisSettings` and `clusterSettings`.
 */
export function redisDedupStore(client: ScriptClient, options: RedisDedupStoreOptions = {}): RedisDedupStore {
  const runner = createScriptRunner(client)
  return { ...dedupStoreOn(runner, options), checkServer: (call) => runner.checkServer(call) }
}

const script = defineScript({ name: 'metering.dedup', lua, keys: 5 })

/** What is done for an identity: claim, settle, release. */
type OperationKind = 'c' | 's' | 'r'

/** Claims that may wait for their script, of all tenants: some 30 MB. Redis is then seconds behind. */
const WAITING_MAX = 100_000

/** A server's clock may pass from one bucket to the next between two questions, and not twice. */
const ATTEMPTS_MAX = 3

/** The store on a script runner. `serverClock` stands in for the server's in tests. */
export function dedupStoreOn(
  runner: ScriptRunner,
  options: RedisDedupStoreOptions,
  serverClock?: { now(): number }
): DedupStore {
  const { ttlMs = DEDUP_TTL_MS, platform = systemPlatform } = parseOptions(optionsSchema, 'redisDedupStore', options)
  // What is written in a bucket is found while that one and the two after it are the present: twice its width at least.
  const widthMs = Math.ceil(ttlMs / 2)
  const lanes = new Map<string, DedupLane>()
  let base = Math.floor(platform.clock.now() / widthMs)
  let waiting = 0

  const run = async (
    tenant: string,
    kinds: string,
    operations: string,
    claims: number
  ): Promise<readonly DedupAnswer[]> => {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const keys = [-3, -2, -1, 0, 1].map((step) =>
        hashTagged({ prefix: 'enablement:dedup', tag: tenant, parts: [String(widthMs), String(base + step)] })
      )
      const reply = await runner.run(script, keys, [serverClock?.now() ?? '', widthMs, base, kinds, operations])
      const [outcome, value] = replyList(reply)
      if (outcome === 'done') return answersIn(replyText(value), claims)
      if (outcome !== 'elsewhere') throw damaged('metering.dedup returned an outcome that it does not have')
      base = replyInteger(value)
    }
    throw damaged('the server’s clock went through three buckets during one call')
  }

  /** Says who wrote a value: by chance alike once in 16 million, and then the ledger decides. */
  const newBatch = (): string => base64Of(platform.random.below(2 ** 24))

  const laneOf = (tenant: string): DedupLane => {
    let lane = lanes.get(tenant)
    if (lane === undefined) {
      lane = new DedupLane(
        (kinds, operations, claims) => run(tenant, kinds, operations, claims),
        (count) => {
          waiting -= count
        },
        () => lanes.delete(tenant)
      )
      lanes.set(tenant, lane)
    }
    return lane
  }

  /** Does `kind` for each claim. Gives the answers in their order, where `kind` is claim. */
  const perform = (
    method: string,
    kind: OperationKind,
    claims: readonly DedupClaim[],
    signal: AbortSignal | undefined
  ): Promise<readonly DedupAnswer[]> => {
    signal?.throwIfAborted()
    checkClaims(`redisDedupStore.${method}`, claims)
    if (waiting + claims.length > WAITING_MAX) {
      const what = 'the dedup store'
      const message = `${waiting} claims wait for ${what}, and no more than ${WAITING_MAX} may`
      throw new CoreError('OVERLOADED', message, { what, waiting, limit: WAITING_MAX })
    }
    const [first] = claims
    if (first === undefined) return Promise.resolve([])
    // A call is of one tenant, or of few.
    const isOfOne = claims.every(({ tenant }) => tenant === first.tenant)
    return isOfOne ? enter(first.tenant, kind, claims, signal) : spread(kind, claims, signal)
  }

  /** Gives the claims of one tenant to its lane. */
  const enter = (
    tenant: string,
    kind: OperationKind,
    claims: readonly DedupClaim[],
    signal: AbortSignal | undefined
  ): Promise<readonly DedupAnswer[]> => {
    waiting += claims.length
    return laneOf(tenant).do(jobOf(kind, newBatch(), claims, signal))
  }

  /** Gives each tenant's claims to its lane. */
  const spread = async (
    kind: OperationKind,
    claims: readonly DedupClaim[],
    signal: AbortSignal | undefined
  ): Promise<readonly DedupAnswer[]> => {
    const answers: DedupAnswer[] = []
    const byTenant = Map.groupBy(claims.keys(), (at) => (claims[at] as DedupClaim).tenant)
    await Promise.all(
      Array.from(byTenant, async ([tenant, places]) => {
        const own = places.map((at) => claims[at] as DedupClaim)
        const found = await enter(tenant, kind, own, signal)
        for (const [index, at] of places.entries()) answers[at] = found[index] as DedupAnswer
      })
    )
    return answers
  }

  return {
    ttlMs,
    // Not one promise more than these two, a caller's and the lane's: where claims come one by one they are half of the cost.
    async claim(claims, { signal } = {}) {
      return perform('claim', 'c', claims, signal)
    },
    async settle(claims, { signal } = {}) {
      await perform('settle', 's', claims, signal)
    },
    async release(claims, { signal } = {}) {
      await perform('release', 'r', claims, signal)
    }
  }
}

function jobOf(
  kind: OperationKind,
  batch: string,
  claims: readonly DedupClaim[],
  signal: AbortSignal | undefined
): LaneJob {
  let operations = ''
  // Claims that come together have these in common, nearly always.
  let subscription: string | undefined
  let prefix = ''
  let receivedAt: number | undefined
  let ending = ''
  for (const claim of claims) {
    if (claim.subscription !== subscription) {
      subscription = claim.subscription
      prefix = `${subscription.length}:${subscription}`
    }
    if (claim.receivedAt !== receivedAt) {
      receivedAt = claim.receivedAt
      ending = receivedAt.toString(36).padStart(RECEIPT_LENGTH, '0') + batch
    }
    operations += identityOf(prefix + claim.transactionId) + claim.payloadHash.slice(0, PAYLOAD_LENGTH) + ending
  }
  return { kinds: kind.repeat(claims.length), operations, signal }
}

/**
 * An identity by 132 bits of its SHA-256, a cryptographic hash: who chooses a transaction id could otherwise make it
 * collide with another, which would not be billed then.
 */
function identityOf(text: string): string {
  return hash('sha256', text, 'base64url').slice(0, IDENTITY_LENGTH)
}

const IDENTITY_LENGTH = 22

/** Of the payload's hash 64 bits go: it takes 2^64 tries to have a payload taken for the one that was first. */
const PAYLOAD_LENGTH = 16

const NEW: DedupAnswer = Object.freeze({ outcome: 'new' })

/** One character for a new one; what was found before, with the first receipt. */
function answersIn(text: string, claims: number): readonly DedupAnswer[] {
  const answers: DedupAnswer[] = []
  for (let at = 0; at < text.length; at++) {
    if (text[at] === 'n') {
      answers.push(NEW)
      continue
    }
    answers.push(repeatOf(text[at], Number.parseInt(text.slice(at + 1, at + 1 + RECEIPT_LENGTH), 36)))
    at += RECEIPT_LENGTH
  }
  if (answers.length !== claims) throw damaged('metering.dedup did not answer each claim')
  return answers
}

const RECEIPT_LENGTH = 10

function repeatOf(found: string | undefined, firstReceivedAt: number): DedupAnswer {
  switch (found) {
    case 'p':
      return { outcome: 'pending', firstReceivedAt }
    case 'd':
      return { outcome: 'duplicate', firstReceivedAt }
    case 'q':
      return { outcome: 'conflict', firstReceivedAt, settled: false }
    case 'x':
      return { outcome: 'conflict', firstReceivedAt, settled: true }
    default:
      throw damaged('metering.dedup returned an answer that it does not have')
  }
}

/** 24 bits in four characters. */
function base64Of(bits: number): string {
  return Buffer.from([bits >>> 16, (bits >>> 8) & 255, bits & 255]).toString('base64url')
}

function damaged(reason: string): CoreError<'STORE_DAMAGED'> {
  return new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
}
