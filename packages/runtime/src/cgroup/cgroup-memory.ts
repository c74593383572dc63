import { join } from 'node:path'
import type { CgroupMemory } from './cgroup.ts'
import type { CgroupKernel } from './cgroup-kernel.ts'
import { attempt, refusal, refusalOf } from './refusal.ts'

/** The memory controller of one group, of either version. */
export interface MemoryController {
  readonly version: 'v1' | 'v2'
  readonly folder: string
  readonly canPauseOnOom: boolean
  read(): CgroupMemory | undefined
  /** Throws `CGROUP_REFUSED`; then the limit is what it was. */
  setLimit(bytes: number): void
  /** Throws `CGROUP_REFUSED`. */
  pauseOnOom(): void
}

/** Share of the limit from which v2 throttles a group that is to be paused instead of killed. */
const HIGH_RATIO = 0.95

/** v1 says 9223372036854771712 for "unlimited", which a `number` rounds; nothing real is as large as half of it. */
const UNLIMITED_FROM = 2n ** 62n

/** The controller of `folder`, told by the files in it. */
export function memoryControllerOf(kernel: CgroupKernel, mount: string, folder: string): MemoryController | undefined {
  if (kernel.exists(join(folder, 'memory.current'))) return v2(kernel, mount, folder)
  if (kernel.exists(join(folder, 'memory.usage_in_bytes'))) return v1(kernel, folder)
  return undefined
}

function v2(kernel: CgroupKernel, mount: string, folder: string): MemoryController {
  const at = (name: string): string => join(folder, name)
  // The limit of a group above binds as well: the own group of a container has none itself.
  const limitFiles: string[] = []
  for (let above = folder; ; above = join(above, '..')) {
    limitFiles.push(join(above, 'memory.max'))
    if (above === mount || above === '/') break
  }
  const canThrottle = kernel.exists(at('memory.high'))
  const isThrottled = (): boolean => canThrottle && bytesIn(kernel, at('memory.high')) !== undefined

  return {
    version: 'v2',
    folder,
    canPauseOnOom: kernel.canWrite(at('memory.high')) && kernel.canWrite(at('cgroup.freeze')),
    read() {
      const usageBytes = bytesIn(kernel, at('memory.current'))
      const limits = limitFiles.map((file) => limitIn(kernel, file))
      if (usageBytes === undefined || limits.includes('garbled')) return undefined
      const limitBytes = Math.min(...limits.map((limit) => (typeof limit === 'number' ? limit : Infinity)))
      const workingSetBytes = Math.max(0, usageBytes - (fieldIn(kernel, at('memory.stat'), 'inactive_file') ?? 0))
      const highBytes = bytesIn(kernel, at('memory.high'))
      return {
        usageBytes,
        workingSetBytes,
        ...(limitBytes === Infinity ? {} : { limitBytes }),
        ...optional('peakBytes', bytesIn(kernel, at('memory.peak'))),
        oomKills: fieldIn(kernel, at('memory.events'), 'oom_kill') ?? 0,
        underOom: highBytes !== undefined && workingSetBytes >= highBytes
      }
    },
    setLimit(bytes) {
      // The kernel would kill until the rest fits; v1 answers EBUSY, and so do we.
      const used = this.read()?.workingSetBytes ?? 0
      if (used > bytes) throw refusalOf('EBUSY', `the group uses ${used} of the ${bytes} bytes it would have`, folder)
      const before = limitIn(kernel, at('memory.max'))
      const max = { file: at('memory.max'), text: `${bytes}` }
      const high = isThrottled() ? [{ file: at('memory.high'), text: highOf(bytes) }] : []
      // Swap is no second memory: what the limit bounds is all that the group takes.
      const swap = kernel.exists(at('memory.swap.max')) ? [{ file: at('memory.swap.max'), text: '0' }] : []
      // What throttles stays below what kills at every moment.
      const isRaised = typeof before === 'number' && bytes > before
      writeAll(kernel, isRaised ? [max, ...high, ...swap] : [...high, max, ...swap])
    },
    pauseOnOom() {
      const limit = limitIn(kernel, at('memory.max'))
      if (typeof limit === 'number') writeAll(kernel, [{ file: at('memory.high'), text: highOf(limit) }])
    }
  }
}

function v1(kernel: CgroupKernel, folder: string): MemoryController {
  const at = (name: string): string => join(folder, name)
  const limitFile = at('memory.limit_in_bytes')
  const memswFile = at('memory.memsw.limit_in_bytes')

  return {
    version: 'v1',
    folder,
    canPauseOnOom: kernel.canWrite(at('memory.oom_control')),
    read() {
      const usageBytes = bytesIn(kernel, at('memory.usage_in_bytes'))
      const own = limitIn(kernel, limitFile)
      if (usageBytes === undefined || own === 'garbled') return undefined
      // The smallest of the limits of this group and those above it.
      const limitBytes = fieldIn(kernel, at('memory.stat'), 'hierarchical_memory_limit') ?? own
      const inactive =
        fieldIn(kernel, at('memory.stat'), 'total_inactive_file') ?? fieldIn(kernel, at('memory.stat'), 'inactive_file')
      return {
        usageBytes,
        workingSetBytes: Math.max(0, usageBytes - (inactive ?? 0)),
        ...optional('limitBytes', limitBytes),
        ...optional('peakBytes', bytesIn(kernel, at('memory.max_usage_in_bytes'))),
        // Not `memory.failcnt`: it stays at zero on kernels of today however often the limit is hit.
        oomKills: fieldIn(kernel, at('memory.oom_control'), 'oom_kill') ?? 0,
        underOom: fieldIn(kernel, at('memory.oom_control'), 'under_oom') === 1
      }
    },
    setLimit(bytes) {
      const before = limitIn(kernel, limitFile)
      const limit = { file: limitFile, text: `${bytes}` }
      const memsw = kernel.exists(memswFile) ? [{ file: memswFile, text: `${bytes}` }] : []
      // Memory and swap together can never be allowed less than memory alone: EINVAL.
      const isRaised = typeof before === 'number' && bytes > before
      writeAll(kernel, isRaised ? [...memsw, limit] : [limit, ...memsw])
    },
    pauseOnOom: () => writeAll(kernel, [{ file: at('memory.oom_control'), text: '1' }])
  }
}

const highOf = (limitBytes: number): string => `${Math.floor(limitBytes * HIGH_RATIO)}`

/** All of them, in this order, or none: what was written before one that is refused is put back. */
function writeAll(kernel: CgroupKernel, steps: readonly { readonly file: string; readonly text: string }[]): void {
  const undo: (() => void)[] = []
  for (const { file, text } of steps) {
    try {
      const before = kernel.read(file).trim()
      kernel.write(file, text)
      undo.push(() => kernel.write(file, before))
    } catch (error) {
      for (const putBack of undo.reverse()) attempt(putBack)
      throw refusal(`the kernel did not take ${text}`, file, error)
    }
  }
}

const optional = <Name extends string>(name: Name, bytes: number | undefined): { readonly [_ in Name]?: number } =>
  (bytes === undefined ? {} : { [name]: bytes }) as { readonly [_ in Name]?: number }

/** A count of bytes; undefined when the file is missing, holds something else, or means "unlimited". */
function bytesIn(kernel: CgroupKernel, path: string): number | undefined {
  const limit = limitIn(kernel, path)
  return typeof limit === 'number' ? limit : undefined
}

/** A file that is not there, as at the root of v2, sets no limit; one that cannot be understood may, so nothing is known. */
function limitIn(kernel: CgroupKernel, path: string): number | undefined | 'garbled' {
  const text = attempt(() => kernel.read(path))?.trim()
  if (text === undefined || text === 'max') return undefined
  if (!/^\d{1,20}$/.test(text)) return 'garbled'
  return BigInt(text) >= UNLIMITED_FROM ? undefined : Number(text)
}

/** The count behind a name in a file of `name count` lines. */
function fieldIn(kernel: CgroupKernel, path: string, name: string): number | undefined {
  const found = new RegExp(`^${name} (\\d{1,20})$`, 'm').exec(attempt(() => kernel.read(path)) ?? '')?.[1]
  return found === undefined || BigInt(found) >= UNLIMITED_FROM ? undefined : Number(found)
}
