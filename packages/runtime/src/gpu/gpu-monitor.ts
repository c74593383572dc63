import { type Platform, parseOptions, reporter, systemPlatform, type Timer } from '@enablement/core'
import { z } from 'zod'
import {
  createMemoryMonitor,
  type MemoryMonitor,
  type MemoryReading,
  type MemoryThresholds,
  memoryThresholds
} from '../monitor/memory-monitor.ts'
import { thresholdsSchema } from '../monitor/thresholds-schema.ts'
import { type GpuMemory, type GpuSurvey, type GpuUnavailable, surveyGpus } from './gpu-survey.ts'
import { type NvidiaSmi, nvidiaSmi } from './nvidia-smi.ts'

/** A sandbox that may use a GPU. */
export interface GpuUser {
  readonly sandboxId: string
  /** Ids on the host, as `HostSandbox.processes()` gives them. */
  processes(): readonly number[]
}

/** How one GPU, or one instance of a split GPU, stands. */
export interface GpuReading
  extends GpuMemory,
    Omit<MemoryReading, 'usedBytes' | 'limitBytes' | 'nextSampleMs' | 'exceeded'> {
  /** `device-wide`: the tool told no process and its memory, so that no one can be held to account. */
  readonly attribution: 'by-process' | 'device-wide'
  /** What the processes of each sandbox use. */
  readonly sandboxes: readonly { readonly sandboxId: string; readonly usedBytes: number }[]
  /** The rest: other processes, the driver, and whatever is not attributed. */
  readonly deviceWideBytes: number
}

/** A look at all GPUs. */
export type GpuState =
  | { readonly outcome: 'read'; readonly gpus: readonly GpuReading[]; readonly unreadable: readonly string[] }
  | Extract<GpuSurvey, { readonly outcome: 'unavailable' }>

/** What a GPU monitor tells, by `type`. */
export type GpuEvent =
  | { readonly type: 'gpu.warning' | 'gpu.critical' | 'gpu.normal'; readonly reading: GpuReading }
  /** Told once, until GPUs can be read again or the reason changes. */
  | { readonly type: 'gpu.unavailable'; readonly reason: GpuUnavailable; readonly exitCode?: number }
  | { readonly type: 'gpu.available' }
  /** A GPU that was read before is not there, or not readable, any more. */
  | { readonly type: 'gpu.lost'; readonly key: string }
  /** No look has ended for three intervals. Told once until one does. */
  | { readonly type: 'gpu.stale' }

/** What is watched, and how often. */
export interface GpuMonitorOptions {
  /** Default: `nvidiaSmi()`. */
  readonly smi?: NvidiaSmi
  /** Default 5 s: a call takes some 30 ms, and seconds where the driver is not kept loaded. */
  readonly intervalMs?: number
  readonly thresholds?: MemoryThresholds
  /** Whom memory is attributed to. */
  readonly users?: () => Iterable<GpuUser>
  readonly observe?: (event: GpuEvent) => void
  readonly platform?: Platform
}

/** Watches the machine's GPUs until it is closed. */
export interface GpuMonitor extends AsyncDisposable {
  /** What was read last; undefined before the first look has ended. */
  state(): GpuState | undefined
  isStale(): boolean
  /** Looks now. */
  check(): Promise<GpuState>
  close(): Promise<void>
}

const callback = z.custom<() => void>((value) => typeof value === 'function', 'must be a function')
const port = z.custom<object>((value) => typeof value === 'object' && value !== null, 'must be an object')
const schema = z.strictObject({
  smi: callback.optional(),
  intervalMs: z.int().min(10).max(3_600_000).optional(),
  thresholds: thresholdsSchema.optional(),
  users: callback.optional(),
  observe: callback.optional(),
  platform: port.optional()
}) as unknown as z.ZodType<GpuMonitorOptions>

const INTERVAL_MS = 5_000

const STALE_INTERVALS = 3

/** Watches the memory of all NVIDIA GPUs of the machine, from now on. Throws `INVALID_OPTIONS`. */
export function createGpuMonitor(options: GpuMonitorOptions = {}): GpuMonitor {
  const checked = parseOptions(schema, 'createGpuMonitor', options)
  const { intervalMs = INTERVAL_MS, thresholds = memoryThresholds, users, platform = systemPlatform } = checked
  const { smi = nvidiaSmi({ platform }) } = checked
  const { clock } = platform
  const report = reporter(checked.observe)
  const monitors = new Map<string, { readonly monitor: MemoryMonitor; readonly totalBytes: number }>()
  let state: GpuState | undefined
  let endedAt = clock.monotonic()
  let isStaleTold = false
  let looking: Promise<GpuState> | undefined
  let timer: Timer | undefined
  let closed = false

  const monitorOf = ({ key, totalBytes }: GpuMemory): MemoryMonitor => {
    const known = monitors.get(key)
    // Another total is another measure: error correction was switched, or the GPU split anew.
    if (known?.totalBytes === totalBytes) return known.monitor
    const monitor = createMemoryMonitor(totalBytes, thresholds)
    monitors.set(key, { monitor, totalBytes })
    return monitor
  }

  const read = (memory: GpuMemory, owners: ReadonlyMap<number, string>): GpuReading => {
    const sample = monitorOf(memory).observe({ usedBytes: memory.usedBytes, at: clock.monotonic() })
    const { usedBytes: _used, limitBytes: _limit, nextSampleMs: _next, exceeded: _exceeded, ...level } = sample
    return { ...memory, ...level, ...attributed(memory, owners) }
  }

  const look = async (): Promise<GpuState> => {
    const survey = await surveyGpus(smi)
    if (closed) return state ?? (survey as GpuState)
    const before = state
    endedAt = clock.monotonic()
    isStaleTold = false
    if (survey.outcome === 'unavailable') {
      state = survey
      if (before?.outcome !== 'unavailable' || before.reason !== survey.reason) {
        const { outcome: _outcome, ...why } = survey
        report({ type: 'gpu.unavailable', ...why })
      }
      return survey
    }
    if (before?.outcome === 'unavailable') report({ type: 'gpu.available' })
    const owners = ownersOf(users)
    const gpus = survey.gpus.map((memory) => read(memory, owners))
    const seen: GpuState = { outcome: 'read', gpus, unreadable: survey.unreadable }
    state = seen
    for (const reading of gpus) if (reading.changedFrom !== undefined) report({ type: `gpu.${reading.level}`, reading })
    for (const key of monitors.keys()) {
      if (gpus.some((reading) => reading.key === key)) continue
      monitors.delete(key)
      report({ type: 'gpu.lost', key })
    }
    return seen
  }

  const lookOnce = (): Promise<GpuState> => {
    looking ??= look().finally(() => {
      looking = undefined
    })
    return looking
  }

  const isStale = (): boolean => clock.monotonic() - endedAt > intervalMs * STALE_INTERVALS

  const tick = (): void => {
    if (closed) return
    timer = clock.startTimer(intervalMs, tick, { background: true })
    if (isStale() && !isStaleTold) {
      isStaleTold = true
      report({ type: 'gpu.stale' })
    }
    void lookOnce()
  }
  tick()

  const check = async (): Promise<GpuState> => {
    // The look under way may have read what was before this call.
    await looking
    return lookOnce()
  }

  const close = async (): Promise<void> => {
    closed = true
    timer?.cancel()
  }
  return { state: () => state, isStale, check, close, [Symbol.asyncDispose]: close }
}

function own(owners: Map<number, string>, user: GpuUser): void {
  try {
    for (const pid of user.processes()) owners.set(pid, user.sandboxId)
  } catch {
    // It is gone, and has no processes.
  }
}

function ownersOf(users: GpuMonitorOptions['users']): ReadonlyMap<number, string> {
  const owners = new Map<number, string>()
  try {
    for (const user of users?.() ?? []) own(owners, user)
  } catch {
    // Nobody can be named; what they use is then the device's.
  }
  return owners
}

function attributed(
  { processes, usedBytes }: GpuMemory,
  owners: ReadonlyMap<number, string>
): Pick<GpuReading, 'attribution' | 'sandboxes' | 'deviceWideBytes'> {
  const bySandbox = new Map<string, number>()
  for (const { pid, usedBytes: ofProcess } of processes) {
    const sandboxId = owners.get(pid)
    if (sandboxId === undefined || ofProcess === null) continue
    bySandbox.set(sandboxId, (bySandbox.get(sandboxId) ?? 0) + ofProcess)
  }
  const sandboxes = [...bySandbox].map(([sandboxId, used]) => ({ sandboxId, usedBytes: used }))
  const sum = sandboxes.reduce((total, one) => total + one.usedBytes, 0)
  return {
    attribution: processes.some((one) => one.usedBytes !== null) ? 'by-process' : 'device-wide',
    sandboxes,
    // The two calls are not of one moment, so that the parts may be more than the whole.
    deviceWideBytes: Math.max(0, usedBytes - sum)
  }
}
