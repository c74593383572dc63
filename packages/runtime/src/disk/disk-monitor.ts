import { statfs as statfsOfNode } from 'node:fs/promises'
import { type Platform, parseOptions, reporter, systemPlatform, type Timer } from '@enablement/core'
import { z } from 'zod'
import { type MemoryLevel, type MemoryThresholds, memoryThresholds } from '../monitor/memory-monitor.ts'
import { thresholdsSchema } from '../monitor/thresholds-schema.ts'
import type { DiskMonitorEvent, DiskReading } from './disk-event.ts'
import { diskSpaceOf, type FileSystemStat, levelAfter } from './disk-space.ts'

/** What is watched, and how often. */
export interface DiskMonitorOptions {
  /** A folder of the file system. */
  readonly root: string
  /** Default 5 s. */
  readonly intervalMs?: number
  /** Default: warning from 0.80, critical from 0.95, of bytes and of inodes. */
  readonly thresholds?: MemoryThresholds
  /** Room that must stay free, as for a checkpoint on the same disk: twice the last one is a good measure. Default 0. */
  readonly keepFreeBytes?: number
  readonly observe?: (event: DiskMonitorEvent) => void
  readonly statfs?: (root: string) => Promise<FileSystemStat>
  readonly platform?: Platform
}

/** Watches a file system until it is closed. */
export interface DiskMonitor extends AsyncDisposable {
  /** What was read last; undefined before the first answer. */
  reading(): DiskReading | undefined
  /** Whether no look has succeeded for three intervals. */
  isStale(): boolean
  /** Looks now. Undefined when the file system did not give a sensible answer. */
  check(): Promise<DiskReading | undefined>
  /** Ends the watching. A look under way is not waited for: on a dead network file system it may never end. */
  close(): Promise<void>
}

export const callbackSchema = z.custom<() => void>((value) => typeof value === 'function', 'must be a function')
export const portSchema = z.custom<object>((value) => typeof value === 'object' && value !== null, 'must be an object')

export const monitorFields = {
  root: z
    .string()
    .startsWith('/')
    .refine((root) => !root.includes('\0'), 'must not contain a NUL character'),
  intervalMs: z.int().min(10).max(3_600_000).optional(),
  thresholds: thresholdsSchema.optional(),
  keepFreeBytes: z.int().min(0).optional(),
  observe: callbackSchema.optional(),
  statfs: callbackSchema.optional(),
  platform: portSchema.optional()
}
const schema = z.strictObject(monitorFields) as unknown as z.ZodType<DiskMonitorOptions>

const INTERVAL_MS = 5_000

const STALE_INTERVALS = 3

/** Watches the file system of `root`, from now on. Throws `INVALID_OPTIONS`. */
export function createDiskMonitor(options: DiskMonitorOptions): DiskMonitor {
  const checked = parseOptions(schema, 'createDiskMonitor', options)
  return startDiskMonitor(checked, reporter(checked.observe), () => undefined)
}

/** `onReading` hears of every look that succeeded, after the event about it. It must not throw. */
export function startDiskMonitor(
  options: Omit<DiskMonitorOptions, 'observe'>,
  report: (event: DiskMonitorEvent) => void,
  onReading: (reading: DiskReading) => void
): DiskMonitor {
  const { root, intervalMs = INTERVAL_MS, thresholds = memoryThresholds, keepFreeBytes = 0 } = options
  const { statfs = statfsOfNode, platform = systemPlatform } = options
  const { clock } = platform
  let level: MemoryLevel = 'normal'
  let last: DiskReading | undefined
  let succeededAt = clock.monotonic()
  let looking: Promise<DiskReading | undefined> | undefined
  let told: ReadonlySet<'stale' | 'unreadable'> = new Set()
  let timer: Timer | undefined
  let closed = false

  const tellOnce = (what: 'stale' | 'unreadable', event: DiskMonitorEvent): void => {
    if (closed || told.has(what)) return
    told = new Set([...told, what])
    report(event)
  }

  const isStale = (): boolean => clock.monotonic() - succeededAt > intervalMs * STALE_INTERVALS

  const look = async (): Promise<DiskReading | undefined> => {
    let stat: FileSystemStat
    try {
      stat = await statfs(root)
    } catch (error) {
      tellOnce('unreadable', { type: 'disk.unreadable', root, error })
      return undefined
    }
    const space = diskSpaceOf(stat, keepFreeBytes)
    if (space === undefined) {
      const error = new RangeError(`statfs of ${root} gave counts that bound nothing`)
      tellOnce('unreadable', { type: 'disk.unreadable', root, error })
      return undefined
    }
    if (closed) return last
    const before = level
    level = levelAfter(before, space.usedRatio, thresholds)
    succeededAt = clock.monotonic()
    told = new Set()
    last = { ...space, level, ...(level === before ? {} : { changedFrom: before }), at: succeededAt }
    if (level !== before) report({ type: `disk.${level}`, root, reading: last })
    onReading(last)
    return last
  }

  const lookOnce = (): Promise<DiskReading | undefined> => {
    looking ??= look().finally(() => {
      looking = undefined
    })
    return looking
  }

  const tick = (): void => {
    if (closed) return
    timer = clock.startTimer(intervalMs, tick, { background: true })
    if (isStale()) tellOnce('stale', { type: 'disk.stale', root })
    void lookOnce()
  }
  tick()

  const check = async (): Promise<DiskReading | undefined> => {
    // The look under way may have read what was before this call.
    await looking
    return lookOnce()
  }

  const close = async (): Promise<void> => {
    closed = true
    timer?.cancel()
  }
  return { reading: () => last, isStale, check, close, [Symbol.asyncDispose]: close }
}
