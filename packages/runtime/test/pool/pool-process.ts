import { readFileSync } from 'node:fs'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { redisSettings } from '@enablement/core/redis'
import { createRuntime, createWarmPool, mebibytes } from '@enablement/runtime'
import { memoryCheckpointStore, memoryIncidentStore } from '@enablement/runtime/memory'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { redisPoolState } from '@enablement/runtime/redis'
import { Redis } from 'ioredis'
import { fakeApprovalGate } from '../fakes/fake-approval-gate.ts'

/*
 * A process that shares a pool of real sandboxes. Arguments: Redis, the pool's name, its capacity, the engine's
 * file. Each line on stdin is `claim <agent> <priority>`, `release <agent>` or `metrics`; what comes of it is a line on stdout, JSON. Ends with stdin.
 */
const [url = '', name = '', capacity = '', engine = ''] = process.argv.slice(2)
const redis = new Redis(url, redisSettings())
const state = redisPoolState(redis)
await state.checkServer()
const runtime = createRuntime({
  host: quickjsHost({ wasm: readFileSync(engine) }),
  approvals: fakeApprovalGate(),
  checkpoints: memoryCheckpointStore(),
  incidents: memoryIncidentStore(),
  sealingKey: new Uint8Array(32).fill(7)
})
const pool = createWarmPool({
  runtime,
  template: { memoryLimitBytes: mebibytes(8) },
  state,
  name,
  idle: { min: 0, max: 1 },
  capacity: Number(capacity),
  coldMax: 0,
  waitMs: 60_000,
  leaseMs: 1_500,
  pollMs: 25
})
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const claims = new Map<string, { release(): Promise<void> }>()

const claim = async (agent: string, priority: string): Promise<void> => {
  const answer = await pool.claim({ tenant: 'acme', agent, priority: priority as 'low' })
  if (answer.outcome !== 'claimed') return say({ agent, refused: answer.reason })
  claims.set(agent, answer.claim)
  void answer.claim.ended.then(({ outcome }) => say({ agent, ended: outcome }))
  const result = await answer.sandbox.evaluate('6 * 7')
  say({ agent, fence: answer.fence, value: result.outcome === 'completed' ? result.value : result.outcome })
}

say({ ready: true })
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, agent = '', priority = 'normal'] = line.split(' ')
  if (verb === 'claim') void claim(agent, priority)
  else if (verb === 'release') void claims.get(agent)?.release()
  else say({ metrics: pool.metrics().pool })
}
await pool.close()
await runtime.close()
redis.disconnect()
