/** What a host can do; honest about what it cannot. */
export interface HostCapabilities {
  /**
   * What `capture` saves. `memory`: the whole state of the running program, a suspended evaluation included;
   * `cooperative`: what the guest hands over when it is asked, and its workspace; `workspace`: its files alone; `none`: nothing.
   */
  readonly checkpoint: 'memory' | 'cooperative' | 'workspace' | 'none'
  /** `hard`: the limit cannot be passed, whatever the guest does; `soft`: what passes it is seen and stopped. */
  readonly memoryLimit: 'hard' | 'soft' | 'none'
  /** `live`: `resizeMemory` raises it while the guest runs; `restore`: when a checkpoint is restored under it. */
  readonly resizeMemory: 'live' | 'restore' | 'none'
  /** How `setReadOnly` stops writes: the file system refuses them, or its quota is shrunk to what is in use. */
  readonly readOnly: 'remount' | 'quota-freeze' | 'none'
  /** A guest at its limit is frozen instead of killed, and goes on when the limit is raised. */
  readonly pauseOnOom: boolean
  /** Whether what the guest writes to its workspace is bounded by `diskLimitBytes`. */
  readonly diskQuota: boolean
  /** `none`: the guest reaches nothing; `filtered`: an allow-list; `host`: whatever the host machine reaches. */
  readonly network: 'none' | 'filtered' | 'host'
  /** Whether the guest can use a GPU. */
  readonly gpu: boolean
}

/** What a sandbox is made with. */
export interface SandboxSpec {
  readonly sandboxId: string
  /** Fences this run of the sandbox: nothing that an older incarnation still says or does counts. */
  readonly incarnation: number
  readonly memoryLimitBytes: number
  /** From this many bytes on the guest is stopped at its next job boundary. */
  readonly criticalAtBytes: number
  /** What a garbage collection must get below for a critical guest to go on. */
  readonly criticalClearBytes: number
  /** Names under which the guest finds host functions: `host.<name>(…)`. */
  readonly hostFunctions: readonly string[]
  /** Sixteen bytes that seed the guest's `Math.random`; a new draw for every restore, so that forks differ. */
  readonly seed: Uint8Array<ArrayBuffer>
  /** What the guest's `Math.random` draws from: `seed` alone unless given, so that a run can be repeated, or the host's own chance. */
  readonly randomness?: 'seeded' | 'host'
  /** The guest's wall clock: epoch milliseconds. */
  now(): number
}

/** Something that a guest should know about its surroundings: `onNotice((notice) => …)` inside. */
export interface GuestNotice {
  readonly type: 'degraded' | 'recovered'
  readonly reason: 'network_partition' | 'disk_full' | 'gpu_memory'
  /** What does not work for now, or works again. */
  readonly capabilities: readonly ('egress' | 'workspace-write' | 'gpu')[]
}

/** A call that the guest made to a host function and that has not been answered. */
export interface HostCall {
  readonly callId: number
  readonly name: string
  /** JSON of the argument; undefined when there was none. */
  readonly argumentJson: string | undefined
  /** Stays the same when the call is issued again after a restore. */
  readonly idempotencyKey: string
}

/** The answer to a host call. `json` is what the guest's promise is fulfilled with, `message` what it is rejected with. */
export type HostAnswer =
  | { readonly outcome: 'fulfilled'; readonly json: string | undefined }
  | { readonly outcome: 'rejected'; readonly message: string }

/** One line that the guest wrote to its console, cut to its bound. */
export interface ConsoleLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly text: string
}

/** What a host tells about a running sandbox. None of these may throw. */
export interface SandboxHooks {
  onCall(call: HostCall): void
  onConsole(line: ConsoleLine): void
  /** The guest passed `criticalAtBytes` in the middle of a job. */
  onPressure(): void
}

/** How memory stands. */
export interface MemoryUsage {
  /** What the guest has allocated now, by the engine's own count, which is what the limit bounds. */
  readonly usedBytes: number
  /** The most of that seen at any sample. */
  readonly peakBytes: number
  /** What the sandbox takes from the machine; does not shrink. */
  readonly residentBytes: number
  /** Grows while the guest runs; a standstill means that it is inside one native operation. */
  readonly ticks: number
}

/** An error of the guest's, cut to its bounds. */
export interface GuestError {
  readonly name: string
  readonly message: string
  readonly stack?: string
}

/** How a stretch of running ended. */
export type RunEnd =
  | { readonly outcome: 'completed'; readonly json: string | undefined }
  | { readonly outcome: 'failed'; readonly error: GuestError }
  /** An allocation failed and the guest did not catch it. The evaluation is over; globals are as they were. */
  | { readonly outcome: 'exhausted' }
  /**
   * Stopped between two jobs with the evaluation whole: it can be captured and proceeds where it stopped. `pressure`: it
   * is near its limit; `wish`: `suspend` was called.
   */
  | { readonly outcome: 'suspended'; readonly on: 'pressure' | 'wish' }
  /** Interrupted in the middle of a job. The evaluation is over; globals are as they were. `cpu`: it had used up its `cpuMs`. */
  | { readonly outcome: 'interrupted'; readonly on?: 'cpu' }
  /** The engine can no longer be trusted. Nothing but `kill` makes sense. */
  | { readonly outcome: 'tainted'; readonly reason: string }
  /** The thread or the processes are gone; with `outOfMemory` because they had reached their limit. */
  | { readonly outcome: 'gone'; readonly reason: string; readonly outOfMemory?: true }

/** What one stretch of running may take. */
export interface RunBounds {
  /** Milliseconds of processor time, waiting not counted. Without it only `interrupt` bounds a run. */
  readonly cpuMs?: number
}

/** A running sandbox as its host sees it. One `run` or `proceed` at a time. */
export interface HostSandbox {
  /** Cheap: reads shared words. */
  usage(): MemoryUsage
  /**
   * Evaluates code as a global script with top-level await. May wait in line where more sandboxes run than the host has
   * threads for; rejects with `OVERLOADED` when the line is full, and then nothing was run.
   */
  run(code: string, bounds?: RunBounds): Promise<RunEnd>
  /** Carries a suspended evaluation on. */
  proceed(bounds?: RunBounds): Promise<RunEnd>
  /** Answers a call. Ignored when the evaluation that made it is over; one that is suspended takes it in. */
  answer(callId: number, answer: HostAnswer): void
  /** Stops the guest in the middle of what it does. A guest inside one native operation stops when that is over. */
  interrupt(): void
  /**
   * Only where `capabilities.checkpoint` is `memory`: asks a guest that runs to stop at its next job boundary, as
   * `suspended`; false takes the wish back. Does nothing while nothing runs.
   */
  suspend?(wanted: boolean): void
  /** Cheap. False once its thread or its processes are gone. */
  isAlive(): boolean
  /** What `capabilities.checkpoint` says, as bytes, compressed, not sealed. Rejects with `CHECKPOINT_REFUSED` when tainted or running. */
  capture(): Promise<Uint8Array<ArrayBuffer>>
  /** Tells the guest, at its next job boundary. Notices wait while nothing runs, at most 16; of more the oldest goes. */
  tell(notice: GuestNotice): void
  /** Only where `capabilities.resizeMemory` is `live`: the limit holds once this is resolved. */
  resizeMemory?(memoryLimitBytes: number): Promise<void>
  /** Only where `capabilities.readOnly` is not `none`. Gives what it took: the strongest that worked. */
  setReadOnly?(readOnly: boolean): Promise<'remount' | 'quota-freeze'>
  /** Only where the guest is made of processes: their ids on the host now, for attributing GPU memory. */
  processes?(): readonly number[]
  /** Only where the guest has files: the folder on the host that is its writable root. */
  readonly workspace?: string
  /** Lets it end by itself. Resolves when the thread has ended. */
  close(): Promise<void>
  /** Ends it at once. Resolves when the thread has ended. */
  kill(): Promise<void>
}

/** A sandbox restored from an image, and what was under way in it. */
export interface RestoredSandbox {
  readonly sandbox: HostSandbox
  readonly evaluation: 'suspended' | 'none'
  /** Calls that were in flight; they must be issued again under the same keys. */
  readonly calls: readonly HostCall[]
}

/** The port behind which sandboxes run. */
export interface SandboxHost extends AsyncDisposable {
  readonly kind: string
  /** What it can do on this machine; constant from the first `create` or `engine` on. */
  readonly capabilities: HostCapabilities
  /** What `memoryLimitBytes` can be, in bytes, inclusive; 1 MiB to 2 GiB unless given. */
  readonly memoryLimits?: { readonly minBytes: number; readonly maxBytes: number }
  /** Identifies the engine build; an image restores only under the same one. */
  engine(): Promise<string>
  /** Throws `SANDBOX_NOT_STARTED`, `ENGINE_UNAVAILABLE`, `OVERLOADED`, `CLOSED`. */
  create(spec: SandboxSpec, hooks: SandboxHooks): Promise<HostSandbox>
  /** As `create`, and `CHECKPOINT_CORRUPT`, `CHECKPOINT_FOREIGN`, `CHECKPOINT_TOO_LARGE`; then nothing was restored. */
  restore(image: Uint8Array<ArrayBuffer>, spec: SandboxSpec, hooks: SandboxHooks): Promise<RestoredSandbox>
  /** Ends every sandbox and every thread. */
  close(): Promise<void>
}
