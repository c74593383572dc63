import type { Family } from './name-server.ts'

/** An address as Node's `dns.lookup` gives it. */
export interface LookupAddress {
  readonly address: string
  readonly family: Family
}

/** What Node, undici and their users pass to a `lookup`. Hints are for `getaddrinfo`, and without meaning here. */
export interface LookupOptions {
  readonly all?: boolean | undefined
  readonly family?: number | 'IPv4' | 'IPv6' | undefined
  readonly hints?: number | undefined
  readonly order?: 'ipv4first' | 'ipv6first' | 'verbatim' | undefined
  readonly verbatim?: boolean | undefined
}

/** `(error)`, `(null, address, family)`, or `(null, addresses)` when `all` was asked for. */
export type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number
) => void

/** In every form that Node calls `dns.lookup` in. */
export interface Lookup {
  (hostname: string, callback: LookupCallback): void
  (hostname: string, family: number, callback: LookupCallback): void
  (hostname: string, options: LookupOptions, callback: LookupCallback): void
}

/** Which families a look-up is for: both unless one is named. */
const familiesOf = (family: LookupOptions['family']): readonly Family[] => {
  if (family === 4 || family === 'IPv4') return [4]
  if (family === 6 || family === 'IPv6') return [6]
  return [4, 6]
}

/**
 * The `lookup` option of `net`, `tls`, `http`, undici and whatever else takes one. Whatever goes wrong goes to the callback,
 * in a later turn. Addresses come in the order that the name servers gave, IPv4 first unless `order` says otherwise: the
 * order that `verbatim` means is the operating system's, which was not asked.
 */
export function lookupThrough(
  resolve: (hostname: string, families: readonly Family[]) => Promise<readonly LookupAddress[]>
): Lookup {
  return (hostname: string, second: unknown, third?: unknown): void => {
    const callback = (typeof second === 'function' ? second : third) as LookupCallback | undefined
    const options: LookupOptions =
      typeof second === 'number' ? { family: second } : typeof second === 'object' && second !== null ? second : {}
    // In a turn of its own, so that what the callback throws is the caller's uncaught exception and not our rejection.
    const tell = (...answer: Parameters<LookupCallback>): void => queueMicrotask(() => callback?.(...answer))
    resolve(hostname, familiesOf(options.family)).then(
      (found) => {
        const addresses = options.order === 'ipv6first' ? found.toSorted((a, b) => b.family - a.family) : found
        const [first] = addresses as readonly [LookupAddress, ...LookupAddress[]]
        if (options.all === true)
          tell(
            null,
            addresses.map(({ address, family }) => ({ address, family }))
          )
        else tell(null, first.address, first.family)
      },
      (error: NodeJS.ErrnoException) => tell(error, options.all === true ? [] : '')
    )
  }
}
