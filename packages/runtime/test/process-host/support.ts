import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import type { ConsoleLine, HostCall, HostSandbox, SandboxHooks, SandboxSpec } from '@enablement/runtime'
import { mebibytes } from '@enablement/runtime'
import { type ProcessHost, type ProcessHostOptions, processHost } from '@enablement/runtime/process'
import { ensureBubblewrap } from '@enablement/services'
import { inject } from 'vitest'

/** Under it Node starts, and bombs end soon. */
export const limitBytes = mebibytes(128)

export const bwrap = process.platform === 'linux' ? await ensureBubblewrap() : ''

const both: readonly (readonly [string, ProcessHostOptions])[] = [
  ['bubblewrap', { bwrap }],
  ['none', { isolation: 'none' }]
]

/** Both isolations, of which the built output shows one; what only one can do is tested with that one. */
export const isolations = both.slice(0, inject('scale') >= 1 ? 2 : 1)

export interface Guest {
  readonly sandbox: HostSandbox
  readonly lines: readonly ConsoleLine[]
  readonly calls: readonly HostCall[]
}

let opened = 0

export const specOf = (fields: Partial<SandboxSpec> = {}): SandboxSpec => {
  opened += 1
  const memoryLimitBytes = fields.memoryLimitBytes ?? limitBytes
  return {
    sandboxId: `sandbox-${opened}`,
    incarnation: 1,
    memoryLimitBytes,
    criticalAtBytes: Math.floor(memoryLimitBytes * 0.95),
    criticalClearBytes: Math.floor(memoryLimitBytes * 0.88),
    hostFunctions: ['echo'],
    seed: new Uint8Array(16).fill(7),
    now: () => 1_700_000_000_000,
    ...fields
  }
}

export function listening(): {
  readonly hooks: SandboxHooks
  readonly lines: ConsoleLine[]
  readonly calls: HostCall[]
} {
  const lines: ConsoleLine[] = []
  const calls: HostCall[] = []
  return {
    lines,
    calls,
    hooks: {
      onCall: (call) => void calls.push(call),
      onConsole: (line) => void lines.push(line),
      onPressure: () => undefined
    }
  }
}

export async function openGuest(host: ProcessHost, fields: Partial<SandboxSpec> = {}): Promise<Guest> {
  const { hooks, lines, calls } = listening()
  return { sandbox: await host.create(specOf(fields), hooks), lines, calls }
}

/** A folder for a test's leases, so that tests beside it are not reaped. */
export function temporary(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'process-host-'))
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

export const hostOf = (options: ProcessHostOptions, folder: string): ProcessHost =>
  processHost({ ...options, stateFolder: path.join(folder, 'state') })

/** Ids of processes with this text in their environment or on their command line; the test's own threads do not count. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => {
      try {
        // A process that has ended and was not collected has neither.
        return ['cmdline', 'environ'].some((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(text))
      } catch {
        return false
      }
    })
}

/** Waits for what the kernel brings about; a test's own timeout bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

/** What a process of another user needs of ours, where it can read it. */
export function readableTools(folder: string): { readonly node: string; readonly bwrap: string } {
  chmodSync(folder, 0o755)
  const tools = path.join(folder, 'tools')
  mkdirSync(tools)
  cpSync(path.dirname(realpathSync(bwrap)), path.join(tools, 'bubblewrap'), {
    recursive: true,
    filter: (source) => !source.startsWith('/usr/bin/') || source === realpathSync(bwrap)
  })
  const isOpen = spawnSync('test', ['-x', process.execPath], { uid: 65_534, gid: 65_534 }).status === 0
  const node = isOpen ? process.execPath : path.join(tools, 'node')
  if (!existsSync(node)) copyFileSync(process.execPath, node)
  return { node, bwrap: path.join(tools, 'bubblewrap', path.basename(realpathSync(bwrap))) }
}
