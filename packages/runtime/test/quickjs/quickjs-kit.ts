import { mebibytes, type RunEnd, type SandboxSpec } from '@enablement/runtime'

const limit = mebibytes(8)

/** A spec of its own id. */
export function specOf(sandboxId: string, fields: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    sandboxId,
    incarnation: 1,
    memoryLimitBytes: limit,
    criticalAtBytes: limit,
    criticalClearBytes: limit,
    hostFunctions: ['echo'],
    seed: new Uint8Array(16).fill(5),
    now: () => 0,
    ...fields
  }
}

export const quiet = { onCall: () => {}, onConsole: () => {}, onPressure: () => {} }

export const completed = (json: string | undefined): RunEnd => ({ outcome: 'completed', json })

/** Counts the threads that are started from now on. */
export function threadCount(): { readonly started: number } & Disposable {
  let started = 0
  const count = (): void => {
    started += 1
  }
  process.on('worker', count)
  return {
    get started() {
      return started
    },
    [Symbol.dispose]: () => void process.off('worker', count)
  }
}
