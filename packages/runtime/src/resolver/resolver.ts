import { getServers } from 'node:dns'
import { createSingleFlight, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { RuntimeError } from '../runtime-error.ts'
import { dnsServer } from './dns-server.ts'
import { dohServer } from './doh-server.ts'
import { isLocalhost, parseHostName } from './host-name.ts'
import { type Lookup, type LookupAddress, lookupThrough } from './lookup.ts'
import { NameCache } from './name-cache.ts'
import type { Family, NameServer, ServerAnswer, Tier } from './name-server.ts'
import { isPrivateAddress, isPublicName } from './private-address.ts'
import { type ResolverOptions, resolverOptions } from './resolver-options.ts'
import { askInTurn, type RoundResult, type TierFailure } from './round.ts'
import { parseServerAddress, type ServerAddress } from './server-address.ts'

/** Addresses of a name, and where they are from. */
export interface Resolution {
  /** In the form it was asked for on the wire: lower case, `xn--`, no dot at the end. An address as it was given. */
  readonly name: string
  /** At least one; IPv4 first, within a family as the name server gave them. */
  readonly addresses: readonly LookupAddress[]
  /**
   * - `literal`, `localhost`: nobody was asked
   * - `cache`: an answer from before, within its time
   * - `asked`: name servers were asked now
   * - `stale`, `pinned`: all of them failed
   */
  readonly source: 'literal' | 'localhost' | 'cache' | 'asked' | 'stale' | 'pinned'
  /** How long it may be used from now on: 0 means this once. Infinite for an address. */
  readonly ttlMs: number
}

export interface ResolveOptions {
  /** Both unless given. */
  readonly family?: Family
  /** Gives up waiting, with the signal's reason. Others who wait for the same name are not disturbed. */
  readonly signal?: AbortSignal
}

/** Finds the addresses of names, also when name servers fail. */
export interface Resolver extends AsyncDisposable {
  /**
   * Throws `NAME_INVALID`; `NAME_NOT_FOUND` when there are no addresses, and that is the answer; `NAME_UNRESOLVED` when there
   * is no answer, nothing stale and nothing pinned; `CLOSED`.
   */
  resolve(name: string, options?: ResolveOptions): Promise<Resolution>
  /** The same as the `lookup` option of `net`, `tls`, `http` and undici. Bound: it may be handed over as it is. */
  readonly lookup: Lookup
  /** Stops what is under way, which then fails with `CLOSED`, and closes connections. */
  close(): Promise<void>
}

const HEDGE_MS = 200
const SERVER_TIMEOUT_MS = 2_000
const TIMEOUT_MS = 5_000
const TTL_MAX_MS = 3_600_000
const STALE_MAX_MS = 86_400_000
const STALE_TTL_MS = 30_000
const MISSING_TTL_MS = 5_000
const NAMES_MAX = 10_000

const BOTH: readonly Family[] = [4, 6]

/**
 * Asks in this order: what is remembered and fresh, the primary, the secondary, DNS over HTTPS, what is remembered and stale,
 * what is pinned. Names of this machine (`localhost`) and addresses are answered without asking; `/etc/hosts` and search
 * domains are not looked at. Only addresses come out of it: a TLS client still names, and verifies, the host it was asked
 * for, so that a stale or pinned address that someone else has meanwhile is refused there. Throws `INVALID_OPTIONS`.
 */
export function createResolver(options: ResolverOptions = {}): Resolver {
  const parsed = parseOptions(resolverOptions, 'createResolver', options)
  const { platform = systemPlatform, staleTtlMs = STALE_TTL_MS, timeoutMs = TIMEOUT_MS } = parsed
  const { privateAddresses = 'allow', privateNames = [] } = parsed
  const { clock } = platform
  const report = reporter(parsed.observe)
  const cache = new NameCache({
    namesMax: parsed.namesMax ?? NAMES_MAX,
    ttlMaxMs: parsed.ttlMaxMs ?? TTL_MAX_MS,
    staleMaxMs: parsed.staleMaxMs ?? STALE_MAX_MS,
    missingMs: parsed.missingTtlMs ?? MISSING_TTL_MS,
    staleZeroTtl: parsed.staleZeroTtl ?? false
  })
  const tiers = tiersOf(parsed, platform)
  const pinned = new Map(Object.entries(parsed.pinned ?? {}).map(([name, addresses]) => [plainName(name), addresses]))
  const exceptions = privateNames.map(plainName)
  const flights = createSingleFlight<Resolution>()
  const closing = new AbortController()
  /** Since when each failing tier has failed, in monotonic milliseconds. */
  const failingSince = new Map<Tier, number>()
  /** Names that something stale or pinned was served for; cleared as they recover. Bounded like the cache. */
  const makeshift = new Set<string>()

  const pinnedFor = (name: string, families: readonly Family[]): readonly LookupAddress[] =>
    withFamily(pinned.get(name) ?? []).filter(({ family }) => families.includes(family))

  const screen =
    (name: string) =>
    (tier: Tier, answer: ServerAnswer): ServerAnswer => {
      if (answer.outcome !== 'addresses' || privateAddresses === 'allow' || !isPublicName(name, exceptions))
        return answer
      const addresses = answer.addresses.filter((address) => !isPrivateAddress(address))
      if (addresses.length === answer.addresses.length) return answer
      const dropped = answer.addresses.filter((address) => !addresses.includes(address))
      report({ type: 'resolver.private-dropped', server: tier, name, addresses: dropped })
      return addresses.length === 0 ? { outcome: 'failed', reason: 'private' } : { ...answer, addresses }
    }

  const ask = (name: string, family: Family, signal: AbortSignal): Promise<RoundResult> =>
    askInTurn(
      { name, family },
      {
        tiers,
        hedgeMs: parsed.hedgeMs ?? HEDGE_MS,
        clock,
        signal,
        knownGood: cache.isKnownGood(name, family, clock.monotonic()) || pinnedFor(name, [family]).length > 0,
        screen: screen(name),
        onFailed(failure) {
          // Cut off because the resolver closes: that says nothing about the server.
          if (closing.signal.aborted) return
          const { server, reason, cause } = failure
          if (!failingSince.has(server)) failingSince.set(server, clock.monotonic())
          report({ type: 'resolver.failed', server, name, family, reason, ...(cause === undefined ? {} : { cause }) })
        },
        onAnswered(server) {
          const since = failingSince.get(server)
          if (since === undefined) return
          failingSince.delete(server)
          report({ type: 'resolver.recovered', server, failedForMs: clock.monotonic() - since })
        }
      }
    )

  /** What is left when nobody gave addresses. */
  const makeDo = (name: string, families: readonly Family[], staleAllowed: boolean): Resolution | undefined => {
    const now = clock.monotonic()
    const stale = staleAllowed ? cache.stale(name, families, now) : undefined
    const addresses = stale === undefined ? pinnedFor(name, families) : withFamily(stale.addresses)
    if (addresses.length === 0) return undefined
    if (makeshift.size < (parsed.namesMax ?? NAMES_MAX)) makeshift.add(name)
    const plain = addresses.map(({ address }) => address)
    if (stale === undefined) {
      const because = staleAllowed ? 'unresolved' : 'not-found'
      report({ type: 'resolver.pinned-used', name, addresses: plain, because })
    } else {
      report({ type: 'resolver.stale-served', name, addresses: plain, expiredForMs: stale.expiredForMs })
    }
    return { name, addresses, source: stale === undefined ? 'pinned' : 'stale', ttlMs: staleTtlMs }
  }

  const askAll = async (name: string, families: readonly Family[]): Promise<Resolution> => {
    const cut = new AbortController()
    const onClose = (): void => cut.abort()
    closing.signal.addEventListener('abort', onClose, { once: true })
    const deadline = clock.startTimer(timeoutMs, () => cut.abort())
    let results: readonly (readonly [Family, RoundResult])[]
    try {
      // Each family stands for itself: one whose servers fail must not take away the addresses of the other.
      results = await Promise.all(
        families.map(async (family) => [family, await ask(name, family, cut.signal)] as const)
      )
    } finally {
      deadline.cancel()
      closing.signal.removeEventListener('abort', onClose)
    }
    if (closing.signal.aborted) throw closed()
    return settle(name, families, results)
  }

  const settle = (
    name: string,
    families: readonly Family[],
    results: readonly (readonly [Family, RoundResult])[]
  ): Resolution => {
    const now = clock.monotonic()
    const addresses: LookupAddress[] = []
    let ttlMs = Number.POSITIVE_INFINITY
    for (const [family, result] of results) {
      if (result.outcome !== 'addresses') continue
      ttlMs = Math.min(ttlMs, cache.store(name, family, result.addresses, result.ttlSeconds, now))
      addresses.push(...result.addresses.map((address) => ({ address, family })))
    }
    for (const [family, { outcome }] of results) {
      if (outcome === 'no-data' || outcome === 'no-such-name') cache.forget(name, family)
    }
    if (addresses.length > 0) {
      for (const [family, { outcome }] of results) if (outcome !== 'addresses') cache.quieten(name, family, now + ttlMs)
      if (makeshift.delete(name)) report({ type: 'resolver.name-recovered', name })
      return { name, addresses, source: 'asked', ttlMs }
    }
    const failures = results.flatMap(([, result]) => (result.outcome === 'failed' ? result.failures : []))
    const failed = results.some(([, result]) => result.outcome === 'failed')
    if (!failed && results.some(([, result]) => result.outcome === 'no-such-name')) cache.storeMissing(name, now)
    const left = makeDo(name, families, failed)
    if (left === undefined) throw failed ? unresolved(name, failures) : notFound(name)
    cache.rest(name, now + staleTtlMs)
    return left
  }

  const resolveName = async (
    name: string,
    families: readonly Family[],
    signal: AbortSignal | undefined
  ): Promise<Resolution> => {
    const now = clock.monotonic()
    const fresh = cache.fresh(name, families, now)
    if (fresh !== undefined)
      return { name, addresses: withFamily(fresh.addresses), source: 'cache', ttlMs: fresh.ttlMs }
    if (cache.isResting(name, now)) {
      const left = remembered(name, families)
      if (left !== undefined) return left
    }
    if (cache.isMissing(name, now)) throw notFound(name)
    const key = `${name} ${families.join(' ')}`
    return await flights.run(key, () => askAll(name, families), signal === undefined ? {} : { signal })
  }

  /** What `makeDo` gave a moment ago, without telling of it again. */
  const remembered = (name: string, families: readonly Family[]): Resolution | undefined => {
    const stale = cache.stale(name, families, clock.monotonic())
    if (stale !== undefined) return { name, addresses: withFamily(stale.addresses), source: 'stale', ttlMs: staleTtlMs }
    const addresses = pinnedFor(name, families)
    return addresses.length === 0 ? undefined : { name, addresses, source: 'pinned', ttlMs: staleTtlMs }
  }

  const resolve = async (input: string, { family, signal }: ResolveOptions = {}): Promise<Resolution> => {
    signal?.throwIfAborted()
    if (closing.signal.aborted) throw closed()
    const families = family === undefined ? BOTH : [family]
    const host = parseHostName(input)
    if (host.kind === 'address') {
      const { address } = host
      const addresses = [{ address, family: host.family }]
      return { name: address, addresses, source: 'literal', ttlMs: Number.POSITIVE_INFINITY }
    }
    if (isLocalhost(host.name)) {
      const addresses = withFamily(['127.0.0.1', '::1']).filter((one) => families.includes(one.family))
      return { name: host.name, addresses, source: 'localhost', ttlMs: Number.POSITIVE_INFINITY }
    }
    return await resolveName(host.name, families, signal)
  }

  const close = async (): Promise<void> => {
    closing.abort()
    for (const { server } of tiers) server.close()
  }

  return {
    resolve,
    lookup: lookupThrough(async (hostname, families) => {
      const [only, other] = families
      const { addresses } = await resolve(hostname, other === undefined && only !== undefined ? { family: only } : {})
      return addresses
    }),
    close,
    [Symbol.asyncDispose]: close
  }
}

function tiersOf(
  options: ResolverOptions,
  platform: NonNullable<ResolverOptions['platform']>
): readonly { readonly tier: Tier; readonly server: NameServer }[] {
  const { primary = getServers(), secondary, doh, serverTimeoutMs: timeoutMs = SERVER_TIMEOUT_MS } = options
  const overDns = (addresses: readonly string[]): NameServer =>
    dnsServer({
      addresses: addresses.flatMap((text): ServerAddress[] => [parseServerAddress(text) ?? []].flat()),
      timeoutMs,
      platform
    })
  return [
    ...(primary.length === 0 ? [] : [{ tier: 'primary' as const, server: overDns(primary) }]),
    ...(secondary === undefined ? [] : [{ tier: 'secondary' as const, server: overDns(secondary) }]),
    ...(doh === undefined ? [] : [{ tier: 'doh' as const, server: dohServer({ endpoints: doh, timeoutMs, platform }) }])
  ]
}

const withFamily = (addresses: readonly string[]): readonly LookupAddress[] =>
  addresses.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 }))

/** A name from the options, which were checked. */
function plainName(input: string): string {
  const host = parseHostName(input)
  return host.kind === 'name' ? host.name : host.address
}

/** What `getaddrinfo` would have failed with: libraries look for its code, on an error or on its cause. */
function systemError(code: 'ENOTFOUND' | 'EAI_AGAIN', hostname: string): Error {
  return Object.assign(new Error(`getaddrinfo ${code} ${hostname}`), { code, syscall: 'getaddrinfo', hostname })
}

const notFound = (name: string): RuntimeError<'NAME_NOT_FOUND'> =>
  new RuntimeError(
    'NAME_NOT_FOUND',
    `the name servers know no addresses of ${name}`,
    { name },
    { cause: systemError('ENOTFOUND', name) }
  )

function unresolved(name: string, failures: readonly TierFailure[]): RuntimeError<'NAME_UNRESOLVED'> {
  const told = failures.map(({ server, reason }) => ({ server, reason }))
  const summary = [...new Set(told.map(({ server, reason }) => `${server} ${reason}`))].join(', ')
  const message = `no name server gave addresses of ${name}: ${summary === '' ? 'there is none' : summary}`
  return new RuntimeError(
    'NAME_UNRESOLVED',
    message,
    { name, failures: told },
    { cause: systemError('EAI_AGAIN', name) }
  )
}

const closed = (): RuntimeError<'CLOSED'> => new RuntimeError('CLOSED', 'the resolver was closed', { what: 'resolver' })
