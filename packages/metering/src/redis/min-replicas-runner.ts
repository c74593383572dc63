import { CoreError } from '@enablement/core'
import type { ScriptClient, ScriptNode, ScriptRunner } from '@enablement/core/redis'
import { expiredScript, readScript } from './quota-scripts.ts'

/** How many replicas must have a write before it is answered. */
export interface MinReplicas {
  readonly replicas: number
  /** How long they may take, in milliseconds. */
  readonly waitMs: number
}

/** An ioredis `Redis`, of which `wait` says how many replicas have what the connection wrote. A `Cluster` has no use for it. */
interface WaitingClient extends ScriptClient {
  wait?(replicas: number, timeoutMs: number): Promise<number>
}

/** A node that may let its settings be asked for. */
interface ConfigurableNode extends ScriptNode {
  config?(operation: 'GET', name: string): Promise<unknown>
}

/**
 * Runs scripts, and gives their replies when enough replicas have what they wrote. On a cluster the masters' own
 * `min-replicas-to-write` is all there is: `WAIT` names no key, and would go to any of them. Throws `COMMIT_UNKNOWN` when
 * too few have it in time.
 */
export function minReplicasRunner(
  runner: ScriptRunner,
  client: WaitingClient,
  { replicas, waitMs }: MinReplicas
): ScriptRunner {
  const isCluster = client.nodes !== undefined
  return {
    async run(script, keys, args) {
      if (isCluster || client.wait === undefined || script === readScript || script === expiredScript) {
        return runner.run(script, keys, args)
      }
      // On a connection made since, WAIT would speak of what that one wrote: nothing.
      let isOther = false
      const onReady = (): void => {
        isOther = true
      }
      client.once('ready', onReady)
      try {
        const wasReady = client.status === 'ready'
        const reply = await runner.run(script, keys, args)
        if (!wasReady) isOther = false
        const found = await client.wait(replicas, waitMs).catch(() => 0)
        if (isOther || found < replicas) throw tooFew(script.name, isOther ? 0 : found, replicas, waitMs)
        return reply
      } finally {
        client.removeListener('ready', onReady)
      }
    },
    async checkServer(options) {
      await runner.checkServer(options)
      const masters: readonly ConfigurableNode[] = client.nodes?.('master') ?? [client]
      await Promise.all(masters.map((master) => checkMaster(master, replicas)))
      if (!isCluster && client.wait === undefined) throw unsuitable('WAIT', 'a client without wait()')
    }
  }
}

async function checkMaster(master: ConfigurableNode, replicas: number): Promise<void> {
  const info = await master.info('replication').catch((error: unknown) => {
    throw new CoreError(
      'STORE_UNAVAILABLE',
      'redis could not be checked: the server did not answer INFO',
      { store: 'redis', operation: 'check the server' },
      { cause: error }
    )
  })
  // A server says this only when the setting is above 0. How high it is only CONFIG says, which managed services forbid.
  if (!/^min_slaves_good_slaves:/m.test(info)) throw unsuitable('min-replicas-to-write', '0')
  const answer = await master.config?.('GET', 'min-replicas-to-write').catch(() => undefined)
  const found = Array.isArray(answer) ? Number(answer[1]) : replicas
  if (found < replicas) throw unsuitable('min-replicas-to-write', String(found))
}

function tooFew(script: string, found: number, replicas: number, waitMs: number): CoreError<'COMMIT_UNKNOWN'> {
  const message = `${found} of ${replicas} replicas had what the script ${script} wrote after ${waitMs} ms: it may be lost`
  return new CoreError('COMMIT_UNKNOWN', message, { store: 'redis' })
}

function unsuitable(setting: string, found: string): CoreError<'STORE_UNSUITABLE'> {
  const message = `redis would acknowledge what no replica has: ${setting} is ${found}`
  return new CoreError('STORE_UNSUITABLE', message, { store: 'redis', setting, found })
}
