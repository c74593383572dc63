import type { Backoff, Platform } from '@enablement/core'
import { z } from 'zod'
import { isIdempotencyKey } from './outbound-request.ts'
import type { PartitionEvent } from './partition-event.ts'
import type { PartitionMonitor } from './partition-monitor.ts'

export interface PartitionGuardOptions {
  /** Says how the way out stands, and is asked to look when a request fails. It is not closed with the guard. */
  readonly monitor: Pick<PartitionMonitor, 'state' | 'reachable' | 'check' | 'subscribe'>
  /** Requests that may wait at a time; 1,000 unless given, which is the most. One more is refused; none is ever dropped for it. */
  readonly entriesMax?: number
  /** How long a request may wait; 300,000 ms unless given, which is the most. Monotonic. */
  readonly ageMaxMs?: number
  /** All bodies that are kept, those of requests under way included; 16 MiB unless given. */
  readonly bytesMax?: number
  /** One body; 1 MiB unless given. A larger one is sent, but not kept, and so not repeated. */
  readonly bodyBytesMax?: number
  /** Attempts that fail while the network is there, until their error is the caller's; 3 unless given. */
  readonly attemptsMax?: number
  /** Between such attempts; full jitter from 250 ms to 30 s unless given. */
  readonly retry?: Backoff
  /** How fast what waited is sent; 50 a second, and 10 at once, unless given. `lanesMax` lanes at a time, 8 unless given. */
  readonly replay?: { readonly perSecond?: number; readonly burst?: number; readonly lanesMax?: number }
  /**
   * What to do with a request that must not be sent twice and has provably not been sent once: `refuse` it, unless given,
   * or `buffer` it, to be sent at most once later. Its caller may not expect an effect minutes later.
   */
  readonly unsentWrites?: 'refuse' | 'buffer'
  readonly platform?: Platform
  /** What it throws is dropped. */
  readonly observe?: (event: PartitionEvent) => void
}

/** Catalog RT-4. */
export const ENTRIES_MAX = 1_000
export const AGE_MAX_MS = 300_000

const fn = <Type>(): z.ZodType<Type> => z.custom<Type>((value) => typeof value === 'function', 'must be a function')

/** What `createPartitionGuard` takes. */
export const partitionGuardOptions: z.ZodType<PartitionGuardOptions> = z.strictObject({
  monitor: z.custom<PartitionGuardOptions['monitor']>(
    (value) => typeof value === 'object' && value !== null && 'check' in value && 'subscribe' in value,
    'must be a partition monitor'
  ),
  entriesMax: z.int().min(1).max(ENTRIES_MAX).exactOptional(),
  ageMaxMs: z.number().min(1).max(AGE_MAX_MS).exactOptional(),
  bytesMax: z.int().min(0).max(1_073_741_824).exactOptional(),
  bodyBytesMax: z.int().min(0).max(1_073_741_824).exactOptional(),
  attemptsMax: z.int().min(1).max(100).exactOptional(),
  retry: z
    .strictObject({
      jitter: z.enum(['full', 'equal', 'decorrelated', 'none']),
      baseMs: z.number().min(1).max(86_400_000),
      maxMs: z.number().min(1).max(86_400_000),
      factor: z.number().min(1).max(10).exactOptional()
    })
    .exactOptional(),
  replay: z
    .strictObject({
      perSecond: z.number().gt(0).max(1_000_000).exactOptional(),
      burst: z.int().min(1).max(ENTRIES_MAX).exactOptional(),
      lanesMax: z.int().min(1).max(ENTRIES_MAX).exactOptional()
    })
    .exactOptional(),
  unsentWrites: z.enum(['refuse', 'buffer']).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: fn<(event: PartitionEvent) => void>().exactOptional()
})

/** What is looked at of a request before it is sent. */
export const outboundRequestSchema = z
  .looseObject({
    policy: z.enum(['safe', 'idempotent', 'keyed', 'never']),
    idempotencyKey: z.string().refine(isIdempotencyKey, 'must be 1 to 255 printable ASCII characters').exactOptional(),
    lane: z.string().max(4_096),
    bytes: z.int().min(0).exactOptional(),
    deadlineMs: z.number().min(0).max(86_400_000).exactOptional(),
    send: fn<unknown>(),
    load: fn<unknown>().exactOptional()
  })
  .refine(({ policy, idempotencyKey }) => policy !== 'keyed' || idempotencyKey !== undefined, {
    path: ['idempotencyKey'],
    message: 'is what the policy keyed is about'
  })
