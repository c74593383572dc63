import { spawnSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'

interface Running {
  readonly parent: number
  /** File name of the program: `node`, `pnpm`, `dash`. */
  readonly program: string
  /** Tells a process from a later one with the same id. */
  readonly started: string
}

const linux = process.platform === 'linux'

/** undefined: no such process, or one that has ended and waits to be reaped, or not ours to look at. */
function inspect(pid: number): Running | undefined {
  try {
    if (linux) {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      // The name is in parentheses and may hold anything; the state, parent and (20th) start time come after it.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (fields[0] === 'Z' || fields[0] === 'X') return undefined
      const program = path.basename(readlinkSync(`/proc/${pid}/exe`)).replace(/ \(deleted\)$/, '')
      return { parent: Number(fields[1]), program, started: fields[19] ?? '' }
    }
    const listed = spawnSync('ps', ['-o', 'ppid=,comm=', '-p', String(pid)], { encoding: 'utf8' }).stdout
    const [, parent, command] = /^\s*(\d+)\s+(.+?)\s*$/m.exec(listed) ?? []
    if (parent === undefined || command === undefined) return undefined
    return { parent: Number(parent), program: path.basename(command), started: '' }
  } catch {
    return undefined
  }
}

const runner = /^(node|npm|npx|pnpm|corepack)\b/
const shell = /^(sh|dash|bash|zsh|ash|busybox)$/

/** npm, pnpm and node above this process, with the shells between them; the shell a person types in is not one. */
function commandAbove(): ReadonlyMap<number, Running> {
  const chain: [number, Running][] = []
  let pid = process.ppid
  while (pid > 1) {
    const running = inspect(pid)
    if (running === undefined || !(runner.test(running.program) || shell.test(running.program))) break
    chain.push([pid, running])
    pid = running.parent
  }
  while (chain.length > 0 && shell.test(chain.at(-1)?.[1].program ?? '')) chain.pop()
  return new Map(chain)
}

/** How often the ancestors are looked at, and how long this process may take to end by itself. */
const lookMs = 500
const graceMs = 5_000

/**
 * Ends this process (SIGTERM, then exit 143) when a command above it is killed: a SIGKILL of `npm test` reaches npm
 * alone, and what npm had started would run on to its end, servers included. Returns a function that stops watching.
 */
export function endWithAncestors(): () => void {
  const above = commandAbove()
  const stillThere = (): boolean => {
    for (const [pid, then] of above) {
      if (linux) {
        if (inspect(pid)?.started !== then.started) return false
      } else {
        try {
          process.kill(pid, 0)
        } catch {
          return false
        }
      }
    }
    return true
  }
  const timer = setInterval(() => {
    if (stillThere()) return
    clearInterval(timer)
    setTimeout(() => process.exit(143), graceMs)
    process.kill(process.pid, 'SIGTERM')
  }, lookMs)
  timer.unref()
  return () => clearInterval(timer)
}
