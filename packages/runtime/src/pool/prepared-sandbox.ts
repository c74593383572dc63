import type { HostFunctions, Sandbox } from '../sandbox/sandbox.ts'

/** What an image is prepared with. */
export interface PrepareImageOptions {
  /** 1 MiB to 2 GiB, for the set-up alone. */
  readonly memoryLimitBytes: number
  /** Evaluated once; its globals, functions and objects are what every sandbox from the image begins with. */
  readonly code: string
  /** What the set-up may call, and names that guests from the image find. */
  readonly hostFunctions?: HostFunctions
  /** Wall time that the set-up may take; 30,000 ms unless given, 1 ms to 24 h. */
  readonly timeoutMs?: number
}

/** What a sandbox is prepared with, before anybody wants it. */
export interface PrepareOptions {
  /** 1 MiB to 2 GiB: what the guest may have allocated at any time. */
  readonly memoryLimitBytes: number
  /** Names of the host functions that the guest finds; whoever it is assigned to brings the functions. */
  readonly hostFunctions?: readonly string[]
  /** A guest to begin with, as `prepareImage` made it: restoring it costs about a millisecond. */
  readonly image?: PreparedImage
}

/** A guest that has run its set-up once, to be restored any number of times by this process. Belongs to no tenant. */
export interface PreparedImage {
  readonly engine: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** Whom a prepared sandbox is given to. */
export interface AssignOptions {
  readonly tenant: string
  readonly agent: string
  /** Who is charged for its runs; required when the runtime has a `usage` sink. */
  readonly subscription?: string
  /** Functions behind the prepared names; the runtime's own unless given. */
  readonly hostFunctions?: HostFunctions
}

/** A running, empty sandbox that belongs to nobody yet. */
export interface PreparedSandbox extends AsyncDisposable {
  readonly id: string
  readonly memoryLimitBytes: number
  /** Whether it can still be assigned: its host may have lost it. */
  isReady(): boolean
  /** Gives it away, synchronously and once. Throws `SANDBOX_GONE` when it is not ready, `INVALID_OPTIONS`. */
  assign(owner: AssignOptions): Sandbox
  close(): Promise<void>
}
