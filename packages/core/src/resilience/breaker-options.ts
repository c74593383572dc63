import { z } from 'zod'
import type { Platform } from '../platform.ts'
import type { BreakerEvent } from './breaker-event.ts'
import { type BreakerSnapshot, snapshotSchema } from './breaker-snapshot.ts'
import type { Classification } from './classification.ts'
import { samplingMsSchema, sizeSchema } from './rolling-window.ts'

/** What opens a breaker whose window is a sample of calls. A ratio opens it when it is reached, as in Polly. */
export interface SampleLimits {
  /** The share of failures; 0.5 unless given. Above 0, at most 1. */
  readonly failureRatio?: number
  /** With fewer calls in the window nothing opens: one failure out of one is no evidence. 20 unless given. */
  readonly minimumThroughput?: number
  /** The share of slow calls; they open nothing unless given. Needs `slowCallMs`. */
  readonly slowCallRatio?: number
  /** A call that takes as long as this is slow, whether or not it fails. */
  readonly slowCallMs?: number
}

/** The calls that are evidence, and how much of it opens the breaker. */
export type BreakerWindow =
  /** So many failures without a success between them. */
  | { readonly kind: 'consecutive'; readonly failures: number }
  /** The last `size` calls, however long ago. `minimumThroughput` is at most `size`. */
  | ({ readonly kind: 'count'; readonly size: number } & SampleLimits)
  /** The calls of the last `samplingMs`, to a tenth of it. */
  | ({ readonly kind: 'time'; readonly samplingMs: number } & SampleLimits)

export interface CircuitBreakerOptions {
  /** What it protects, for errors and events: `billing-webhook`. At most 200 characters, no secret. */
  readonly name: string
  /** The calls of the last 30 s, open at half of them and 20, unless given. */
  readonly window?: BreakerWindow
  /** How long the first break lasts; 5,000 ms unless given. */
  readonly breakMs?: number
  /**
   * Each break that follows without a calm spell as long as the break before lasts twice as long, up to this; 60,000 ms
   * unless given, or `breakMs` where that is longer.
   */
  readonly breakMaxMs?: number
  /** How many calls are let through after a break, and must be fine, before everybody is; 1 unless given, at most 100. */
  readonly probes?: number
  /** How many of the probes may fail or be slow all the same; 0 unless given. */
  readonly probeFailuresMax?: number
  /**
   * After this long without a report a probe's place goes to another call, so that a probe that hangs blocks nobody for
   * longer. As long as the first break, unless given; not shorter than a call may take.
   */
  readonly probeLeaseMs?: number
  /** For this long after closing it lets a growing share of calls through; 0, which is all at once, unless given. */
  readonly rampMs?: number
  /** The share that the ramp begins with; 0.1 unless given. */
  readonly rampFromRatio?: number
  /** How `execute` judges the ends of calls. */
  readonly classification?: Classification
  /** Where to go on from. A break is shortened by the time since it was taken, and never longer than `breakMaxMs`. */
  readonly snapshot?: BreakerSnapshot
  readonly platform?: Platform
  /** What it throws is dropped: a report must not cost the call. */
  readonly observe?: (event: BreakerEvent) => void
}

/** A day: a break or a lease that lasts longer is an outage that nobody ends. */
const durationSchema = z.number().min(1).max(86_400_000)
const ratioSchema = z.number().gt(0).max(1)

const sampleLimits = {
  failureRatio: ratioSchema.exactOptional(),
  minimumThroughput: z.int().min(1).max(1_000_000).exactOptional(),
  slowCallRatio: ratioSchema.exactOptional(),
  slowCallMs: durationSchema.exactOptional()
}

const bothOrNeither = ({ slowCallRatio, slowCallMs }: SampleLimits): boolean =>
  (slowCallRatio === undefined) === (slowCallMs === undefined)
const bothNeeded = { path: ['slowCallMs'], message: 'slowCallRatio and slowCallMs need each other' }

const windowSchema: z.ZodType<BreakerWindow> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('consecutive'), failures: z.int().min(1).max(1_000_000) }),
  z
    .strictObject({ kind: z.literal('count'), size: sizeSchema, ...sampleLimits })
    .refine(bothOrNeither, bothNeeded)
    // A window that can never hold enough calls would never open.
    .refine(({ size, minimumThroughput = 0 }) => minimumThroughput <= size, {
      path: ['minimumThroughput'],
      message: 'the window never holds so many calls'
    }),
  z
    .strictObject({ kind: z.literal('time'), samplingMs: samplingMsSchema, ...sampleLimits })
    .refine(bothOrNeither, bothNeeded)
])

const isFunction = (value: unknown): boolean => typeof value === 'function'

/** How a policy's calls are judged, as an option. */
export const classificationSchema: z.ZodType<Classification> = z.strictObject({
  value: z.custom<NonNullable<Classification['value']>>(isFunction, 'must be a function').exactOptional(),
  error: z.custom<NonNullable<Classification['error']>>(isFunction, 'must be a function').exactOptional()
})

export const platformSchema = z.custom<Platform>((value) => typeof value === 'object' && value !== null)

export const tripOptions: z.ZodType<{ readonly breakMs?: number }> = z.strictObject({
  breakMs: durationSchema.exactOptional()
})

export const circuitBreakerOptions: z.ZodType<CircuitBreakerOptions> = z
  .strictObject({
    name: z.string().min(1).max(200),
    window: windowSchema.exactOptional(),
    breakMs: durationSchema.exactOptional(),
    breakMaxMs: durationSchema.exactOptional(),
    probes: z.int().min(1).max(100).exactOptional(),
    probeFailuresMax: z.int().min(0).max(99).exactOptional(),
    probeLeaseMs: durationSchema.exactOptional(),
    rampMs: z.number().min(0).max(86_400_000).exactOptional(),
    rampFromRatio: ratioSchema.exactOptional(),
    classification: classificationSchema.exactOptional(),
    snapshot: snapshotSchema.exactOptional(),
    platform: platformSchema.exactOptional(),
    observe: z.custom<(event: BreakerEvent) => void>(isFunction, 'must be a function').exactOptional()
  })
  .refine(({ breakMs, breakMaxMs }) => breakMaxMs === undefined || breakMaxMs >= (breakMs ?? BREAK_MS), {
    path: ['breakMaxMs'],
    message: 'must be at least breakMs'
  })
  .refine(({ probes = 1, probeFailuresMax = 0 }) => probeFailuresMax < probes, {
    path: ['probeFailuresMax'],
    message: 'must be less than probes, or nothing that a probe finds would matter'
  })

/** Polly's `BreakDuration`. */
export const BREAK_MS = 5_000
/** resilience4j's `waitDurationInOpenState`. */
export const BREAK_MAX_MS = 60_000
export const SAMPLING_MS = 30_000
export const FAILURE_RATIO = 0.5
export const MINIMUM_THROUGHPUT = 20
export const RAMP_FROM_RATIO = 0.1
