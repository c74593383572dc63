import { isIP } from 'node:net'
import type { Platform } from '@enablement/core'
import { z } from 'zod'
import type { DohEndpoint } from './doh-server.ts'
import { parseHostName } from './host-name.ts'
import type { ResolverEvent } from './resolver-event.ts'
import { parseServerAddress } from './server-address.ts'

/** How a resolver asks and remembers. */
export interface ResolverOptions {
  /** Name servers by address, with a port where it is not 53: `192.0.2.1`, `[2001:db8::1]:5353`. Those of the machine unless given. */
  readonly primary?: readonly string[]
  /** Asked when the primary fails, and beside it when it takes long. Better someone else's than a second of the same. */
  readonly secondary?: readonly string[]
  /** Asked when both have failed: it passes where port 53 is blocked or tampered with. */
  readonly doh?: readonly DohEndpoint[]
  /**
   * Addresses of the names without which nothing works, used last of all. Keep them few and check them: nothing tells that
   * such an address has moved, except that the certificate there is for another name.
   */
  readonly pinned?: { readonly [name: string]: readonly string[] }
  /** After how long the secondary is asked beside a silent primary: 200 ms unless given. */
  readonly hedgeMs?: number
  /** What one tier may take: 2,000 ms unless given. */
  readonly serverTimeoutMs?: number
  /** What a look-up may take in all before what is stale or pinned is served: 5,000 ms unless given. */
  readonly timeoutMs?: number
  /** No answer counts as fresh for longer: an hour unless given. */
  readonly ttlMaxMs?: number
  /** How long past its time an answer may be served while all fail: a day unless given, a week at the most (RFC 8767 §5). */
  readonly staleMaxMs?: number
  /**
   * How long a stale or pinned address stands before all are asked again: 30 s unless given (RFC 8767 §4). With 0 every
   * look-up waits for all of them to fail, and the first that does not is believed.
   */
  readonly staleTtlMs?: number
  /** Whether answers with a TTL of zero, which are to be used once, may be served stale: not unless given. */
  readonly staleZeroTtl?: boolean
  /** How long a name that does not exist is not asked for again: 5 s unless given, which is also the most. Failures never are remembered. */
  readonly missingTtlMs?: number
  /** Names remembered: 10,000 unless given, some 4 MB. */
  readonly namesMax?: number
  /**
   * `drop`: private addresses of public names are left out, so that whoever owns a name cannot point it into your network
   * (DNS rebinding). Requires no exceptions for names without a dot and under `internal`, `local`, `home.arpa` and the like.
   */
  readonly privateAddresses?: 'allow' | 'drop'
  /** Names, with all below them, that may have private addresses all the same, such as a public zone with a private view. */
  readonly privateNames?: readonly string[]
  readonly platform?: Platform
  readonly observe?: (event: ResolverEvent) => void
}

const DAY_MS = 86_400_000

const duration = (min: number, max: number): z.ZodType<number> => z.number().min(min).max(max)
const isHostName = (name: string): boolean => {
  try {
    return parseHostName(name).kind === 'name'
  } catch {
    return false
  }
}
const address = z.string().refine((text) => isIP(text) !== 0, 'must be an IP address')
const hostName = z.string().refine(isHostName, 'must be a host name')
const servers = z
  .array(
    z.string().refine((text) => parseServerAddress(text) !== undefined, 'must be an IP address, or one with a port')
  )
  .min(1)
  // Beyond a handful each has no time left: they share what the tier may take.
  .max(8)

const endpoint = z
  .strictObject({
    url: z.string().refine((text) => URL.canParse(text) && new URL(text).protocol === 'https:', 'must be an https URL'),
    addresses: z.array(address).min(1).max(8).exactOptional(),
    method: z.enum(['GET', 'POST']).exactOptional(),
    ca: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).exactOptional()
  })
  .refine(
    ({ url, addresses }) =>
      addresses !== undefined || !URL.canParse(url) || isIP(new URL(url).hostname.replace(/^\[|\]$/g, '')) !== 0,
    { path: ['addresses'], message: 'must be given where the URL has a name: it cannot be looked up' }
  )

/** What `createResolver` takes. */
export const resolverOptions: z.ZodType<ResolverOptions> = z.strictObject({
  primary: servers.exactOptional(),
  secondary: servers.exactOptional(),
  doh: z.array(endpoint).min(1).max(8).exactOptional(),
  pinned: z.record(hostName, z.array(address).min(1).max(64)).exactOptional(),
  hedgeMs: duration(0, 60_000).exactOptional(),
  serverTimeoutMs: duration(1, 60_000).exactOptional(),
  timeoutMs: duration(1, 300_000).exactOptional(),
  ttlMaxMs: duration(1_000, 7 * DAY_MS).exactOptional(),
  staleMaxMs: duration(0, 7 * DAY_MS).exactOptional(),
  staleTtlMs: duration(0, DAY_MS).exactOptional(),
  staleZeroTtl: z.boolean().exactOptional(),
  missingTtlMs: duration(0, 5_000).exactOptional(),
  namesMax: z.int().min(1).max(1_000_000).exactOptional(),
  privateAddresses: z.enum(['allow', 'drop']).exactOptional(),
  privateNames: z.array(hostName).max(1_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: z.custom<(event: ResolverEvent) => void>((value) => typeof value === 'function').exactOptional()
})
