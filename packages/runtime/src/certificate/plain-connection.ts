import { createConnection, type LookupFunction, type Socket } from 'node:net'
import type { Clock } from '@enablement/core'

/** A TCP connection without TLS, for `http:`. Rejects with what Node says, and with `ETIMEDOUT`. */
export function connectPlain(
  target: {
    readonly host: string
    readonly port: number
    readonly lookup: LookupFunction | undefined
    readonly localAddress: string | undefined
    readonly timeoutMs: number
  },
  clock: Clock
): Promise<Socket> {
  const { host, port, lookup, localAddress, timeoutMs } = target
  return new Promise((resolve, reject) => {
    const socket = createConnection({
      host,
      port,
      ...(lookup === undefined ? {} : { lookup }),
      ...(localAddress === undefined ? {} : { localAddress })
    })
    const timer = clock.startTimer(timeoutMs, () =>
      socket.destroy(Object.assign(new Error(`no connection after ${timeoutMs} ms`), { code: 'ETIMEDOUT' }))
    )
    // Stays: an error before its owner listens would end the process.
    socket.on('error', (error) => {
      timer.cancel()
      reject(error)
    })
    socket.once('connect', () => {
      timer.cancel()
      resolve(socket)
    })
  })
}
