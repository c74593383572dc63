import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

export const canSeeProcesses = existsSync('/proc/self/cmdline')

/**
 * A temporary folder for everything that one run starts, open to the account that Postgres runs under. What a failed
 * test left running in it ends with it.
 */
export function playground(): { folder: string; [Symbol.dispose](): void } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'services-test-'))
  chmodSync(folder, 0o777)
  return {
    folder,
    [Symbol.dispose]() {
      for (const line of canSeeProcesses ? processesIn(folder) : []) {
        try {
          process.kill(Number.parseInt(line, 10), 'SIGKILL')
        } catch {
          // It ended meanwhile.
        }
      }
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Processes that were started in a folder, or name it on their command line or in their environment. */
export function processesIn(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const inside =
          command.includes(folder) ||
          readlinkSync(`/proc/${pid}/cwd`).startsWith(folder) ||
          readFileSync(`/proc/${pid}/environ`, 'utf8').includes(folder)
        return inside ? [`${pid} ${command}`] : []
      } catch {
        return []
      }
    })
}

/** What a connection to the server first gets back, given what is sent; undefined where nothing listens. */
export async function firstReply(url: string, hello: string | Uint8Array): Promise<string | undefined> {
  const { hostname, port } = new URL(url)
  return await new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname, () => socket.write(hello))
    socket.once('data', (chunk) => {
      socket.destroy()
      resolve(chunk.toString())
    })
    socket.once('error', () => resolve(undefined))
    socket.once('close', () => resolve(undefined))
  })
}

/** PostgreSQL's SSLRequest, which a server without TLS answers with one N. */
const sslRequest = Uint8Array.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f)

export async function answers(url: string): Promise<boolean> {
  const reply = url.startsWith('postgres')
    ? await firstReply(url, sslRequest)
    : await firstReply(url, '*1\r\n$4\r\nPING\r\n')
  return reply === 'N' || reply === '+PONG\r\n'
}

export async function eventually(holds: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<boolean> {
  const end = performance.now() + withinMs
  while (performance.now() < end) {
    if (await holds()) return true
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return await holds()
}
