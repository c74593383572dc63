import { type ChildProcess, spawn } from 'node:child_process'
import process from 'node:process'
import { createInterface } from 'node:readline'

/** A process that a test has started. */
export interface Child {
  /** Whether it has ended. Throws when it has done so by a fault of its own. */
  hasEnded(): boolean
  /** Resolves with the first line that begins so, and rejects when the process ends without one. */
  said(beginning: string): Promise<string>
  /** Ends it, and resolves when it has ended. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
}

/**
 * Processes that end with the test: each reads a pipe that closes when its parent dies, however that happens; see
 * `endWithParent`.
 */
export function childProcesses(): { start(program: string, args: readonly string[]): Child; endAll(): Promise<void> } {
  const running = new Set<ChildProcess>()
  const end = async (child: ChildProcess, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    running.delete(child)
    if (child.exitCode !== null || child.signalCode !== null) return
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.kill(signal)
    })
  }
  return {
    start(program, args) {
      const child = spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
      running.add(child)
      const lines: string[] = []
      const listeners = new Set<() => void>()
      const told = (): void => {
        for (const listener of listeners) listener()
      }
      let ended = false
      const reader = createInterface({ input: child.stdout })
      reader.on('line', (line) => {
        lines.push(line)
        told()
      })
      child.once('exit', () => {
        ended = true
        told()
      })
      return {
        hasEnded() {
          if (ended && child.signalCode !== 'SIGKILL') throw new Error(`the process ended with ${child.exitCode}`)
          return ended
        },
        said: (beginning) =>
          new Promise((resolve, reject) => {
            const look = (): void => {
              const line = lines.find((one) => one.startsWith(beginning))
              if (line === undefined && !ended) return
              listeners.delete(look)
              if (line === undefined) reject(new Error(`the process ended before it said ${beginning}`))
              else resolve(line)
            }
            listeners.add(look)
            look()
          }),
        end: (signal) => end(child, signal)
      }
    },
    async endAll() {
      await Promise.all([...running].map((child) => end(child, 'SIGKILL')))
    }
  }
}
