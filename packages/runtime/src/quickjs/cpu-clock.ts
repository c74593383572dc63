import process from 'node:process'
import { systemClock } from '@enablement/core'

/** In Node from 23.9 on. */
const { threadCpuUsage } = process as unknown as {
  readonly threadCpuUsage?: () => { readonly user: number; readonly system: number }
}

/**
 * Milliseconds of processor time that this thread has used, with a fraction. Before Node 23.9 the time that has passed:
 * the guest is then also charged for what it waited for a processor.
 */
export function cpuClock(): number {
  if (threadCpuUsage === undefined) return systemClock.monotonic()
  const { user, system } = threadCpuUsage()
  return (user + system) / 1_000
}
