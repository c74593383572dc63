import { CoreError } from '@enablement/core'
import {
  createScriptRunner,
  defineScript,
  hashTagged,
  replyInteger,
  replyList,
  replyText,
  type ScriptArgument,
  type ScriptClient,
  type ScriptReply,
  type ScriptRunner
} from '@enablement/core/redis'
import {
  checkExchange,
  type HeldClaim,
  type PoolCommand,
  type PoolStateStore,
  type PoolView,
  type WaitingClaim
} from '../pool/pool-state-store.ts'
import lua from './pool.lua'

/** Pool state in Redis. */
export interface RedisPoolState extends PoolStateStore {
  /**
   * Asks every master whether it would evict keys, which would forget who has what. Call it once at start. Throws
   * `STORE_UNSUITABLE`, `STORE_UNAVAILABLE` and the signal's reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/**
 * Pools that processes share, in one Redis or Redis Cluster, through an ioredis `Redis` or `Cluster` that stays the
 * caller's to close. An exchange is one script in the pool's slot, on the server's clock; a pool that nobody uses is
 * forgotten after a day. A failover that loses acknowledged writes may grant a place twice: until one of the two claims
 * ends, there is a sandbox more than the capacity. Sandboxes are not handed out twice, for each process keeps its own.
 *
 * Throws `INVALID_OPTIONS` for a connection without deadlines: see core's `redisSettings` and `clusterSettings`.
 */
export function redisPoolState(client: ScriptClient): RedisPoolState {
  const runner = createScriptRunner(client)
  return { ...poolStateOn(runner), checkServer: (options) => runner.checkServer(options) }
}

const script = defineScript({ name: 'runtime.pool', lua, keys: 1 })

/** The store on a script runner. `clock` stands in for the server's in tests. */
export function poolStateOn(runner: ScriptRunner, clock?: { now(): number }): PoolStateStore {
  return {
    // What Redis keeps is a matter of its configuration, and by default it keeps nothing.
    supports: { durable: 'none', shared: true },
    async exchange(pool, exchange) {
      const checked = checkExchange('redisPoolState.exchange', pool, exchange)
      const { member, sequence, leaseMs, kind, rules, stock, wanted, commands } = checked
      const { capacity, coldMax, tenantMax, queueMax, agingMs, preemptionsPerMinute, cooldownMs } = rules
      const numbers = [capacity, coldMax, tenantMax, queueMax, agingMs, preemptionsPerMinute, cooldownMs]
      const places = [stock.ready, stock.starting, stock.closing, wanted]
      const own = [clock?.now() ?? '', member, sequence, leaseMs, kind]
      const args = [...own, ...numbers, ...places, ...commands.flatMap(argumentsOf)]
      return viewIn(replyList(await runner.run(script, [hashTagged({ prefix: 'enablement:pool', tag: pool })], args)))
    }
  }
}

/** Nine places each, as the script's header has them. */
function argumentsOf(command: PoolCommand): readonly ScriptArgument[] {
  const { type, claim } = command
  if (type !== 'enter' && type !== 'adopt') return [type, claim, '', '', '', '', '', '', '']
  const { tenant, priority, creditMs, preemptible, shieldMs } = command
  const adopted = type === 'adopt' ? [command.fence, Number(command.cold)] : ['', '']
  return [type, claim, tenant, priority, creditMs, Number(preemptible), shieldMs, ...adopted]
}

function viewIn([outcome, ...rest]: readonly ScriptReply[]): PoolView {
  if (outcome === 'lapsed') return { outcome }
  if (outcome !== 'exchanged') throw damaged('an outcome that it does not have')
  const numbers = rest.slice(0, 10).map((one) => replyInteger(one))
  const [ready, starting, recalled, members, stock, held, cold, queued, oldestWaitMs, waitingCount] = numbers as [
    ...[number, number, number, number, number, number, number, number, number, number]
  ]
  const triples = rest.slice(10)
  if (triples.length % 3 !== 0) throw damaged('claims that are not whole')
  const waiting: WaitingClaim[] = []
  const claims: HeldClaim[] = []
  for (let at = 0; at < triples.length; at += 3) {
    const claim = replyText(triples[at])
    if (waiting.length < waitingCount) {
      waiting.push({ claim, position: replyInteger(triples[at + 1]), isCapped: replyText(triples[at + 2]) === '1' })
    } else {
      claims.push({ claim, fence: replyInteger(triples[at + 1]), state: stateIn(triples[at + 2]) })
    }
  }
  const pool = { members, stock, held, cold, queued, oldestWaitMs }
  return { outcome, ready, starting, recalled, waiting, held: claims, pool }
}

function stateIn(reply: ScriptReply | undefined): HeldClaim['state'] {
  if (reply === 'held' || reply === 'wanted' || reply === 'cold') return reply
  throw damaged('a state that it does not have')
}

function damaged(what: string): CoreError<'STORE_DAMAGED'> {
  const reason = `runtime.pool returned ${what}`
  return new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
}
