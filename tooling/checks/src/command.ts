import { spawn } from 'node:child_process'
import path from 'node:path'
import process from 'node:process'
import { root } from './gate.ts'

export interface Ended {
  /** Exit status; 124 after a time-out, 127 where the program is missing. */
  readonly status: number
  /** Standard output and standard error as they came. */
  readonly output: string
}

export interface CommandOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly timeoutMs?: number
}

/** Runs a command to its end, quietly. Programs of the root's node_modules go by their bare names. */
export async function command(name: string, args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  const { cwd = root, env = process.env, timeoutMs } = options
  const search = [path.join(root, 'node_modules/.bin'), env['PATH']].join(path.delimiter)
  const child = spawn(name, args, {
    cwd,
    env: { ...env, PATH: search, NO_COLOR: '1', FORCE_COLOR: undefined },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  let status: number | undefined
  const keep = (chunk: Buffer): void => {
    output += chunk.toString()
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          status = 124
          output += `\n${name} did not end within ${timeoutMs} ms`
          child.kill('SIGKILL')
        }, timeoutMs)
  return await new Promise((resolve) => {
    child.once('error', (error) => {
      status = 127
      output += error.message
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ status: status ?? code ?? 1, output })
    })
  })
}

/** Does the work for every item, so many at a time, and keeps the order of the results. */
export async function eachOf<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++
      results[index] = await work(items[index] as T)
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane))
  return results
}
