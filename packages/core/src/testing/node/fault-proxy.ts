import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { z } from 'zod'
import { parseOptions } from '../../failure/options.ts'
import { type Platform, systemPlatform } from '../../platform.ts'
import { sleep } from '../../time/sleep.ts'
import type { FaultKind, FaultRule } from '../faults/fault.ts'
import { createFaultPlan, type FaultPlan, type FaultTarget, type Strike } from '../faults/fault-plan.ts'

/** A TCP server on this machine that stands before another one, and lets through what its faults let through. */
export interface FaultProxy extends AsyncDisposable {
  readonly host: '127.0.0.1'
  readonly port: number
  /**
   * Faults to come; `only` in a rule names `connect` (a new connection), `up` (bytes to the server) and `down` (bytes from
   * it). They strike bytes as they come, chunk by chunk: `latency` delays them, in order; `slice` passes them on a few at a
   * time; `drop` swallows them (`request`: up, `reply`: down); `hang` lets nothing more through that way on that
   * connection; `reset` resets it; `partition` holds everything, closings and new connections too, until it is taken back.
   */
  readonly faults: FaultPlan
  /** Connections that are open. */
  readonly connections: number
  /** Resets every connection and ends. */
  close(): Promise<void>
}

export interface FaultProxyOptions {
  /** The server behind it; on this machine unless a host is given. */
  readonly target: { readonly host?: string; readonly port: number }
  readonly faults?: readonly FaultRule[]
  readonly platform?: Platform
}

const proxyOptions: z.ZodType<FaultProxyOptions> = z.strictObject({
  target: z.strictObject({ host: z.string().min(1).exactOptional(), port: z.int().min(1).max(65_535) }),
  faults: z.custom<readonly FaultRule[]>(Array.isArray).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

const KINDS: readonly FaultKind[] = ['latency', 'reset', 'hang', 'drop', 'slice', 'partition']
const PROXY: FaultTarget = {
  what: 'a proxy of bytes',
  request: KINDS,
  reply: KINDS,
  names: ['connect', 'up', 'down']
}

/** A connection that comes has no bytes to slice: a rule's `times` are not used up by it. */
const COMING: FaultTarget = { ...PROXY, request: KINDS.filter((kind) => kind !== 'slice') }

/** How often what a partition holds looks whether it has healed. */
const HELD_POLL_MS = 5

/**
 * Starts a proxy on a free port. `platform` is the system's unless given; its clock must be a real one, because sockets
 * are. Throws `INVALID_OPTIONS`, and what listening throws.
 */
export async function faultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const { target, faults: rules = [], platform = systemPlatform } = parseOptions(proxyOptions, 'faultProxy', options)
  const faults = createFaultPlan({ platform, faults: rules, target: PROXY })
  const closing = new AbortController()
  const sockets = new Set<Socket>()
  let connections = 0
  const { signal } = closing

  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    // Whoever reads from it gets the error; when nobody does, its end is all that matters.
    socket.on('error', () => {})
  }

  /** What strikes now, once no partition holds it. */
  const passage = async (name: 'connect' | 'up' | 'down'): Promise<Strike> => {
    const target = name === 'connect' ? COMING : PROXY
    const point = { names: [name], leg: name === 'down' ? 'reply' : 'request', target } as const
    let strike = faults.strike(point)
    while (strike.end?.kind === 'partition') {
      await sleep(platform.clock, HELD_POLL_MS, { signal })
      strike = faults.strike(point)
    }
    if (strike.delayMs > 0) await sleep(platform.clock, strike.delayMs, { signal })
    return strike
  }

  const write = async (to: Socket, bytes: Buffer): Promise<void> => {
    if (to.destroyed || to.write(bytes)) return
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        to.off('drain', settle)
        to.off('close', settle)
        resolve()
      }
      to.on('drain', settle)
      to.on('close', settle)
    })
  }

  /** Passes on one way of a connection, a chunk at a time. */
  const carry = async (from: Socket, to: Socket, name: 'up' | 'down'): Promise<void> => {
    // Leaving the loop must not close the connection: how it ends is the fault's business.
    const chunks: AsyncIterable<Buffer> = from.iterator({ destroyOnReturn: false })
    for await (const chunk of chunks) {
      const { end, slice } = await passage(name)
      if (end?.kind === 'hang') return
      if (end?.kind === 'reset') throw new Error('reset')
      if (end?.kind === 'drop') continue
      const stepBytes = slice?.sliceMaxBytes ?? chunk.length
      for (let at = 0; at < chunk.length; at += stepBytes) {
        if (at > 0) await sleep(platform.clock, slice?.delayMs ?? 0, { signal })
        await write(to, chunk.subarray(at, at + stepBytes))
      }
    }
    // The end of a connection is news, too.
    await passage(name)
    to.end()
  }

  const serve = async (near: Socket): Promise<void> => {
    const far = connect({ host: target.host ?? '127.0.0.1', port: target.port, allowHalfOpen: true })
    keep(far)
    try {
      await Promise.all([carry(near, far, 'up'), carry(far, near, 'down')])
    } catch {
      // One of them failed, or was made to; the other one hears of it when no partition is between them.
      await passage('down').catch(() => {})
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
  }

  const server: Server = createServer({ allowHalfOpen: true }, (near) => {
    keep(near)
    connections += 1
    near.on('close', () => {
      connections -= 1
    })
    void passage('connect').then(
      ({ end }) => {
        if (end?.kind === 'reset') near.resetAndDestroy()
        else if (end === undefined) return serve(near)
      },
      () => near.destroy()
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })

  const close = async (): Promise<void> => {
    closing.abort(new Error('the proxy was closed'))
    const ended = new Promise<void>((resolve) => void server.close(() => resolve()))
    for (const socket of sockets) socket.resetAndDestroy()
    await ended
  }
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    faults,
    get connections() {
      return connections
    },
    close,
    [Symbol.asyncDispose]: close
  }
}
