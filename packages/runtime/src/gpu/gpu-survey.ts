import { type GpuInstance, gpuInstances } from './gpu-instances.ts'
import { type GpuRow, gpuRows } from './gpu-rows.ts'
import type { NvidiaSmi, NvidiaSmiAnswer } from './nvidia-smi.ts'

/** Memory that work on a GPU shares: a whole GPU's, or one GPU instance's of a GPU that is split by MIG. */
export interface GpuMemory {
  /** The uuid, or `<uuid>/gi<n>`. Not the index: `CUDA_VISIBLE_DEVICES` and a lost GPU renumber. */
  readonly key: string
  readonly uuid: string
  /** Number of the GPU instance, where the GPU is split. */
  readonly instance?: number
  readonly name: string
  /** Without what the driver reserves for itself. */
  readonly totalBytes: number
  readonly usedBytes: number
  /** Share of the time that a kernel ran; null where it is not told, as for instances. */
  readonly utilizationRatio: number | null
  /** Who uses it, as far as the tool says. */
  readonly processes: readonly GpuProcess[]
}

/** A process on a GPU. */
export interface GpuProcess {
  readonly pid: number
  /** Null where it is not told. */
  readonly usedBytes: number | null
}

/** Why nothing is known about any GPU. Never taken for "nothing is used". */
export type GpuUnavailable =
  | 'not-installed'
  /** "couldn't communicate with the NVIDIA driver" */
  | 'no-driver'
  /** "Unable to determine the device handle", "GPU is lost" */
  | 'device-lost'
  /** "No devices were found" */
  | 'no-devices'
  | 'timed-out'
  | 'flooded'
  /** It ended with another code than zero, and said none of the above. */
  | 'failed'
  /** It ended well, and nothing that it wrote could be understood. */
  | 'garbled'

/** A look at all GPUs of the machine. */
export type GpuSurvey =
  | {
      readonly outcome: 'read'
      readonly gpus: readonly GpuMemory[]
      /** GPUs of which the tool does not tell the memory, as `[N/A]` or `[Unknown Error]`; and rows that are none, as ''. */
      readonly unreadable: readonly string[]
    }
  | { readonly outcome: 'unavailable'; readonly reason: GpuUnavailable; readonly exitCode?: number }

const columns = 'index,uuid,memory.total,memory.used,memory.free,memory.reserved,utilization.gpu,mig.mode.current,name'
/** Drivers before 510 do not know `memory.reserved`, those before 450 no MIG; their `used` includes what is reserved. */
const columnsOfOldDrivers = 'index,uuid,memory.total,memory.used,memory.free,utilization.gpu,name'

const FORMAT = '--format=csv,noheader,nounits'

/** Data is whole, and a GPU's memory of its own serial number is damaged (man page, "return code 14"). */
const INFOROM_CORRUPTED = 14

/** Asks for memory and processes: two calls, and a third where a GPU is split. */
export async function surveyGpus(smi: NvidiaSmi): Promise<GpuSurvey> {
  let isOld = false
  let answer = await smi([`--query-gpu=${columns}`, FORMAT])
  if (answer.outcome === 'exited' && /not a valid field to query/.test(answer.stdout + answer.stderr)) {
    isOld = true
    answer = await smi([`--query-gpu=${columnsOfOldDrivers}`, FORMAT])
  }
  const text = textOf(answer)
  if (typeof text !== 'string') return text
  const rows = gpuRows(text, isOld)
  const readable = rows.filter((row) => row !== undefined)
  if (readable.length === 0) return { outcome: 'unavailable', reason: 'garbled' }

  const processes = await processesByGpu(smi)
  const isSplit = readable.some(({ mig }) => mig === 'enabled')
  const instances = isSplit ? await instancesByGpu(smi) : new Map<string, readonly GpuInstance[]>()
  const gpus: GpuMemory[] = []
  const unreadable: string[] = rows.filter((row) => row === undefined).map(() => '')
  for (const row of readable) {
    const ofRow = instances.get(row.uuid)
    // Of a split GPU the row sums its instances up, each of which is full on its own.
    if (row.mig === 'enabled' && ofRow === undefined) unreadable.push(row.uuid)
    else if (ofRow !== undefined && ofRow.length > 0) {
      for (const one of ofRow) gpus.push(instanceMemory(row, one))
    } else {
      const memory = wholeMemory(row, processes.get(row.uuid) ?? [])
      if (memory === undefined) unreadable.push(row.uuid)
      else gpus.push(memory)
    }
  }
  return { outcome: 'read', gpus, unreadable }
}

/** What it wrote, or why that says nothing. */
function textOf(answer: NvidiaSmiAnswer): string | Extract<GpuSurvey, { readonly outcome: 'unavailable' }> {
  const unavailable = (reason: GpuUnavailable) => ({ outcome: 'unavailable', reason }) as const
  if (answer.outcome === 'not-started') return unavailable('not-installed')
  if (answer.outcome !== 'exited') return unavailable(answer.outcome)
  const { exitCode, stdout, stderr } = answer
  // Complaints come on either stream, some of them with exit code zero.
  const said = `${stdout}\n${stderr}`
  const reason = complaints.find(([pattern]) => pattern.test(said))?.[1]
  if (reason !== undefined) return { ...unavailable(reason), exitCode }
  if (exitCode !== 0 && exitCode !== INFOROM_CORRUPTED) return { ...unavailable('failed'), exitCode }
  return stdout
}

const complaints: readonly (readonly [RegExp, GpuUnavailable])[] = [
  [
    /couldn't communicate with the NVIDIA driver|Driver\/library version mismatch|Failed to initialize NVML/i,
    'no-driver'
  ],
  [/Unable to determine the device handle|GPU is lost/i, 'device-lost'],
  [/No devices were found/i, 'no-devices']
]

function wholeMemory(row: GpuRow, processes: readonly GpuProcess[]): GpuMemory | undefined {
  const { uuid, name, utilizationRatio } = row
  if (row.totalBytes === null || row.usedBytes === null) return undefined
  const totalBytes = row.totalBytes - (row.reservedBytes ?? 0)
  if (totalBytes <= 0) return undefined
  return { key: uuid, uuid, name, totalBytes, usedBytes: row.usedBytes, utilizationRatio, processes }
}

function instanceMemory(row: GpuRow, one: GpuInstance): GpuMemory {
  const { uuid, name } = row
  const { instance, totalBytes, usedBytes, processes } = one
  return {
    key: `${uuid}/gi${instance}`,
    uuid,
    instance,
    name,
    totalBytes,
    usedBytes,
    utilizationRatio: null,
    processes
  }
}

/** Empty where the tool does not say: then all memory is the device's. */
async function processesByGpu(smi: NvidiaSmi): Promise<ReadonlyMap<string, readonly GpuProcess[]>> {
  const text = textOf(await smi(['--query-compute-apps=pid,used_memory,gpu_uuid', FORMAT]))
  const found = new Map<string, GpuProcess[]>()
  if (typeof text !== 'string') return found
  for (const line of text.split('\n')) {
    const [pid, used, uuid] = line.split(',').map((cell) => cell.trim())
    if (pid === undefined || !/^[1-9]\d{0,9}$/.test(pid) || uuid === undefined || used === undefined) continue
    const usedBytes = /^\d{1,9}$/.test(used) ? Number(used) * 1_048_576 : null
    found.set(uuid, [...(found.get(uuid) ?? []), { pid: Number(pid), usedBytes }])
  }
  return found
}

async function instancesByGpu(smi: NvidiaSmi): Promise<ReadonlyMap<string, readonly GpuInstance[]>> {
  const text = textOf(await smi(['-q', '-x']))
  return typeof text === 'string' ? gpuInstances(text) : new Map()
}
