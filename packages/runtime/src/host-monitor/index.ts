export type { Cgroup, CgroupMemory } from '../cgroup/cgroup.ts'
export type { CgroupKernel } from '../cgroup/cgroup-kernel.ts'
export { constrainedMemoryBytes } from '../cgroup/constrained-memory.ts'
export {
  type CgroupMemoryOptions,
  type CreateCgroupOptions,
  createCgroup,
  listCgroups,
  probeCgroups,
  type ReadCgroupOptions,
  readCgroup,
  readCgroupMemory
} from '../cgroup/create-cgroup.ts'
export type { CgroupPlace } from '../cgroup/hierarchy.ts'
export { DELETE_ACTION, type DeletionSubject } from '../disk/delete-request.ts'
export { type DeletionOptions, deleteListedFiles, type FileDeletion } from '../disk/deletion.ts'
export type { DiskEvent, DiskMonitorEvent, DiskReading } from '../disk/disk-event.ts'
export { createDiskGuard, type DiskGuard, type DiskGuardOptions, type GuardedDisk } from '../disk/disk-guard.ts'
export { createDiskMonitor, type DiskMonitor, type DiskMonitorOptions } from '../disk/disk-monitor.ts'
export type { DiskSpace, FileSystemStat, SpaceUse } from '../disk/disk-space.ts'
export {
  findLargeFiles,
  type LargeFile,
  type LargeFileOptions,
  type LargeFiles,
  type ListedFile
} from '../disk/large-files.ts'
export {
  type GpuBatch,
  type GpuLadderEvent,
  type GpuLadderOptions,
  type GpuLadderOutcome,
  type GpuPorts,
  type GpuStep,
  type GpuStepRecord,
  isGpuMemoryError,
  withinGpuMemory
} from '../gpu/gpu-ladder.ts'
export {
  createGpuMonitor,
  type GpuEvent,
  type GpuMonitor,
  type GpuMonitorOptions,
  type GpuReading,
  type GpuState,
  type GpuUser
} from '../gpu/gpu-monitor.ts'
export {
  type GpuMemory,
  type GpuProcess,
  type GpuSurvey,
  type GpuUnavailable,
  surveyGpus
} from '../gpu/gpu-survey.ts'
export { type NvidiaSmi, type NvidiaSmiAnswer, type NvidiaSmiOptions, nvidiaSmi } from '../gpu/nvidia-smi.ts'
