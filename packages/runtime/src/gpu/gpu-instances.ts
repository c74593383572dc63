import { SaxesParser } from 'saxes'
import type { GpuProcess } from './gpu-survey.ts'

/** A GPU instance: a part of a split GPU with memory of its own, which its compute instances share. */
export interface GpuInstance {
  readonly instance: number
  readonly totalBytes: number
  readonly usedBytes: number
  readonly processes: readonly GpuProcess[]
}

interface Found {
  totalBytes: number
  usedBytes: number
  readonly processes: Map<number, number | null>
}

/**
 * The instances of every GPU, by uuid, out of `nvidia-smi -q -x`: the short form does not tell them. Each compute
 * instance is listed with the memory of the whole GPU instance; they are counted once. A GPU without an entry could not
 * be read; empty when the text is not well-formed to its end.
 */
export function gpuInstances(xml: string): ReadonlyMap<string, readonly GpuInstance[]> {
  const byGpu = new Map<string, Map<number, Found>>()
  const parser = new SaxesParser()
  const path: string[] = []
  let isSound = true
  let uuid = ''
  let instances = new Map<number, Found>()
  let processes: { instance: string; pid: string; used: string }[] = []
  let cells: Record<string, string> = {}
  let text = ''

  parser.on('error', () => {
    isSound = false
  })
  parser.on('opentag', ({ name }) => {
    path.push(name)
    text = ''
    if (path.length === 2 && name === 'gpu') {
      uuid = ''
      instances = new Map()
      processes = []
    }
    if (name === 'mig_device' || name === 'process_info') cells = {}
  })
  parser.on('text', (piece) => {
    text += piece
  })
  parser.on('closetag', ({ name }) => {
    const at = path.slice(2).join('/')
    const value = text.trim()
    text = ''
    path.pop()
    if (at === 'uuid') uuid = value
    else if (at === 'mig_devices/mig_device') addInstance(instances, cells)
    else if (at.startsWith('mig_devices/mig_device/')) cells[at.slice('mig_devices/mig_device/'.length)] = value
    else if (at === 'processes/process_info') {
      processes.push({
        instance: cells['gpu_instance_id'] ?? '',
        pid: cells['pid'] ?? '',
        used: cells['used_memory'] ?? ''
      })
    } else if (at.startsWith('processes/process_info/')) cells[name] = value
    else if (name === 'gpu' && path.length === 1 && uuid !== '') {
      for (const one of processes) addProcess(instances, one)
      byGpu.set(uuid, instances)
    }
  })
  try {
    parser.write(xml).close()
  } catch {
    isSound = false
  }
  if (!isSound) return new Map()
  return new Map(
    [...byGpu].map(([key, found]) => [
      key,
      [...found].map(([instance, { totalBytes, usedBytes, processes: members }]) => ({
        instance,
        totalBytes,
        usedBytes,
        processes: [...members].map(([pid, used]) => ({ pid, usedBytes: used }))
      }))
    ])
  )
}

function addInstance(instances: Map<number, Found>, cells: Readonly<Record<string, string>>): void {
  const instance = countIn(cells['gpu_instance_id'])
  const total = bytesIn(cells['fb_memory_usage/total'])
  const used = bytesIn(cells['fb_memory_usage/used'])
  if (instance === null || total === null || used === null) return
  const totalBytes = total - (bytesIn(cells['fb_memory_usage/reserved']) ?? 0)
  if (totalBytes <= 0) return
  const known = instances.get(instance)
  instances.set(instance, {
    totalBytes,
    // Both rows say the same, unless memory was taken between the two.
    usedBytes: Math.max(used, known?.usedBytes ?? 0),
    processes: known?.processes ?? new Map()
  })
}

function addProcess(instances: Map<number, Found>, one: { instance: string; pid: string; used: string }): void {
  const instance = countIn(one.instance)
  const pid = countIn(one.pid)
  if (instance === null || pid === null || pid === 0) return
  instances.get(instance)?.processes.set(pid, bytesIn(one.used))
}

const countIn = (cell: string | undefined): number | null =>
  cell !== undefined && /^\d{1,10}$/.test(cell) ? Number(cell) : null

function bytesIn(cell: string | undefined): number | null {
  const mebibytes = /^(\d{1,9}) MiB$/.exec(cell ?? '')?.[1]
  return mebibytes === undefined ? null : Number(mebibytes) * 1_048_576
}
