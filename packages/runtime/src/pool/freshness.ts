import { canonicalJson } from '@enablement/core'
import type { PreparedSandbox, PrepareOptions } from './prepared-sandbox.ts'

/** Whether a sandbox that was kept ready may still be handed out. */
export type Freshness =
  | { readonly verdict: 'fresh' }
  /** It was made of another configuration than the pool's. */
  | { readonly verdict: 'config-mismatch' }
  /** It has lived for too long, or has less than the minimum left to live. */
  | { readonly verdict: 'too-old'; readonly ageMs: number }
  /** Its host has lost it. */
  | { readonly verdict: 'not-ready' }

/** What a sandbox is made of, and the hash of all of it. */
export interface Configuration {
  readonly template: PrepareOptions
  readonly hash: string
}

/**
 * Hashes the whole effective configuration: the limit, the names of the host functions in whatever order, the image's
 * bytes and its engine. Anything that is left out could change and would still be handed out (agent-sandbox #1047).
 */
export async function configurationOf(template: PrepareOptions): Promise<Configuration> {
  const { memoryLimitBytes, hostFunctions = [], image } = template
  const effective = canonicalJson({
    memoryLimitBytes,
    hostFunctions: [...new Set(hostFunctions)].sort(),
    engine: image?.engine ?? null,
    image: image === undefined ? null : await sha256(image.bytes)
  })
  return { template, hash: await sha256(new TextEncoder().encode(effective)) }
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** A sandbox that nobody has yet, as the pool keeps it. Instants are of the monotonic clock. */
export interface WarmSandbox {
  readonly prepared: PreparedSandbox
  readonly hash: string
  readonly startedAt: number
  /** From when on it may not be handed out. */
  readonly staleAt: number
}

export function freshnessOf(warm: WarmSandbox, hash: string, now: number): Freshness {
  if (!warm.prepared.isReady()) return { verdict: 'not-ready' }
  if (warm.hash !== hash) return { verdict: 'config-mismatch' }
  if (now >= warm.staleAt) return { verdict: 'too-old', ageMs: now - warm.startedAt }
  return { verdict: 'fresh' }
}
