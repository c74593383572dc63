import { CoreError } from '../failure/core-error.ts'
import {
  type BreakerStateStore,
  type BreakerStep,
  breakerStateStoreOf,
  type ProbeAnswer,
  type SharedStanding
} from '../fleet/breaker-state-store.ts'
import lua from './breaker-state.lua'
import { hashTagged } from './hash-tag.ts'
import { defineScript } from './script.ts'
import type { ScriptClient } from './script-client.ts'
import type { ScriptArgument } from './script-parameters.ts'
import { replyInteger, replyList } from './script-reply.ts'
import { createScriptRunner, type ScriptRunner } from './script-runner.ts'

/** Shared breakers in Redis. */
export interface RedisBreakerStateStore extends BreakerStateStore {
  /**
   * Asks every master whether it would evict keys, which would close breakers. Call it once at start. Throws
   * `STORE_UNSUITABLE`, `STORE_UNAVAILABLE` and the signal's reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/**
 * Shared breakers in one Redis or Redis Cluster, through an ioredis `Redis` or `Cluster` that stays the caller's to
 * close. Each call is one script in the breaker's slot; breaks and claims end by the server's clock. A failover that
 * loses acknowledged writes closes breakers, or lets a second process probe; each breaker opens again by its own calls.
 *
 * Throws `INVALID_OPTIONS` for a connection without deadlines: see `redisSettings` and `clusterSettings`.
 */
export function redisBreakerStateStore(client: ScriptClient): RedisBreakerStateStore {
  const runner = createScriptRunner(client)
  return { ...breakerStateStoreOn(runner), checkServer: (options) => runner.checkServer(options) }
}

const script = defineScript({ name: 'breaker.state', lua, keys: 1 })

/** The store on a script runner. `clock` stands in for the server's in tests. */
export function breakerStateStoreOn(runner: ScriptRunner, clock?: { now(): number }): BreakerStateStore {
  const run = async (name: string, operation: string, args: readonly ScriptArgument[]): Promise<ProbeAnswer> => {
    const key = hashTagged({ prefix: 'enablement:breaker', tag: name })
    return answerIn(replyList(await runner.run(script, [key], [operation, clock?.now() ?? '', ...args])))
  }
  return breakerStateStoreOf(
    'redisBreakerStateStore',
    // What Redis keeps is a matter of its configuration, and by default it keeps nothing.
    { durable: 'none', shared: true },
    {
      read: async (name) => (await run(name, 'read', [])).standing,
      take: (name, step) => run(name, step.do, argumentsOf(step))
    }
  )
}

function argumentsOf(step: BreakerStep): readonly ScriptArgument[] {
  switch (step.do) {
    case 'open':
      return [step.generation, step.breaks, step.breakMs, step.breakLeftMs]
    case 'claim':
      return [step.generation, step.owner, step.leaseMs]
    case 'close':
      return [step.generation]
    case 'reset':
      return []
  }
}

function answerIn(reply: ReturnType<typeof replyList>): ProbeAnswer {
  const [outcome, generation, breaks, breakMs, state, first, second] = reply
  const known = (outcome === 'granted' || outcome === 'refused') && (state === 'open' || state === 'closed')
  if (!known) {
    const reason = 'breaker.state returned an outcome or a state that it does not have'
    throw new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
  }
  const last = {
    generation: replyInteger(generation),
    breaks: replyInteger(breaks),
    breakMs: replyInteger(breakMs)
  }
  const standing: SharedStanding =
    state === 'open'
      ? { ...last, state: 'open', breakLeftMs: replyInteger(first), probeLeftMs: replyInteger(second) }
      : { ...last, state: 'closed', closedForMs: replyInteger(first) }
  return { outcome, standing }
}
