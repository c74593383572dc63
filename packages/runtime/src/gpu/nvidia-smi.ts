import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'

/** How a call of `nvidia-smi` ended. */
export type NvidiaSmiAnswer =
  | { readonly outcome: 'exited'; readonly exitCode: number; readonly stdout: string; readonly stderr: string }
  /** `errno` such as `ENOENT`: there is no such program, or it may not be run. */
  | { readonly outcome: 'not-started'; readonly errno: string }
  /** It was killed; a driver that hangs may keep it for good, so that its end is not waited for. */
  | { readonly outcome: 'timed-out'; readonly timeoutMs: number }
  | { readonly outcome: 'flooded'; readonly limitBytes: number }

/** Runs `nvidia-smi` with arguments. Never rejects. */
export type NvidiaSmi = (args: readonly string[]) => Promise<NvidiaSmiAnswer>

/** How the program is run. */
export interface NvidiaSmiOptions {
  /** Default: `nvidia-smi` on the path. */
  readonly file?: string
  /** Default 5 s. */
  readonly timeoutMs?: number
  /** Bound of its output. Default 8 MiB: the long form takes some 30 KB a GPU. */
  readonly outputMaxBytes?: number
  readonly platform?: Platform
}

const schema: z.ZodType<NvidiaSmiOptions> = z.strictObject({
  file: z.string().min(1).optional(),
  timeoutMs: z.int().min(1).max(600_000).optional(),
  outputMaxBytes: z.int().min(1).max(1_073_741_824).optional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null, 'must be an object').optional()
}) as z.ZodType<NvidiaSmiOptions>

/** The program itself, as a child process in a group of its own, in the C locale. Throws `INVALID_OPTIONS`. */
export function nvidiaSmi(options: NvidiaSmiOptions = {}): NvidiaSmi {
  const checked = parseOptions(schema, 'nvidiaSmi', options)
  const { file = 'nvidia-smi', timeoutMs = 5_000, outputMaxBytes = 8_388_608, platform = systemPlatform } = checked

  return (args) =>
    new Promise((resolve) => {
      const env = { ...process.env, LC_ALL: 'C' }
      const notStarted = (error: NodeJS.ErrnoException): void =>
        resolve({ outcome: 'not-started', errno: error.code ?? 'EUNKNOWN' })
      let child: ChildProcessByStdio<null, Readable, Readable>
      try {
        child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true, windowsHide: true })
      } catch (error) {
        // What Node does not tell by an event, such as ENOMEM.
        return notStarted(error as NodeJS.ErrnoException)
      }
      child.on('error', notStarted)
      // Out of descriptors: the event is still to come.
      if (child.stdout === undefined) return
      const output: { readonly stdout: Buffer[]; readonly stderr: Buffer[] } = { stdout: [], stderr: [] }
      let bytes = 0

      const finish = (answer: NvidiaSmiAnswer): void => {
        timer.cancel()
        resolve(answer)
      }
      const abandon = (answer: NvidiaSmiAnswer): void => {
        killGroup(child.pid)
        child.stdout.destroy()
        child.stderr.destroy()
        child.unref()
        finish(answer)
      }
      const timer = platform.clock.startTimer(timeoutMs, () => abandon({ outcome: 'timed-out', timeoutMs }))
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > outputMaxBytes) abandon({ outcome: 'flooded', limitBytes: outputMaxBytes })
          else output[name].push(chunk)
        })
      }
      child.on('error', () => timer.cancel())
      child.on('close', (exitCode) =>
        finish({
          outcome: 'exited',
          // Killed by a signal of somebody else's: as shells count it, without the signal's number.
          exitCode: exitCode ?? 128,
          stdout: Buffer.concat(output.stdout).toString('utf8'),
          stderr: Buffer.concat(output.stderr).toString('utf8')
        })
      )
    })
}

/** A wrapper script's children too, which would otherwise hold the pipes. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
