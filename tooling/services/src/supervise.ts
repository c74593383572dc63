import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

/** A started service: where it is and how to stop it. */
export interface Service extends AsyncDisposable {
  /** One address, or for a cluster the addresses of its nodes with commas between them. */
  readonly url: string
  /** Resolves when the server has gone and its files are removed. A second call waits for the first. */
  stop(): Promise<void>
}

export const service = (url: string, stop: () => Promise<void>): Service => ({
  url,
  stop,
  [Symbol.asyncDispose]: stop
})

/** Distinct free loopback ports: all held open at once, then released. */
async function freePorts(count: number): Promise<number[]> {
  const held = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<net.Server>((resolve, reject) => {
          const server = net.createServer().once('error', reject)
          server.listen(0, '127.0.0.1', () => resolve(server))
        })
    )
  )
  const ports = held.map((server) => (server.address() as net.AddressInfo).port)
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** A name for one server's folder, which its supervisor makes: it could not remove what was made before it ran. */
export function folderName(prefix: string, parent: string = os.tmpdir()): string {
  return path.join(parent, `enablement-${prefix}-${randomBytes(6).toString('hex')}`)
}

/** The server could not have the port: it was free when chosen, and somebody was quicker. */
class PortTakenError extends Error {
  override readonly name = 'PortTakenError'
}

const portTaken = /in use|could not bind|failed listening|unable to bind/i
const startMs = 30_000
/** How long a server may take to end by itself before it is killed, in tenths of a second. */
const graceTenths = 50

export interface Supervised {
  /** For messages. */
  readonly name: string
  /** The server's folder: made before it starts and removed when it ends, however it ends. */
  readonly folder: string
  readonly signal: 'TERM' | 'INT'
  /** Found in the server's own output once it accepts connections. (A ping could be answered by somebody else's.) */
  readonly ready: string
  readonly spawn?: { readonly uid?: number; readonly gid?: number; readonly env?: NodeJS.ProcessEnv }
}

/**
 * Starts a server that cannot outlive this process: a shell holds the other end of a pipe, and when the pipe closes
 * (stop() was called, or this process ended in whatever way, SIGKILL included) it stops the server and removes its
 * folder. In a session of its own, so that Ctrl-C in the terminal reaches this process only.
 */
export async function supervise(command: readonly string[], options: Supervised): Promise<() => Promise<void>> {
  // `read` is a builtin: the watcher is one process and goes with its parent, leaving no `cat` behind. The signal is sent
  // again and again because a server that is still starting may not heed it yet, and the folder removed so because what
  // a killed server had started may still be writing there. The shell says nothing once the server runs: with nobody left
  // to read it, the word that a job was terminated would be the shell's own end.
  const script = `folder=$1; shift; exec 3<&0
mkdir -p "$folder" && cd "$folder" || exit
"$@" </dev/null 3<&- & server=$!
exec >/dev/null 2>&1
( read -r _ <&3
  tenths=0
  while kill -${options.signal} $server 2>/dev/null; do
    [ $tenths -lt ${graceTenths} ] || kill -KILL $server 2>/dev/null
    tenths=$((tenths + 1)); sleep 0.1
  done ) & watcher=$!
wait $server; code=$?
kill $watcher 2>/dev/null
cd /; tenths=0
until rm -rf "$folder" 2>/dev/null || [ $tenths -ge ${graceTenths} ]; do tenths=$((tenths + 1)); sleep 0.1; done
exit $code`
  const child = spawn('sh', ['-c', script, 'sh', options.folder, ...command], {
    ...options.spawn,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true
  })
  // Writing to a server that has gone is no news; its exit is.
  child.stdin.on('error', () => {})
  let log = ''
  const exited = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('exit', resolve)
  })
  // Later than its exit: by then all that it said has been read.
  const silent = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('close', resolve)
  })
  const isReady = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        log = (log + chunk.toString()).slice(-8000)
        if (log.includes(options.ready)) resolve()
      })
    }
  })
  let stopped: Promise<unknown> | undefined
  const stop = async (): Promise<void> => {
    if (stopped === undefined) {
      child.ref()
      child.stdin.end()
      stopped = exited
    }
    await stopped
  }
  const { name } = options
  let timer: NodeJS.Timeout | undefined
  try {
    await Promise.race([
      isReady,
      silent.then((code) => {
        const message = `${name} exited with ${code} while starting:\n${log}`
        throw portTaken.test(log) ? new PortTakenError(message) : new Error(message)
      }),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${name} was not ready within ${startMs} ms:\n${log}`)), startMs)
      })
    ])
  } catch (error) {
    await stop()
    throw error
  } finally {
    clearTimeout(timer)
  }
  // The server alone must not keep this process going.
  child.unref()
  for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as unknown as Socket).unref()
  return stop
}

/** Tries again, with other ports, when somebody took one between choosing and binding. */
export async function withFreePorts<T>(count: number, start: (ports: readonly number[]) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePorts(count))
    } catch (error) {
      if (!(error instanceof PortTakenError) || attempt === 3) throw error
    }
  }
}

/** Asks again every 15 ms until it holds; a rejected question counts as no. */
export async function until(what: string, holds: () => Promise<boolean>, withinMs = 15_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await holds().catch(() => false))) {
    if (performance.now() > end) throw new Error(`${what} did not come true within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}
