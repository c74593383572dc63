import { dirname, join, relative } from 'node:path'
import type { Platform } from '@enablement/core'
import type { CgroupKernel } from './cgroup-kernel.ts'

/** Where control groups stand on a machine. */
export interface CgroupPlace {
  /** Where the hierarchies are mounted. Default `/sys/fs/cgroup`. */
  readonly root?: string
  /**
   * The group below which it stands, as a path from the top of every hierarchy, such as `/agents`; it must exist.
   * By default the group of this process, in each hierarchy its own.
   */
  readonly parent?: string
  /** The operating system underneath; tests bring one of their own. */
  readonly kernel?: CgroupKernel
  readonly platform?: Platform
}

/** One tree of control groups, and the folder in it below which ours stands. */
export interface Hierarchy {
  readonly mount: string
  readonly parent: string
}

/** v1 has a tree for each controller; these three hold what a sandbox needs. Hybrids mount the v2 tree beside them. */
const trees = ['', 'unified', 'memory', 'pids', 'freezer'] as const

/** Files by which a folder shows that it is a group and not, as the root of a v1 machine, a folder of mount points. */
const marks = ['cgroup.procs', 'memory.current', 'memory.usage_in_bytes']

/**
 * The trees under `root`, found by the files in them and never by mount type. `ownGroups` is the text of
 * `/proc/<pid>/cgroup`.
 */
export function hierarchiesOf(
  kernel: CgroupKernel,
  root: string,
  parent: string | undefined,
  ownGroups: string
): readonly Hierarchy[] {
  return trees
    .map((tree) => ({ tree, mount: join(root, tree) }))
    .filter(({ mount }) => marks.some((mark) => kernel.exists(join(mount, mark))))
    .map(({ tree, mount }) => ({
      mount,
      parent: parent === undefined ? ownFolder(kernel, mount, tree, ownGroups) : join(mount, parent)
    }))
}

function ownFolder(kernel: CgroupKernel, mount: string, tree: string, ownGroups: string): string {
  for (const line of ownGroups.split('\n')) {
    const [id, controllers, ...rest] = line.split(':')
    const group = rest.join(':')
    const isOurs = tree === '' || tree === 'unified' ? id === '0' : controllers?.split(',').includes(tree) === true
    // A path outside the namespace begins with `/..`; and in a container of v1 the path is the host's, while the mount
    // shows the container's group at its top. Either way our group is the top.
    if (!isOurs || group === '/' || group.split('/').includes('..')) continue
    if (kernel.exists(join(mount, group))) return join(mount, group)
  }
  return mount
}

/**
 * The v2 folder in which a new group gets the controllers. They are switched on for the children of a group
 * (`cgroup.subtree_control`), which the kernel refuses to a group that has members itself, except the root. So our own
 * group serves only at the root; beside it (its parent) serves where the parent has no members, as under systemd's
 * `DelegateSubgroup=` or in a container whose entry point moved itself into a subgroup. A slice is not ours to add to:
 * a sandbox there would be outside the limits of our own service.
 */
export function delegatedFolder(kernel: CgroupKernel, hierarchy: Hierarchy, isExplicit: boolean): string {
  const { mount, parent } = hierarchy
  if (isExplicit) {
    const steps = relative(mount, parent).split('/').filter(Boolean)
    // From the top down, for a group can only pass on what was passed to it.
    for (let depth = 0; depth <= steps.length; depth += 1) passOn(kernel, join(mount, ...steps.slice(0, depth)))
    return parent
  }
  if (passOn(kernel, parent)) return parent
  const above = folderBeside(kernel, hierarchy)
  return above !== undefined && passOn(kernel, above) ? above : parent
}

/** Where a group of ours may stand besides in our own: see `delegatedFolder`. */
export function folderBeside(kernel: CgroupKernel, { mount, parent }: Hierarchy): string | undefined {
  const above = dirname(parent)
  return parent === mount || above.endsWith('.slice') || !isV2(kernel, mount) ? undefined : above
}

export const isV2 = (kernel: CgroupKernel, folder: string): boolean => kernel.exists(join(folder, 'cgroup.controllers'))

/** Switches the controllers on for the children of a group. Whether they have the memory controller then. */
function passOn(kernel: CgroupKernel, folder: string): boolean {
  const switches = join(folder, 'cgroup.subtree_control')
  const on = words(kernel, switches)
  const available = words(kernel, join(folder, 'cgroup.controllers'))
  for (const controller of ['memory', 'pids']) {
    if (on.has(controller) || !available.has(controller)) continue
    try {
      kernel.write(switches, `+${controller}`)
    } catch {
      // EBUSY: it has members. EACCES: it is not ours. Either shows in what is on.
    }
  }
  return words(kernel, switches).has('memory')
}

function words(kernel: CgroupKernel, path: string): ReadonlySet<string> {
  try {
    return new Set(kernel.read(path).split(/\s+/).filter(Boolean))
  } catch {
    return new Set()
  }
}
