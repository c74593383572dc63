/** What a host can do; honest about what it cannot. */
export interface HostCapabilities {
  /** `memory`: the whole state of the running program; `none`: nothing. */
  readonly checkpoint: 'memory' | 'none'
  /** `hard`: the limit cannot be passed, whatever the guest does. */
  readonly memoryLimit: 'hard' | 'soft' | 'none'
  /** `restore`: a larger limit takes effect when a checkpoint is restored under it. */
  readonly resizeMemory: 'live' | 'restore' | 'none'
}

/** What a sandbox is made with. */
export interface SandboxSpec {
  readonly sandboxId: string
  readonly memoryLimitBytes: number
  /** From this many bytes on the guest is stopped at its next job boundary. */
  readonly criticalAtBytes: number
  /** What a garbage collection must get below for a critical guest to go on. */
  readonly criticalClearBytes: number
  /** Names under which the guest finds host functions: `host.<name>(…)`. */
  readonly hostFunctions: readonly string[]
  /** Sixteen bytes that seed the guest's `Math.random`; a new draw for every restore, so that forks differ. */
  readonly seed: Uint8Array<ArrayBuffer>
  /** The guest's wall clock: epoch milliseconds. */
  now(): number
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
  /** Stopped between two jobs with the evaluation whole: it can be captured and proceeds where it stopped. */
  | { readonly outcome: 'suspended' }
  /** Interrupted in the middle of a job. The evaluation is over; globals are as they were. */
  | { readonly outcome: 'interrupted' }
  /** The engine can no longer be trusted. Nothing but `kill` makes sense. */
  | { readonly outcome: 'tainted'; readonly reason: string }
  /** The thread is gone. */
  | { readonly outcome: 'gone'; readonly reason: string }

/** A running sandbox as its host sees it. One `run` or `proceed` at a time. */
export interface HostSandbox {
  /** Cheap: reads shared words. */
  usage(): MemoryUsage
  /** Evaluates code as a global script with top-level await. */
  run(code: string): Promise<RunEnd>
  /** Carries a suspended evaluation on. */
  proceed(): Promise<RunEnd>
  /** Answers a call. Ignored when the evaluation that made it is over or suspended. */
  answer(callId: number, answer: HostAnswer): void
  /** Stops the guest in the middle of what it does. A guest inside one native operation stops when that is over. */
  interrupt(): void
  /** The whole state as bytes, compressed, not sealed. Rejects with `CHECKPOINT_REFUSED` when tainted or running. */
  capture(): Promise<Uint8Array<ArrayBuffer>>
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
  readonly capabilities: HostCapabilities
  /** Identifies the engine build; an image restores only under the same one. */
  engine(): Promise<string>
  /** Throws `SANDBOX_NOT_STARTED`, `ENGINE_UNAVAILABLE`, `OVERLOADED`, `CLOSED`. */
  create(spec: SandboxSpec, hooks: SandboxHooks): Promise<HostSandbox>
  /** As `create`, and `CHECKPOINT_CORRUPT`, `CHECKPOINT_FOREIGN`, `CHECKPOINT_TOO_LARGE`; then nothing was restored. */
  restore(image: Uint8Array<ArrayBuffer>, spec: SandboxSpec, hooks: SandboxHooks): Promise<RestoredSandbox>
  /** Ends every sandbox and every thread. */
  close(): Promise<void>
}
