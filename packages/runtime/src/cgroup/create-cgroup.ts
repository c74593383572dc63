import { join } from 'node:path'
import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { Cgroup, CgroupMemory } from './cgroup.ts'
import { type CgroupKernel, linuxKernel } from './cgroup-kernel.ts'
import { memoryControllerOf } from './cgroup-memory.ts'
import { type CgroupPlace, delegatedFolder, folderBeside, type Hierarchy, hierarchiesOf, isV2 } from './hierarchy.ts'
import { type GroupFolder, openCgroup } from './open-cgroup.ts'
import { attempt, errnoOf, refusal, refusalOf } from './refusal.ts'

/** A group to be made. What is asked for holds, or nothing is made. */
export interface CreateCgroupOptions extends CgroupPlace {
  /** At most 128 letters, digits, `.`, `_` and `-`, the first a letter or digit. */
  readonly name: string
  /** From one page on. Memory and swap together. */
  readonly memoryLimitBytes?: number
  /** The most processes and threads at a time: what a fork bomb comes up against. */
  readonly processesMax?: number
  /**
   * At its limit the group is stopped instead of killed, until the limit is raised. On v1 the kernel stops whoever
   * touches new memory (`oom_kill_disable`); what allocates inside a system call is answered ENOMEM, on which a program
   * may abort. On v2 it throttles from 95 % of the limit on (`memory.high`): `memory().underOom` says so, and who samples
   * it freezes the group, raises the limit and thaws it; a single allocation of more than the rest is killed all the same.
   */
  readonly pauseOnOom?: boolean
}

/** A group that is there already. */
export interface ReadCgroupOptions extends CgroupPlace {
  readonly name: string
}

/** The group that a process is in. */
export interface CgroupMemoryOptions {
  /** Default: this process. */
  readonly pid?: number
  readonly root?: string
  readonly kernel?: CgroupKernel
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null
const nameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'must be letters, digits, `.`, `_`, `-`; at most 128')
const placeFields = {
  root: z.string().startsWith('/').optional(),
  parent: z
    .string()
    .startsWith('/')
    .refine((path) => !path.split('/').includes('..'), 'must not lead out of the tree')
    .optional(),
  kernel: z.custom<CgroupKernel>(isObject, 'must be an object').optional(),
  platform: z.custom<Platform>(isObject, 'must be an object').optional()
}
const createSchema = z
  .strictObject({
    ...placeFields,
    name: nameSchema,
    memoryLimitBytes: z.int().min(4_096).optional(),
    processesMax: z.int().min(1).max(4_194_304).optional(),
    pauseOnOom: z.boolean().optional()
  })
  .refine(({ pauseOnOom, memoryLimitBytes }) => pauseOnOom !== true || memoryLimitBytes !== undefined, {
    path: ['pauseOnOom'],
    message: 'needs memoryLimitBytes'
  }) as z.ZodType<CreateCgroupOptions>
const readSchema = z.strictObject({ ...placeFields, name: nameSchema }) as z.ZodType<ReadCgroupOptions>
const memorySchema = z.strictObject({
  root: placeFields.root,
  kernel: placeFields.kernel,
  pid: z.int().min(1).optional()
}) as z.ZodType<CgroupMemoryOptions>
const placeSchema = z.strictObject(placeFields) as z.ZodType<CgroupPlace>

const CGROUP_ROOT = '/sys/fs/cgroup'

/**
 * Makes a control group: a folder in every tree of the machine that holds what a sandbox needs. Throws `CGROUP_REFUSED`
 * when the kernel or the machine does not give what was asked for, or the name is taken; then nothing is left behind.
 */
export function createCgroup(options: CreateCgroupOptions): Cgroup {
  const checked = parseOptions(createSchema, 'createCgroup', options)
  const { name, memoryLimitBytes, processesMax, pauseOnOom = false } = checked
  const { kernel, clock, root, hierarchies } = placed(checked)
  const made: GroupFolder[] = []
  let refused: Error | undefined
  try {
    for (const hierarchy of hierarchies) {
      const parent = isV2(kernel, hierarchy.mount)
        ? delegatedFolder(kernel, hierarchy, checked.parent !== undefined)
        : hierarchy.parent
      const folder = join(parent, name)
      try {
        kernel.makeFolder(folder)
        made.push({ mount: hierarchy.mount, folder })
      } catch (error) {
        refused = refusal('the group was not made', folder, error)
        // A name that is taken is somebody's group. A tree that is not ours to write to is done without, if it can be.
        if (errnoOf(error) === 'EEXIST') throw refused
      }
    }
    if (made.length === 0) throw refused ?? refusalOf('ENOENT', 'there are no control groups here', root)
    const memory = made.map(({ mount, folder }) => memoryControllerOf(kernel, mount, folder)).find(Boolean)
    if (memory === undefined && (memoryLimitBytes !== undefined || pauseOnOom)) {
      throw refused ?? refusalOf('ENOTSUP', 'no memory controller is given to this group', made[0]?.folder ?? root)
    }
    if (memoryLimitBytes !== undefined) memory?.setLimit(memoryLimitBytes)
    if (pauseOnOom) memory?.pauseOnOom()
    if (memory?.version === 'v2') killTogether(kernel, memory.folder)
    if (processesMax !== undefined) limitProcesses(kernel, made, processesMax, refused)
    return openCgroup(kernel, clock, made)
  } catch (error) {
    // They were never given a process, so that the kernel lets go of them at once.
    for (const { folder } of made.reverse()) attempt(() => kernel.removeFolder(folder))
    throw error
  }
}

/** Opens a group that an earlier process made. Undefined when there is none. */
export function readCgroup(options: ReadCgroupOptions): Cgroup | undefined {
  const checked = parseOptions(readSchema, 'readCgroup', options)
  const { kernel, clock, hierarchies } = placed(checked)
  const found = hierarchies.flatMap((hierarchy) => {
    const folder = parentsIn(kernel, hierarchy, checked)
      .map((parent) => join(parent, checked.name))
      .find((path) => kernel.exists(path))
    return folder === undefined ? [] : [{ mount: hierarchy.mount, folder }]
  })
  return found.length === 0 ? undefined : openCgroup(kernel, clock, found)
}

/**
 * The memory of the group that a process is in: of a container, from inside. Reads alone, for that group is not ours to
 * freeze or kill. Undefined when there is no memory controller, or it could not be read.
 */
export function readCgroupMemory(options: CgroupMemoryOptions = {}): CgroupMemory | undefined {
  const checked = parseOptions(memorySchema, 'readCgroupMemory', options)
  const { kernel, hierarchies } = placed(checked, checked.pid)
  return hierarchies
    .map(({ mount, parent }) => memoryControllerOf(kernel, mount, parent))
    .find((controller) => controller !== undefined)
    ?.read()
}

/** What `createCgroup` would give here; everything `none` or false when it would refuse. Makes an empty group and removes it. */
export function probeCgroups(place: CgroupPlace = {}): Cgroup['supports'] {
  const checked = parseOptions(placeSchema, 'probeCgroups', place)
  const kernel = checked.kernel ?? linuxKernel
  try {
    const group = createCgroup({ ...checked, name: `enablement-probe-${process.pid}` })
    for (const folder of group.paths) attempt(() => kernel.removeFolder(folder))
    return group.supports
  } catch {
    return { memory: 'none', processes: 'none', kill: 'signals', freeze: false, pauseOnOom: false }
  }
}

/** Names of the groups that stand where `createCgroup` puts its own: what a host that was killed may have left behind. */
export function listCgroups(place: CgroupPlace = {}): readonly string[] {
  const checked = parseOptions(placeSchema, 'listCgroups', place)
  const { kernel, hierarchies } = placed(checked)
  const folders = hierarchies.flatMap((hierarchy) => parentsIn(kernel, hierarchy, checked))
  return [...new Set(folders.flatMap((folder) => attempt(() => kernel.folders(folder)) ?? []))]
}

function placed(place: CgroupPlace, pid?: number) {
  const { root = CGROUP_ROOT, parent, kernel = linuxKernel, platform = systemPlatform } = place
  const ownGroups = attempt(() => kernel.read(`/proc/${pid ?? 'self'}/cgroup`)) ?? ''
  const hierarchies: readonly Hierarchy[] = hierarchiesOf(kernel, root, parent, ownGroups)
  return { kernel, clock: platform.clock, root, hierarchies }
}

/** The folders in which a group of ours may stand, the likeliest first. */
function parentsIn(kernel: CgroupKernel, hierarchy: Hierarchy, place: CgroupPlace): readonly string[] {
  const beside = place.parent === undefined ? folderBeside(kernel, hierarchy) : undefined
  return beside === undefined ? [hierarchy.parent] : [hierarchy.parent, beside]
}

/** A sandbox is one thing: when the kernel kills in it, no half of it is left running. Kernels before 4.19 cannot. */
function killTogether(kernel: CgroupKernel, folder: string): void {
  const file = join(folder, 'memory.oom.group')
  if (kernel.exists(file)) attempt(() => kernel.write(file, '1'))
}

function limitProcesses(
  kernel: CgroupKernel,
  made: readonly GroupFolder[],
  processesMax: number,
  refused: Error | undefined
): void {
  const file = made.map(({ folder }) => join(folder, 'pids.max')).find((path) => kernel.exists(path))
  if (file === undefined) {
    throw refused ?? refusalOf('ENOTSUP', 'no controller of processes is given to this group', made[0]?.folder ?? '')
  }
  try {
    kernel.write(file, `${processesMax}`)
  } catch (error) {
    throw refusal(`the kernel did not take ${processesMax}`, file, error)
  }
}
