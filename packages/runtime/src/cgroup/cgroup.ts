/** How a group's memory stands. */
export interface CgroupMemory {
  /** All that is charged to the group, page cache included. */
  readonly usageBytes: number
  /** Usage without the page cache that can be dropped at once (`inactive_file`): what a limit is judged by. */
  readonly workingSetBytes: number
  /** Absent when there is none. */
  readonly limitBytes?: number
  /** The most usage ever, where the kernel counts it. */
  readonly peakBytes?: number
  /** Processes that the kernel has killed in this group for want of memory. */
  readonly oomKills: number
  /**
   * Whether the group stands at its limit now: its processes stopped (cgroup v1 with the killer disabled), or throttled
   * until who reads this freezes it (cgroup v2, from `memory.high` on).
   */
  readonly underOom: boolean
}

/** A control group that holds one sandbox. Reads are synchronous: a file read costs some 20 µs and never waits. */
export interface Cgroup {
  /** The directories that it is made of; several on a machine with cgroup v1 or a hybrid. */
  readonly paths: readonly string[]
  /** What this machine gives, by the files that are there and writable, never by mount type. */
  readonly supports: {
    readonly memory: 'v2' | 'v1' | 'none'
    readonly processes: 'v2' | 'v1' | 'none'
    /** `kill`: the kernel ends every member at once (`cgroup.kill`); `signals`: each member is killed until none is left. */
    readonly kill: 'kill' | 'signals'
    readonly freeze: boolean
    readonly pauseOnOom: boolean
  }
  /** Undefined when the machine has no memory controller for it, or the group is gone. */
  memory(): CgroupMemory | undefined
  /** Ids of its members, nested groups included. */
  processes(): readonly number[]
  /** Throws `CGROUP_REFUSED`. */
  add(pid: number): void
  /**
   * Raises or lowers the limit in the order that each version demands. Throws `CGROUP_REFUSED`, with `EBUSY` below what
   * is used; then the limit is what it was.
   */
  setMemoryLimit(bytes: number): void
  /** Resolves when all members stand still, or go on. Rejects with `CGROUP_REFUSED` after 10 s, and takes it back. */
  freeze(frozen: boolean): Promise<void>
  /** Resolves when no member is left. Rejects with `CGROUP_REFUSED` when some outlive SIGKILL for 10 s. */
  kill(): Promise<void>
  /** Removes the directories; read the counters before. Retries while the kernel says that they are busy. */
  remove(): Promise<void>
}
