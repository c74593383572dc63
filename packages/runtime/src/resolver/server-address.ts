import { isIP } from 'node:net'

/** Where a name server listens. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
}

/** RFC 1035 §4.2. */
const DNS_PORT = 53

/** `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`; undefined for anything else, names above all. */
export function parseServerAddress(text: string): ServerAddress | undefined {
  if (isIP(text) !== 0) return { host: text, port: DNS_PORT }
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const host = parts?.[1] ?? parts?.[2]
  const port = Number(parts?.[3])
  if (host === undefined || isIP(host) === 0 || port < 1 || port > 65_535) return undefined
  return { host, port }
}
