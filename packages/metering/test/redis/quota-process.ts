/** Spends from a Redis as one of several processes, until it is refused or killed. Arguments: URL, tenant, name. */
import { redisSettings } from '@enablement/core/redis'
import { redisQuotaStore } from '@enablement/metering/redis'
import { Redis } from 'ioredis'

const [url = '', tenant = '', name = ''] = process.argv.slice(2)
const client = new Redis(url, redisSettings())
await new Promise<void>((resolve) => client.once('ready', () => resolve()))
const store = redisQuotaStore(client)
const charges = [
  { limit: 'units', path: ['team'], quantity: 5_000, rule: { kind: 'lifetime' }, reserved: [] },
  { limit: 'units', path: [], quantity: 1_000, rule: { kind: 'lifetime' }, reserved: [] }
] as const
let isOver = false

/** Each spends under a key, sends it twice, and says so once for what it was sold. */
async function spender(index: number): Promise<void> {
  for (let call = 0; !isOver; call++) {
    const amount = 1 + ((index + call) % 5)
    const group = {
      scope: 'quota',
      charges,
      amounts: [amount],
      keys: [`${name}-${index}-${call}`],
      idempotencyMs: 3_600_000
    }
    const [[first] = [], [second] = []] = await store.consume(tenant, [group, group])
    if (first?.outcome === 'refused') isOver = true
    if (first?.outcome === 'consumed' && second?.outcome === 'consumed' && second.replayed) {
      process.stdout.write(`${amount}\n`)
    }
  }
}

await Promise.all(Array.from({ length: 8 }, (_, index) => spender(index)))
client.disconnect()
