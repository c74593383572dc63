import { type ChildProcess, spawn } from 'node:child_process'
import type { Duplex, Readable } from 'node:stream'
import type { Command } from './bubblewrap.ts'
import { STATUS_FD } from './bubblewrap.ts'
import { PIPE_FD } from './guest-protocol.ts'

/** Descriptor that a process waits on before it becomes the guest: by then it is in its group and on its lease. */
const GATE_FD = 5

/** Stays in the way until a byte comes, and goes away when none ever will because the host has gone. */
const GATE = `read -r _ <&${GATE_FD} || exit 1; exec ${GATE_FD}<&-; exec "$@"`

/** The first process of a sandbox, held at the gate. */
export interface Launched {
  readonly pid: number
  readonly pipe: Duplex
  readonly status: Readable
  readonly output: Readable
  readonly errors: Readable
  /** Lets it become what it is to be. */
  release(): void
  /** Resolves when the first process has ended. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  readonly child: ChildProcess
}

/** Starts a command behind a gate, with nothing of the host's environment. Rejects when it cannot be started. */
export async function launch(
  command: Command,
  options: { readonly environment: Readonly<Record<string, string>>; readonly folder: string }
): Promise<Launched> {
  const child = spawn('/bin/sh', ['-c', GATE, 'sh', command.program, ...command.args], {
    cwd: options.folder,
    env: options.environment,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    // A group of its own: what a terminal sends to the host's group is for the host.
    detached: true
  })
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })
  const pipe = child.stdio[PIPE_FD] as Duplex
  const status = child.stdio[STATUS_FD] as Duplex
  const gate = (child.stdio as readonly unknown[])[GATE_FD] as Duplex
  // What a process that has ended cannot be told is no news; its end is.
  for (const stream of [pipe, status, gate]) stream.on('error', () => undefined)
  return {
    pid: child.pid as number,
    pipe,
    status,
    output: child.stdout as Readable,
    errors: child.stderr as Readable,
    release: () => gate.end('\n'),
    exited,
    child
  }
}
