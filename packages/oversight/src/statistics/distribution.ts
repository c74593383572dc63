import { z } from 'zod'

/** How long things took, in milliseconds. Percentiles are by nearest rank: values that occurred, or near one. */
export interface Distribution {
  readonly count: number
  /** These are undefined when nothing was counted. The least and the most are always exact. */
  readonly minMs: number | undefined
  readonly p50Ms: number | undefined
  readonly p95Ms: number | undefined
  readonly p99Ms: number | undefined
  readonly maxMs: number | undefined
  /** How far a percentile may be from the value of its rank: 0, or 0.01 of it once there are more than 512 values. */
  readonly relativeErrorMax: number
}

/** What a distribution is made of, as plain JSON. */
export interface DistributionState {
  count: number
  min: number
  max: number
  /** All of them, while they are few; then none. */
  values: number[]
  /** How many fall into each bucket of the sketch, once they are many. */
  buckets: number[]
}

/** Up to here values are kept: 4 KiB for each distribution, less than a sketch needs. */
const EXACT_MAX = 512

/**
 * DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
 * PVLDB 12(12), 2019, §2): bucket i holds (γ^(i-1), γ^i], and 2γ^i / (γ + 1) is within the relative error of every value
 * in it. Two sketches are merged by adding their buckets, without further error.
 */
const RELATIVE_ERROR = 0.01
const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
const LOG_GAMMA = Math.log(GAMMA)

/** Ten years. Whatever took longer counts as that, which bounds a sketch to 1,325 buckets. */
const DURATION_MAX_MS = 3_653 * 86_400_000

/** Bucket 0 is for 0 itself, bucket 1 for 1. */
const bucketOf = (value: number): number => (value < 1 ? 0 : 1 + Math.ceil(Math.log(value) / LOG_GAMMA))
const BUCKETS_MAX = bucketOf(DURATION_MAX_MS) + 1

const countSchema = z.int().min(0)

/** What a state must be that comes from elsewhere. */
export const distributionSchema: z.ZodType<DistributionState> = z
  .strictObject({
    count: countSchema,
    min: z.int().min(0).max(DURATION_MAX_MS),
    max: z.int().min(0).max(DURATION_MAX_MS),
    values: z.array(z.int().min(0).max(DURATION_MAX_MS)).max(EXACT_MAX),
    buckets: z.array(countSchema).max(BUCKETS_MAX)
  })
  .refine(
    ({ count, values, buckets }) => count === values.length + buckets.reduce((sum, more) => sum + more, 0),
    'does not add up'
  )
  .refine(({ values, buckets }) => values.length === 0 || buckets.length === 0, 'has both values and buckets')

export function emptyDistribution(): DistributionState {
  return { count: 0, min: 0, max: 0, values: [], buckets: [] }
}

/** Counts a duration. One that is negative, because a clock was set back in between, took no time. */
export function note(state: DistributionState, durationMs: number): void {
  const value = Math.min(Math.max(durationMs, 0), DURATION_MAX_MS)
  widen(state, value, value)
  state.count += 1
  if (state.count <= EXACT_MAX) {
    state.values.push(value)
    return
  }
  sketch(state)
  fill(state, bucketOf(value), 1)
}

/** Counts all of another distribution. Exact while both together are few. */
export function absorb(state: DistributionState, other: DistributionState): void {
  if (other.count === 0) return
  widen(state, other.min, other.max)
  state.count += other.count
  if (state.count <= EXACT_MAX) {
    state.values.push(...other.values)
    return
  }
  sketch(state)
  for (const value of other.values) fill(state, bucketOf(value), 1)
  for (const [bucket, count] of other.buckets.entries()) fill(state, bucket, count)
}

export function distributionOf(state: DistributionState): Distribution {
  const { count, min, max } = state
  if (count === 0) {
    const none = { minMs: undefined, p50Ms: undefined, p95Ms: undefined, p99Ms: undefined, maxMs: undefined }
    return { count, ...none, relativeErrorMax: 0 }
  }
  const sorted = state.values.toSorted((one, other) => one - other)
  const at = (percent: number): number => {
    const rank = Math.ceil((count * percent) / 100)
    return sorted[rank - 1] ?? Math.min(Math.max(estimate(state.buckets, rank), min), max)
  }
  const relativeErrorMax = sorted.length === count ? 0 : RELATIVE_ERROR
  return { count, minMs: min, p50Ms: at(50), p95Ms: at(95), p99Ms: at(99), maxMs: max, relativeErrorMax }
}

function widen(state: DistributionState, min: number, max: number): void {
  state.min = state.count === 0 ? min : Math.min(state.min, min)
  state.max = Math.max(state.max, max)
}

/** From here on values are forgotten, and their buckets counted. */
function sketch(state: DistributionState): void {
  for (const value of state.values) fill(state, bucketOf(value), 1)
  state.values = []
}

function fill({ buckets }: DistributionState, bucket: number, count: number): void {
  while (buckets.length <= bucket) buckets.push(0)
  buckets[bucket] = (buckets[bucket] ?? 0) + count
}

function estimate(buckets: readonly number[], rank: number): number {
  let before = 0
  for (const [bucket, count] of buckets.entries()) {
    before += count
    if (before >= rank) return bucket === 0 ? 0 : (2 * GAMMA ** (bucket - 1)) / (GAMMA + 1)
  }
  return Number.POSITIVE_INFINITY
}
