import { totalmem } from 'node:os'

/**
 * What this process may use by Node's account: its container's limit, else undefined. Where there is none libuv hands
 * on what the kernel says for "unlimited" (1.8e19), or zero; whatever exceeds the machine's memory is no limit.
 */
export function constrainedMemoryBytes(
  constrainedBytes: number = process.constrainedMemory(),
  machineBytes: number = totalmem()
): number | undefined {
  return constrainedBytes > 0 && constrainedBytes <= machineBytes ? constrainedBytes : undefined
}
