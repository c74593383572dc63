import process from 'node:process'
import { createInterface } from 'node:readline'
import type { BreakerPermit } from '@enablement/core'
import {
  type BreakerStateStore,
  createSharedCircuitBreaker,
  fleetSchema,
  sqlBreakerStateStore
} from '@enablement/core/fleet'
import { createScriptRunner, redisBreakerStateStore, redisSettings } from '@enablement/core/redis'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { Redis } from 'ioredis'

// One process of several that share a breaker. It does what stdin says and writes down what came of it.
const [kind = '', place = '', name = ''] = process.argv.slice(2)

async function open(): Promise<BreakerStateStore> {
  if (kind === 'sqlite') {
    const db = sqliteDatabase({ path: place, durability: 'process' })
    await migrate(db, [fleetSchema])
    return sqlBreakerStateStore({ db })
  }
  const client = new Redis(place, redisSettings())
  await createScriptRunner(client).checkServer()
  return redisBreakerStateStore(client)
}

const breaker = createSharedCircuitBreaker({
  name,
  store: await open(),
  window: { kind: 'consecutive', failures: 3 },
  breakMs: 300,
  probeLeaseMs: 500,
  pollMs: 50,
  // A busy machine may take its time, and no process of this test is to go on alone.
  storeTimeoutMs: 10_000,
  observe: (event) => console.log(event.type === 'breaker.alone' ? `alone: ${String(event.error)}` : event.type)
})
await breaker.refresh()
console.log('ready')

let probe: BreakerPermit | undefined
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'fail') {
    for (let call = 0; call < 3; call++) {
      const leave = breaker.acquire()
      if (leave.outcome === 'permitted') breaker.fail(leave)
    }
  } else if (line === 'admit') {
    const leave = await breaker.admit()
    if (leave.outcome === 'permitted') probe = leave
    console.log(
      leave.outcome === 'permitted' ? `permitted ${leave.probe ? 'probe' : 'call'}` : `rejected ${leave.reason}`
    )
  } else if (line === 'succeed' && probe !== undefined) {
    breaker.succeed(probe)
  } else if (line === 'state') {
    console.log(`state ${breaker.state}`)
  }
}
