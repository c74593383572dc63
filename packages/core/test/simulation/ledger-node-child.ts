import process from 'node:process'
import { createInterface } from 'node:readline'
import { createIdSource, sleep, systemPlatform } from '@enablement/core'
import { openJournal } from '@enablement/core/journal'
import { createScriptRunner, defineScript, hashTagged, redisSettings } from '@enablement/core/redis'
import { Redis } from 'ioredis'
import { type LedgerStore, startLedgerNode } from './ledger-node.ts'

// One node of the ledger as a process of its own, whose store is a Redis. Says which requests were answered, and how, a
// line each; when it is told to stop it takes no more, and says so once the store has everything.
const [url = '', ledger = '', folder = '', name = ''] = process.argv.slice(2)

/** Counts each id once. */
const countScript = defineScript({
  name: 'ledger.count',
  keys: 2,
  lua: `
    for at = 1, #ARGV, 2 do
      if redis.call('SADD', KEYS[1], ARGV[at]) == 1 then redis.call('HINCRBY', KEYS[2], ARGV[at + 1], 1) end
    end
    return 'OK'`
})
const client = new Redis(url, { ...redisSettings({ commandTimeoutMs: 150 }), retryStrategy: () => 50 })
// It connects again by itself; what that costs the callers they are told.
client.on('error', () => {})
const runner = createScriptRunner(client)
const keys = ['ids', 'counted'].map((part) => hashTagged({ prefix: 'ledger', tag: ledger, parts: [part] }))
const store: LedgerStore = {
  async accept(events) {
    await runner.run(
      countScript,
      keys,
      events.flatMap(({ id, request }) => [id, request])
    )
  }
}

const platform = systemPlatform
const node = await startLedgerNode({
  store,
  journal: await openJournal({ folder, recordMaxBytes: 1_000, segmentMaxBytes: 65_536 }),
  newId: createIdSource(platform),
  platform,
  onFailed: (error) => {
    throw error
  }
})
let stopping = false
createInterface({ input: process.stdin }).once('line', () => {
  stopping = true
})
for (let count = 0; !stopping; count++) {
  const request = `${name}-${process.pid}-${count}`
  process.stdout.write(`${await node.record(request)} ${request}\n`)
  await sleep(platform.clock, 5)
}
while (node.backlog > 0) await sleep(platform.clock, 5)
process.stdout.write('drained\n')
process.exit(0)
