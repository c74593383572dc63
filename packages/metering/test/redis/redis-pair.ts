import { redisSettings } from '@enablement/core/redis'
import { type FaultProxy, faultProxy } from '@enablement/core/testing/node'
import { type Service, startRedis } from '@enablement/services'
import { Redis } from 'ioredis'

/** A primary and a replica whose link can be cut. */
export interface RedisPair extends AsyncDisposable {
  readonly primary: string
  readonly replica: string
  /** Resolves when the replica has what the primary has had until now. */
  caughtUp(): Promise<void>
  /** From now on nothing gets from the primary to the replica. */
  cut(): void
  /** Ends the primary as a crash would, without a word to its replica. */
  killPrimary(): Promise<void>
  /** Makes the replica a primary. */
  promote(): Promise<void>
}

const portOf = (url: string): number => Number(new URL(url).port)

/** Starts both. `settings` are the primary's. */
export async function startRedisPair(settings: readonly string[] = []): Promise<RedisPair> {
  await using started = new AsyncDisposableStack()
  const primary: Service = started.use(
    await startRedis({ settings: ['--shutdown-timeout', '0', '--repl-diskless-sync-delay', '0', ...settings] })
  )
  const link: FaultProxy = started.use(await faultProxy({ target: { port: portOf(primary.url) } }))
  const replica: Service = started.use(await startRedis({ replicaOf: { host: '127.0.0.1', port: link.port } }))
  const watch = ({ url }: Service): Redis => {
    const client = new Redis(url, { ...redisSettings(), enableOfflineQueue: true })
    client.on('error', () => {})
    started.defer(() => client.disconnect())
    return client
  }
  const [above, below] = [watch(primary), watch(replica)]
  const all = started.move()
  const pair: RedisPair = {
    primary: primary.url,
    replica: replica.url,
    async caughtUp() {
      const written = offsetIn(await above.info('replication'), 'master_repl_offset')
      for (;;) {
        const standing = await below.info('replication')
        if (standing.includes('master_link_status:up') && offsetIn(standing, 'slave_repl_offset') >= written) return
        await turn()
      }
    },
    cut: () => void link.faults.add({ kind: 'partition' }),
    killPrimary: () => primary.stop(),
    async promote() {
      await below.call('REPLICAOF', 'NO', 'ONE')
    },
    [Symbol.asyncDispose]: () => all.disposeAsync()
  }
  await pair.caughtUp()
  return pair
}

const offsetIn = (info: string, name: string): number => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1])

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10))

/** Points a client at another server, as a sentinel would, and waits until it is there. */
export async function redirect(client: Redis, url: string): Promise<void> {
  client.options.port = portOf(url)
  const ready = new Promise<void>((resolve) => client.once('ready', () => resolve()))
  client.disconnect(true)
  await ready
}
