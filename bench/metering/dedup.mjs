// Identities claimed per second on one Redis, against SET NX PX in pipelines of 512; and the Bloom filter that is asked
// before, against npm `bloomfilter`, each with the errors it makes.
import { performance } from 'node:perf_hooks'
import { redisSettings } from '@enablement/core/redis'
import { createBloomFilter } from '@enablement/metering'
import { redisDedupStore } from '@enablement/metering/redis'
import { BloomFilter } from 'bloomfilter'
import { Redis } from 'ioredis'
import { startRedis } from '../../tooling/services/src/index.ts'
import { countRate, medians, row, some } from '../measuring.mjs'

const DAY_MS = 86_400_000
const TTL_MS = 40 * DAY_MS
const PIPELINE = 512
const KEYS = 1_000_000

/** Keys of 36 characters, flat strings as they come off a wire. */
const keysFrom = (start, count) =>
  Array.from({ length: count }, (_, at) =>
    Buffer.from(`0f9c1c2e-5b1d-7000-8000-${(start + at).toString(16).padStart(12, '0')}`).toString('latin1')
  )

async function claims() {
  const server = await startRedis()
  const [ours, theirs] = [new Redis(server.url, redisSettings()), new Redis(server.url)]
  const store = redisDedupStore(ours, { ttlMs: TTL_MS })
  await store.checkServer()
  const payloadHash = 'a'.repeat(64)
  let made = 0
  const next = () => {
    made += 1
    return `0f9c1c2e-5b1d-7000-8000-${made.toString(16).padStart(12, '0')}`
  }
  const claimOf = () => {
    return { tenant: 'org', subscription: 'sub', transactionId: next(), payloadHash, receivedAt: Date.now() }
  }
  const claimInBatches = async (count) => {
    const startedAt = performance.now()
    for (let done = 0; done < count; done += PIPELINE) await store.claim(Array.from({ length: PIPELINE }, claimOf))
    return (count * 1_000) / (performance.now() - startedAt)
  }
  const setInPipelines = async (count) => {
    const startedAt = performance.now()
    for (let done = 0; done < count; done += PIPELINE) {
      const pipeline = theirs.pipeline()
      for (let at = 0; at < PIPELINE; at++) pipeline.set(`dedup:org:sub:${next()}`, payloadHash, 'PX', TTL_MS, 'NX')
      await pipeline.exec()
    }
    return (count * 1_000) / (performance.now() - startedAt)
  }
  try {
    const found = await medians({
      ours: () => claimInBatches(some(100_000)),
      single: () => countRate(PIPELINE, some(100_000), () => store.claim([claimOf()])),
      theirs: () => setInPipelines(some(100_000))
    })
    const peer = `SET NX PX in pipelines of ${PIPELINE}`
    const unit = 'claims/s'
    return [
      row({ id: 'redis-batched', ours: found.ours, peer, theirs: found.theirs, unit }),
      row({ id: 'redis-single-claims-512', ours: found.single, peer, theirs: found.theirs, unit })
    ]
  } finally {
    ours.disconnect()
    theirs.disconnect()
    await server.stop()
  }
}

async function bloom() {
  const count = some(KEYS)
  const [known, unknown] = [keysFrom(0, count), keysFrom(KEYS, count)]
  const rateOf = (keys, test) => {
    const startedAt = performance.now()
    let hits = 0
    for (const key of keys) if (test(key)) hits += 1
    return { perSecond: (keys.length * 1_000) / (performance.now() - startedAt), hits }
  }
  const makeOurs = () => createBloomFilter({ capacity: count })
  // As many bits for a key as ours, and as many probes.
  const makeTheirs = () => new BloomFilter(count * 21, 9)
  let errors = { ours: 0, theirs: 0 }
  const found = await medians({
    ours: () => {
      const filter = makeOurs()
      const { perSecond } = rateOf(known, (key) => filter.testAndAdd(key))
      errors = { ...errors, ours: rateOf(unknown.slice(0, count >> 3), (key) => filter.testAndAdd(key)).hits }
      return perSecond
    },
    theirs: () => {
      const filter = makeTheirs()
      const { perSecond } = rateOf(known, (key) => {
        const had = filter.test(key)
        if (!had) filter.add(key)
        return had
      })
      errors = { ...errors, theirs: rateOf(unknown.slice(0, count >> 3), (key) => filter.test(key)).hits }
      return perSecond
    }
  })
  const percent = (hits) => `${((hits * 100) / (count >> 3)).toFixed(4)} % wrong`
  return row({
    id: `bloom (${(1e9 / found.ours).toFixed(0)} ns, ${percent(errors.ours)})`,
    ours: found.ours,
    peer: `bloomfilter 1.1.0 (${percent(errors.theirs)})`,
    theirs: found.theirs,
    unit: 'tests and additions/s'
  })
}

export const rows = async () => [...(await claims()), await bloom()]
