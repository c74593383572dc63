import { type Clock, sleep } from '@enablement/core'

/** Catalog RT-1: what a checkpoint may take. */
export const CHECKPOINT_BUDGET_MS = 5_000

/** `work`, or an error once it has taken longer than `budgetMs`. What it does then goes unheard. */
export async function within<T>(clock: Clock, budgetMs: number, work: Promise<T>): Promise<T> {
  const over = new AbortController()
  try {
    return await Promise.race([
      work,
      sleep(clock, budgetMs, { signal: over.signal }).then(() => {
        throw new Error(`it took longer than ${budgetMs} ms`)
      })
    ])
  } finally {
    over.abort()
  }
}
