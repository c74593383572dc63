import { CoreError } from '../failure/core-error.ts'
import { checkClaim, checkOwned, type LeaseClaim, type LeaseGrant, type LockStore } from '../lock/lock-store.ts'
import { hashTagged } from './hash-tag.ts'
import lua from './lock.lua'
import { defineScript } from './script.ts'
import type { ScriptClient } from './script-client.ts'
import { replyInteger, replyList, replyText, type ScriptReply } from './script-reply.ts'
import { createScriptRunner, type ScriptRunner } from './script-runner.ts'

/** Locks in Redis. */
export interface RedisLockStore extends LockStore {
  /**
   * Asks every master whether it would evict keys, which would free held locks. Call it once at start. Throws
   * `STORE_UNSUITABLE`, `STORE_UNAVAILABLE` and the signal's reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/**
 * Locks in one Redis or Redis Cluster, through an ioredis `Redis` or `Cluster` that stays the caller's to close. Each
 * call is one script in the lock's slot; leases expire by the server's clock. For what is hot: a failover that loses
 * acknowledged writes forgets leases, so that a second holder comes while the first believes in its own. The second's
 * fence is still the higher one unless the new master's clock is behind the old one's by more than the time between
 * the two, so a guarded resource stays right; what cannot tolerate that takes `sqlLockStore`.
 *
 * Throws `INVALID_OPTIONS` for a connection without deadlines: see `redisSettings` and `clusterSettings`.
 */
export function redisLockStore(client: ScriptClient): RedisLockStore {
  const runner = createScriptRunner(client)
  return { ...lockStoreOn(runner), checkServer: (options) => runner.checkServer(options) }
}

const script = defineScript({ name: 'lock.lease', lua, keys: 1 })

/** The store on a script runner. `clock` stands in for the server's in tests. */
export function lockStoreOn(runner: ScriptRunner, clock?: { now(): number }): LockStore {
  const run = async (
    operation: string,
    { name, owner }: Pick<LeaseClaim, 'name' | 'owner'>,
    ttlMs: number | ''
  ): Promise<readonly ScriptReply[]> => {
    const key = hashTagged({ prefix: 'enablement:lock', tag: name })
    return replyList(await runner.run(script, [key], [operation, owner, ttlMs, clock?.now() ?? '']))
  }

  return {
    // What Redis keeps is a matter of its configuration, and by default it keeps nothing.
    supports: { durable: 'none', shared: true },
    async acquire(claim, { signal } = {}) {
      signal?.throwIfAborted()
      const checked = checkClaim('redisLockStore.acquire', claim)
      return grantOf(await run('acquire', checked, checked.ttlMs))
    },
    async extend(claim) {
      const checked = checkClaim('redisLockStore.extend', claim)
      return wordOf(await run('extend', checked, checked.ttlMs), 'extended')
    },
    async release(owned) {
      return wordOf(await run('release', checkOwned('redisLockStore.release', owned), ''), 'released')
    }
  }
}

function grantOf([outcome, first, second]: readonly ScriptReply[]): LeaseGrant {
  if (outcome === 'granted') return { outcome, fence: replyInteger(first) }
  if (outcome === 'busy') return { outcome, until: replyInteger(first), remainingMs: replyInteger(second) }
  throw unknownOutcome()
}

function wordOf<Word extends string>([outcome]: readonly ScriptReply[], word: Word): Word | 'lost' {
  const found = replyText(outcome)
  if (found === word) return word
  if (found === 'lost') return found
  throw unknownOutcome()
}

function unknownOutcome(): CoreError<'STORE_DAMAGED'> {
  const reason = 'lock.lease returned an outcome that it does not have'
  return new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
}
