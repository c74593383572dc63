import { CoreError, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { createScriptRunner, type ScriptClient, type ScriptRunner } from '@enablement/core/redis'
import { z } from 'zod'
import type { QuotaLedger } from '../quota/quota-ledger.ts'
import type { QuotaStore } from '../quota/quota-store.ts'
import { ledgerDurability } from './ledger-durability.ts'
import { minReplicasRunner } from './min-replicas-runner.ts'
import { fastDurability } from './quota-durability.ts'
import { quotaStoreOn } from './redis-quotas.ts'

/**
 * What an answered spend survives.
 *
 * - `fast`: what Redis itself survives. Nothing is oversold while Redis keeps the writes that it acknowledged; a failover
 *   that loses some hands those units out again.
 * - `min-replicas`: is answered when `replicas` of them have it, and else throws `COMMIT_UNKNOWN`. On a cluster it is the
 *   masters' own `min-replicas-to-write` that refuses, and up to `min-replicas-max-lag` seconds of writes may be lost.
 * - `ledger`: is answered when the ledger has it. A server that lost writes is fenced, and the quotas are made again from
 *   the ledger: never oversold, and nothing that was answered is lost.
 */
export type RedisQuotaDurability =
  | { readonly durability: 'fast' }
  | {
      readonly durability: 'min-replicas'
      /** 1 unless given; at most 100. */
      readonly replicas?: number
      /** How long they may take, in milliseconds: 500 unless given. Less than the connection's `commandTimeout`. */
      readonly waitMs?: number
    }
  | { readonly durability: 'ledger'; readonly ledger: QuotaLedger }

/** How a store on Redis works. */
export type RedisQuotaStoreOptions = RedisQuotaDurability & { readonly platform?: Platform }

/** Quotas in Redis. */
export interface RedisQuotaStore extends QuotaStore {
  /**
   * Asks every master whether it would evict keys, which would hand a quota out again, and with `min-replicas` whether it
   * would write without replicas. Call it once at start. Throws `STORE_UNSUITABLE`, `STORE_UNAVAILABLE` and the signal's
   * reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/** How long replicas may take unless given: half of what core's settings leave a command. */
const WAIT_MS = 500

const platform = z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()

const optionsSchema: z.ZodType<RedisQuotaStoreOptions> = z.discriminatedUnion('durability', [
  z.strictObject({ durability: z.literal('fast'), platform }),
  z.strictObject({
    durability: z.literal('min-replicas'),
    replicas: z.number().int().min(1).max(100).exactOptional(),
    waitMs: z.number().int().min(1).max(60_000).exactOptional(),
    platform
  }),
  z.strictObject({
    durability: z.literal('ledger'),
    ledger: z.custom<QuotaLedger>(
      (value) => typeof value === 'object' && value !== null && typeof (value as QuotaLedger).append === 'function',
      'must be a ledger, such as sqlQuotaLedger(db)'
    ),
    platform
  })
])

/**
 * Quotas in Redis or Redis Cluster, through an ioredis `Redis` or `Cluster` that stays the caller's to close. Each call is
 * one script in the tenant's slot; windows follow the server's clock. `fast` unless given.
 *
 * `endExpired` looks for holds of tenants that this process has served, the last 100,000 of them.
 *
 * Throws `INVALID_OPTIONS`, also for a connection without deadlines: see core's `redisSettings` and `clusterSettings`.
 */
export function redisQuotaStore(
  client: ScriptClient,
  options: RedisQuotaStoreOptions = { durability: 'fast' }
): RedisQuotaStore {
  return redisQuotaStoreWith(client, options)
}

/** The store. `clock` stands in for the server's in tests. */
export function redisQuotaStoreWith(
  client: ScriptClient,
  options: RedisQuotaStoreOptions,
  clock?: { now(): number }
): RedisQuotaStore {
  const checked = parseOptions(optionsSchema, 'redisQuotaStore', options)
  const { platform = systemPlatform } = checked
  const plain = createScriptRunner(client)
  const runner = checked.durability === 'min-replicas' ? replicated(plain, client, checked) : plain
  const durability =
    checked.durability === 'ledger' ? ledgerDurability(plain, checked.ledger, platform) : fastDurability()
  return {
    ...quotaStoreOn(runner, durability, platform, clock),
    checkServer: (given) => runner.checkServer(given)
  }
}

function replicated(
  runner: ScriptRunner,
  client: ScriptClient,
  { replicas = 1, waitMs = WAIT_MS }: { readonly replicas?: number; readonly waitMs?: number }
): ScriptRunner {
  const { commandTimeout } = client.options
  if (commandTimeout !== undefined && waitMs >= commandTimeout) {
    const message = `must be less than the connection's commandTimeout of ${commandTimeout} ms`
    throw new CoreError('INVALID_OPTIONS', `redisQuotaStore refused its options: waitMs ${message}`, {
      subject: 'redisQuotaStore',
      issues: [{ path: 'waitMs', message }]
    })
  }
  return minReplicasRunner(runner, client, { replicas, waitMs })
}
