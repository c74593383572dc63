import { connect, type LookupFunction } from 'node:net'
import type { EgressProbe } from '../partition/partition-monitor.ts'

/**
 * A probe that makes a TCP connection and drops it. `lookup` resolves names, the system's resolver unless given: with the
 * one that requests use, a name that cannot be resolved counts as unreachable here too.
 */
export function tcpProbe(options: { readonly lookup?: LookupFunction } = {}): EgressProbe {
  const { lookup } = options
  return ({ host, port }, { signal }) =>
    new Promise((resolve, reject) => {
      const socket = connect({ host, port, ...(lookup === undefined ? {} : { lookup }) })
      const end = (settle: () => void): void => {
        signal.removeEventListener('abort', onAbort)
        socket.destroy()
        settle()
      }
      const onAbort = (): void => end(() => reject(signal.reason))
      // Stays on after the end: an attempt of another address family may still fail.
      socket.on('error', (error) => end(() => reject(error)))
      socket.once('connect', () => end(resolve))
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
    })
}
