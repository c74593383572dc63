import { isIP } from 'node:net'

/** Whether a guest may reach a host on a port, and whether that host may then be at a private address. */
export interface AllowList {
  /** Undefined: it is not on the list. `isExact`: it was listed by its very name or address, not by a wildcard. */
  match(host: string, port: number): { readonly isExact: boolean } | undefined
}

interface Rule {
  readonly host: string
  readonly isWildcard: boolean
  readonly port: number
}

const RULE = /^(\*\.)?([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]):(\d{1,5})$/

/** `host:port`, `*.domain:port` (every name below it, not itself), `192.0.2.1:port`, `[2001:db8::1]:port`. */
export function parseRule(text: string): Rule | undefined {
  const [, wildcard, written, portText] = RULE.exec(text.toLowerCase()) ?? []
  const port = Number(portText)
  if (written === undefined || port < 1 || port > 65_535) return undefined
  const host = canonicalHost(written)
  if (wildcard !== undefined && isIP(host) !== 0) return undefined
  return { host, isWildcard: wildcard !== undefined, port }
}

/** Lower case, without brackets, without the dot at the end of a full name, an IPv6 address in its one short form. */
export function canonicalHost(host: string): string {
  const bare = host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
  if (isIP(bare) !== 6) return bare
  return new URL(`http://[${bare}]/`).hostname.slice(1, -1)
}

export function allowList(rules: readonly string[]): AllowList {
  const parsed = rules.map((text) => parseRule(text)).filter((rule) => rule !== undefined)
  return {
    match(host, port) {
      const wanted = canonicalHost(host)
      if (parsed.some((rule) => !rule.isWildcard && rule.host === wanted && rule.port === port))
        return { isExact: true }
      // A number that looks like a name must not match a wildcard: `1.2.3.4` is below no domain, and neither is `0x7f.1`.
      if (isIP(wanted) !== 0 || /^(0x[0-9a-f]*|\d+)$/.test(wanted.split('.').at(-1) ?? '')) return undefined
      return parsed.some((rule) => rule.isWildcard && rule.port === port && wanted.endsWith(`.${rule.host}`))
        ? { isExact: false }
        : undefined
    }
  }
}
