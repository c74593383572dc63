import type { ConsoleLine, GuestError, HostAnswer, HostCall, RunEnd } from '../sandbox/sandbox-host.ts'

/** Words of the memory that the two threads share. All are 32-bit; sizes are unsigned. */
export const WORD = {
  /** Written by the host: one of `STOP`. */
  stop: 0,
  /** Written by the guest's thread: bytes allocated at the last sample, the most of them, and the linear memory. */
  usedBytes: 1,
  peakBytes: 2,
  residentBytes: 3,
  /** Written by the guest's thread at every sample. */
  ticks: 4
} as const

export const WORD_COUNT = 5

/** What the host wants the guest to do: go on, stop where it is, or stop at its next job boundary with everything whole. */
export const STOP = { none: 0, interrupt: 1, suspend: 2 } as const

/**
 * A compiled module, which only the engine looks into. The global's own type exists in the DOM's library and, with
 * versions of it, in Node's: naming it would make users' type checks depend on theirs.
 */
export type CompiledModule = object & { readonly __compiled?: never }

/** The engine as a worker gets it: compiled under a cap. */
export interface Engine {
  readonly module: CompiledModule
  /** The cap, in bytes of linear memory. */
  readonly memoryCapBytes: number
  /** SHA-256 of the engine's bytes, 32 bytes. */
  readonly hash: Uint8Array<ArrayBuffer>
}

/** What a worker needs to make or to restore a VM. */
export interface VmSpec {
  readonly words: SharedArrayBuffer
  readonly sandboxId: string
  readonly incarnation: number
  readonly memoryLimitBytes: number
  readonly criticalAtBytes: number
  readonly criticalClearBytes: number
  readonly hostFunctions: readonly string[]
  readonly seed: Uint8Array<ArrayBuffer>
  readonly randomness?: 'seeded' | 'host'
}

/** From the host to the worker. `wallAt` is the host's wall clock at the time of sending: epoch milliseconds. */
export type ToWorker =
  /** Makes, captures and restores an empty VM for practice: the next restore then runs optimised code. */
  | { readonly kind: 'rehearse'; readonly engine: Engine }
  /** Asks for nothing: the worker gets practice in reading messages. */
  | { readonly kind: 'practise' }
  /** `engine` is left out when the worker has rehearsed with it: receiving a module takes longer than restoring. */
  | { readonly kind: 'create'; readonly engine: Engine | undefined; readonly spec: VmSpec; readonly wallAt: number }
  | {
      readonly kind: 'restore'
      readonly engine: Engine | undefined
      readonly spec: VmSpec
      readonly wallAt: number
      readonly image: Uint8Array<ArrayBuffer>
    }
  | { readonly kind: 'run'; readonly code: string; readonly wallAt: number; readonly cpuMs: number | undefined }
  | { readonly kind: 'proceed'; readonly wallAt: number; readonly cpuMs: number | undefined }
  | { readonly kind: 'answer'; readonly callId: number; readonly answer: HostAnswer }
  /** The stop word has changed; wakes a worker that waits for an answer. */
  | { readonly kind: 'wake' }
  /** JSON of a notice for the guest. */
  | { readonly kind: 'tell'; readonly noticeJson: string }
  | { readonly kind: 'capture' }
  /** Drops the VM whole; the thread is there for the next one. */
  | { readonly kind: 'clear' }

/** Why an image was not restored. */
export type ImageFault =
  | { readonly fault: 'corrupt'; readonly reason: string }
  | { readonly fault: 'foreign' }
  | { readonly fault: 'too-large'; readonly bytes: number; readonly limitBytes: number }

/** From the worker to the host. */
export type FromWorker =
  | { readonly kind: 'opened'; readonly evaluation: 'suspended' | 'none'; readonly calls: readonly HostCall[] }
  | { readonly kind: 'not-opened'; readonly reason: string; readonly fault?: ImageFault }
  | { readonly kind: 'ended'; readonly end: RunEnd }
  | { readonly kind: 'call'; readonly call: HostCall }
  | { readonly kind: 'console'; readonly line: ConsoleLine }
  | { readonly kind: 'pressure' }
  /** `chance`: the seed with which the same guest goes on drawing. */
  | { readonly kind: 'captured'; readonly image: Uint8Array<ArrayBuffer>; readonly chance: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'not-captured'; readonly reason: string }
  | { readonly kind: 'cleared' }

/** Bounds of what crosses the boundary, both ways. */
export const BOUNDS = {
  /** Characters of a result's JSON: what a caller would still pass on in one message. */
  resultChars: 4_194_304,
  /** Characters of a host call's arguments, and of its answer. */
  callChars: 1_048_576,
  /** Calls in flight per sandbox; a guest that starts more is refused, or its ledger would be a memory bomb of ours. */
  calls: 256,
  /** Notices that wait for the guest to listen, and listeners. */
  notices: 16,
  listeners: 16,
  /** Characters of a guest error's message and stack. */
  errorChars: 2_000,
  /** Console lines per evaluation and characters of each. */
  consoleLines: 1_000,
  consoleChars: 2_000
} as const

/** A `GuestError` that stands in when the guest's own cannot be read. */
export const UNREADABLE_ERROR: GuestError = { name: 'Error', message: 'the thrown value could not be read' }
