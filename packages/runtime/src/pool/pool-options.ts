import type { Platform } from '@enablement/core'
import { z } from 'zod'
import type { HostFunctions, Sandbox } from '../sandbox/sandbox.ts'
import type { ClaimOptions } from './claim.ts'
import type { PoolEvent } from './pool-event.ts'
import { CAPACITY_MAX, type PoolStateStore, QUEUE_MAX } from './pool-state-store.ts'
import type { PreparedImage, PreparedSandbox, PrepareOptions } from './prepared-sandbox.ts'
import type { RolloutOptions } from './rollout.ts'

/** The part of a runtime that a pool needs. It stays the caller's to close, after the pool. */
export interface PoolRuntime {
  prepare(options: PrepareOptions): Promise<PreparedSandbox>
  restore(options: {
    readonly tenant: string
    readonly agent: string
    readonly subscription?: string
    readonly memoryLimitBytes: number
    readonly hostFunctions?: HostFunctions
    readonly checkpoint: Uint8Array
  }): Promise<Sandbox>
}

/** What a pool is made of. */
export interface WarmPoolOptions {
  readonly runtime: PoolRuntime
  /** What its sandboxes are prepared with; `update` changes it. */
  readonly template: PrepareOptions
  /**
   * Sandboxes that this process keeps ready: between `min` and `max`, by demand. Fewer than `min` raise
   * `pool.exhausted`. 0 to 1,000, `max` at least 1.
   */
  readonly idle: { readonly min: number; readonly max: number }
  /** Sandboxes of the pool in all processes that share it, claimed ones included: `idle.max` unless given, 1 to 1,000. */
  readonly capacity?: number
  /** Claims that may get a sandbox beyond the capacity, in all processes: as many as the capacity unless given. */
  readonly coldMax?: number
  /** Claims that one tenant may hold, and as many may wait, in all processes: no limit of its own unless given. */
  readonly tenantMax?: number
  /** Claims that may wait, in all processes: 100 unless given, at most 1,000. */
  readonly queueMax?: number
  /** How long a claim among the first `waitPositions` waits before it is started beyond the capacity: 30 s unless given. */
  readonly waitMs?: number
  /** 3 unless given. A claim further back does not wait. */
  readonly waitPositions?: number
  /** Waiting this long is worth one word of priority: 30 s unless given. */
  readonly agingMs?: number
  readonly preemption?: {
    /** In all processes, tries that fail included: 10 unless given; 0 for never. */
    readonly perMinuteMax?: number
    /** What saving a sandbox may take before the next is tried: 5 s unless given. */
    readonly checkpointMs?: number
    /** How long the checkpoint can be restored: one day unless given. */
    readonly checkpointTtlMs?: number
    /** How long one that could not be saved, or was queued again, is left alone: 60 s unless given. */
    readonly cooldownMs?: number
  }
  /** After which a sandbox that nobody claimed is replaced, 10 % more or less: 30 minutes unless given, 1 s to 30 days. */
  readonly maxAgeMs?: number
  /** What it must have left of that to be handed out: 0 unless given; less than half of `maxAgeMs`. */
  readonly minimumLifeMs?: number
  /** What a start may take before it counts as failed: 30 s unless given. */
  readonly startMs?: number
  /** How a changed template reaches sandboxes that are ready: `rolling`, one at a time, unless given. */
  readonly rollout?: RolloutOptions
  /** The most that a refill waits before it begins, so that processes do not refill at once: 50 ms unless given. */
  readonly refillJitterMs?: number
  /** Where processes share the pool; it is this process's own unless given. */
  readonly state?: PoolStateStore
  /** Which pool of that store: `default` unless given. */
  readonly name?: string
  /** Without a sign of life for so long, 15 s unless given, this process's places and claims are given to others. */
  readonly leaseMs?: number
  /** How often a store that processes share is asked for news: 250 ms unless given, less than a third of the lease. */
  readonly pollMs?: number
  /** Is told what happens. What it throws is dropped. */
  readonly observe?: (event: PoolEvent) => void
  readonly platform?: Platform
}

const DAY_MS = 86_400_000

const portSchema = z.custom<object>((value) => typeof value === 'object' && value !== null, 'must be an object')
const callbackSchema = z.custom<() => void>((value) => typeof value === 'function', 'must be a function')
const countSchema = z.int().min(0).max(CAPACITY_MAX)
const spanSchema = z.int().min(1).max(DAY_MS)

/** Names are keys in stores and audit entries: short enough to index, no control characters to forge a log line with. */
const nameSchema = z
  .string()
  .min(1)
  .max(200)
  .regex(/^\P{Cc}+$/u, 'must not contain control characters')
  .refine((text) => text.isWellFormed(), 'must be well-formed')

/** Its bytes are hashed: what cannot be must not be found out later, when nobody waits. */
const imageSchema = z.custom<PreparedImage>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    'engine' in value &&
    typeof value.engine === 'string' &&
    'bytes' in value &&
    value.bytes instanceof Uint8Array,
  'must be an image of prepareImage'
)

export const templateSchema: z.ZodType<PrepareOptions> = z.strictObject({
  memoryLimitBytes: z.int().min(1_048_576).max(2_147_483_648),
  hostFunctions: z.array(z.string()).max(1_000).optional(),
  image: imageSchema.optional()
}) as unknown as z.ZodType<PrepareOptions>

export const rolloutSchema: z.ZodType<RolloutOptions> = z.strictObject({
  strategy: z.enum(['rolling', 'recreate', 'onReplenish']),
  maxUnavailable: z.int().min(1).max(CAPACITY_MAX).optional(),
  deadlineMs: spanSchema.optional()
}) as unknown as z.ZodType<RolloutOptions>

export const poolSchema: z.ZodType<WarmPoolOptions> = z
  .strictObject({
    runtime: portSchema,
    template: templateSchema,
    idle: z
      .strictObject({ min: countSchema, max: countSchema.min(1) })
      .refine(({ min, max }) => min <= max, { path: ['max'], message: 'must be at least min' }),
    capacity: countSchema.min(1).optional(),
    coldMax: countSchema.optional(),
    tenantMax: countSchema.min(1).optional(),
    queueMax: z.int().min(0).max(QUEUE_MAX).optional(),
    waitMs: z.int().min(0).max(DAY_MS).optional(),
    waitPositions: z.int().min(0).max(QUEUE_MAX).optional(),
    agingMs: spanSchema.optional(),
    preemption: z
      .strictObject({
        perMinuteMax: countSchema.optional(),
        checkpointMs: spanSchema.optional(),
        checkpointTtlMs: z
          .int()
          .min(1_000)
          .max(365 * DAY_MS)
          .optional(),
        cooldownMs: z.int().min(0).max(DAY_MS).optional()
      })
      .optional(),
    maxAgeMs: z
      .int()
      .min(1_000)
      .max(30 * DAY_MS)
      .optional(),
    minimumLifeMs: z.int().min(0).optional(),
    startMs: spanSchema.optional(),
    rollout: rolloutSchema.optional(),
    refillJitterMs: z.int().min(0).max(60_000).optional(),
    state: portSchema.optional(),
    name: nameSchema.optional(),
    leaseMs: z.int().min(300).max(DAY_MS).optional(),
    pollMs: z.int().min(10).max(DAY_MS).optional(),
    observe: callbackSchema.optional(),
    platform: portSchema.optional()
  })
  .refine(({ idle, capacity = idle.max }) => idle.max <= capacity, {
    path: ['capacity'],
    message: 'must be at least idle.max'
  })
  .refine(({ maxAgeMs = MAX_AGE_MS, minimumLifeMs = 0 }) => minimumLifeMs < maxAgeMs / 2, {
    path: ['minimumLifeMs'],
    message: 'must be less than half of maxAgeMs'
  })
  .refine(({ leaseMs = LEASE_MS, pollMs = POLL_MS }) => pollMs < leaseMs / 3 || pollMs === POLL_MS, {
    path: ['pollMs'],
    message: 'must be less than a third of leaseMs'
  }) as unknown as z.ZodType<WarmPoolOptions>

export const MAX_AGE_MS = 1_800_000
export const LEASE_MS = 15_000
export const POLL_MS = 250

export const claimSchema: z.ZodType<ClaimOptions> = z.strictObject({
  tenant: nameSchema,
  agent: nameSchema,
  subscription: nameSchema.optional(),
  hostFunctions: portSchema.optional(),
  priority: z.enum(['low', 'normal', 'high', 'critical']).optional(),
  nonPreemptible: z.boolean().optional(),
  requeue: z.boolean().optional(),
  idempotencyKey: nameSchema.optional()
}) as unknown as z.ZodType<ClaimOptions>
