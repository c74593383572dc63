// Quota checks per second on one Redis, and from leases, against rate-limiter-flexible: as many calls, as many of them in
// flight, rounds interleaved. Its `consume` is one counter, without idempotency, holds or levels above it.
import { performance } from 'node:perf_hooks'
import { redisSettings } from '@enablement/core/redis'
import { createQuotas } from '@enablement/metering'
import { redisQuotaStore } from '@enablement/metering/redis'
import { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible'
import { startRedis } from '../../tooling/services/src/index.ts'
import { countRate, medians, row, some } from '../measuring.mjs'

const PLENTY = 9_000_000_000_000_000
const HOUR = { everyMs: 3_600_000 }
const SUBJECTS = 10_000
const IN_FLIGHT = 512
const PEER = 'rate-limiter-flexible 11.4.0'
const unit = 'checks/s'

/** Subjects as they come in earnest: some of them much more often than most. */
const zipf = Array.from({ length: 65_536 }, () => Math.max(0, Math.floor(SUBJECTS ** Math.random()) - 1))
const often = (at) => zipf[at & 65_535]
/** Every subject as often as any other, neighbours far apart. */
const evenly = (at) => (at * 7_919) % SUBJECTS

/** Calls between two turns of the event loop, in which leases are refilled: some tens of microseconds of a busy server. */
const CALLS_PER_TURN = 1_000

/** Spends `count` times, from a lease where there is one and from the store where there is none, per second. */
async function spendRate(count, quotaOf) {
  const startedAt = performance.now()
  for (let at = 0; at < count; ) {
    const end = Math.min(count, at + CALLS_PER_TURN)
    for (; at < end; at++) {
      const quota = quotaOf(at)
      if (quota.tryConsume() !== 'consumed') await spend(quota)
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return (count * 1_000) / (performance.now() - startedAt)
}

/** `callers` callers who each go on at once where nothing is to be waited for, and let others on every now and then. */
async function turnsOf(callers, count, call) {
  const startedAt = performance.now()
  let begun = 0
  const caller = async () => {
    for (let calls = 1; begun < count; calls++) {
      begun += 1
      const waiting = call(begun)
      if (waiting !== undefined) await waiting
      else if (calls % CALLS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return (count * 1_000) / (performance.now() - startedAt)
}

async function spend(quota, options) {
  const { outcome, replayed } = await quota.consume(1, options)
  if (outcome !== 'consumed' || replayed) throw new Error(`a spend was ${outcome}`)
}

export async function rows() {
  const server = await startRedis()
  const [ours, theirs] = [new Redis(server.url, redisSettings()), new Redis(server.url)]
  const store = redisQuotaStore(ours)
  await store.checkServer()
  const quotas = createQuotas({
    store,
    limits: [
      { name: 'calls', quantity: PLENTY, period: HOUR },
      // As the peer's keys are: each counts for itself, and nothing is above them.
      { name: 'calls-of-each', period: HOUR, eachChild: { quantity: PLENTY } },
      { name: 'leased', period: HOUR, eachChild: { quantity: PLENTY } },
      { name: 'leased-by-one', quantity: PLENTY, period: HOUR }
    ],
    lease: { unitsMax: 1_000_000, ttlMs: 60_000 },
    onStoreFailure: 'refuse'
  })
  const hot = quotas.bind({ tenant: 'org', limit: 'calls' })
  const leased = quotas.bind({ tenant: 'org', limit: 'leased-by-one' })
  const boundTo = (limit) =>
    Array.from({ length: SUBJECTS }, (_, at) => quotas.bind({ tenant: 'org', path: [`user-${at}`], limit }))
  const [subjects, leasedSubjects] = [boundTo('calls-of-each'), boundTo('leased')]
  const tenants = Array.from({ length: SUBJECTS }, (_, at) => quotas.bind({ tenant: `org-${at}`, limit: 'calls' }))

  const rule = { points: 1e12, duration: 3_600 }
  const limiter = new RateLimiterRedis({ storeClient: theirs, keyPrefix: 'peer', ...rule })
  const inMemory = new RateLimiterMemory(rule)
  let made = 0
  const key = () => {
    made += 1
    return `0f9c1c2e-call-${made}`
  }
  const inFlight = (count, call) => countRate(IN_FLIGHT, some(count), call)
  try {
    const found = await medians({
      hot: () => inFlight(400_000, () => spend(hot)),
      token: () => inFlight(150_000, () => spend(hot, { idempotencyKey: key() })),
      cold: () => inFlight(150_000, (at) => spend(subjects[evenly(at)])),
      tenants: () => inFlight(60_000, (at) => spend(tenants[evenly(at)])),
      peerHot: () => inFlight(60_000, () => limiter.consume('org')),
      peerCold: () => inFlight(60_000, (at) => limiter.consume(`user-${evenly(at)}`))
    })
    // After the others: leases go on in the background.
    const lent = await medians({
      peerZipf: () => inFlight(60_000, (at) => limiter.consume(`user-${often(at)}`)),
      leaseSync: () => spendRate(some(10_000_000), () => leased),
      leaseZipf: () =>
        turnsOf(64, some(2_000_000), (at) => {
          const quota = leasedSubjects[often(at)]
          return quota.tryConsume() === 'consumed' ? undefined : spend(quota)
        }),
      peerMemory: () => countRate(1, some(400_000), () => inMemory.consume('org'))
    })
    const onRedis = `${PEER} on Redis`
    return [
      row({ id: 'redis-hot', ours: found.hot, peer: onRedis, theirs: found.peerHot, unit }),
      row({ id: 'redis-cold-10k', ours: found.cold, peer: onRedis, theirs: found.peerCold, unit }),
      row({ id: 'redis-cold-10k-tenants', ours: found.tenants, peer: onRedis, theirs: found.peerCold, unit }),
      row({ id: 'redis-token', ours: found.token, peer: `${onRedis}, which has no keys`, theirs: found.peerHot, unit }),
      row({ id: 'lease-sync', ours: lent.leaseSync, peer: `${PEER} in memory`, theirs: lent.peerMemory, unit }),
      row({ id: 'lease-zipf-10k', ours: lent.leaseZipf, peer: onRedis, theirs: lent.peerZipf, unit })
    ]
  } finally {
    await quotas.close()
    ours.disconnect()
    theirs.disconnect()
    await server.stop()
  }
}
