import type { GuestError, GuestNotice, HostAnswer } from '../sandbox/sandbox-host.ts'

/** Bounds of what crosses the pipe. The guest keeps them, and the host ends a guest that does not. */
export const BOUNDS = {
  /** Characters of a result's JSON: what a caller would still pass on in one message. */
  resultChars: 4_194_304,
  /** Characters of the JSON that a guest hands over for a checkpoint. */
  stateChars: 4_194_304,
  /** Characters of a host call's argument, and of its answer. */
  callChars: 1_048_576,
  /** Calls in flight per sandbox. */
  calls: 256,
  /** Characters of a guest error's name, and of its message and stack. */
  nameChars: 100,
  errorChars: 2_000,
  /** Console lines per evaluation and characters of each. */
  consoleLines: 1_000,
  consoleChars: 2_000,
  /** Notices that wait while nothing runs; of more the oldest goes. */
  notices: 16
} as const

/** Four million characters take up to six bytes each when JSON escapes them, and the rest of the message a few more. */
export const FRAME_MAX_BYTES = 33_554_432

/** Descriptor of the pipe inside the guest. Node closes it in everything that the guest starts. */
export const PIPE_FD = 3

/** Port of the loopback interface inside the sandbox on which the way out listens, where there is one. */
export const EGRESS_PORT = 3128

/** What a guest is opened with. */
export interface Opening {
  readonly hostFunctions: readonly string[]
  /** Sixteen bytes, in hexadecimal. */
  readonly seed: string
  /** What `onRestore` gives it. */
  readonly stateJson?: string
}

/** From the host to the guest. `wallAt` is the host's wall clock at the time of sending: epoch milliseconds. */
export type ToGuest =
  | { readonly kind: 'open'; readonly wallAt: number; readonly opening: Opening }
  | { readonly kind: 'run'; readonly wallAt: number; readonly code: string }
  | { readonly kind: 'answer'; readonly callId: number; readonly answer: HostAnswer }
  | { readonly kind: 'tell'; readonly notice: GuestNotice }
  | { readonly kind: 'interrupt' }
  /** Collects garbage as soon as the guest's code awaits something that is not settled. */
  | { readonly kind: 'collect' }
  /** Asks for what `onCheckpoint` saves. */
  | { readonly kind: 'save' }

/** How an evaluation ended, as the guest tells it. */
export type GuestEnd =
  | { readonly outcome: 'completed'; readonly json?: string }
  | { readonly outcome: 'failed'; readonly error: GuestError }
  | { readonly outcome: 'interrupted' }

/** From the guest to the host. */
export type FromGuest =
  /** The guest's program runs and waits to be opened. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'opened' }
  | { readonly kind: 'ended'; readonly end: GuestEnd }
  | { readonly kind: 'call'; readonly callId: number; readonly name: string; readonly json?: string }
  | { readonly kind: 'console'; readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string }
  | { readonly kind: 'collected' }
  | { readonly kind: 'saved'; readonly json?: string }
  | { readonly kind: 'not-saved'; readonly reason: string }

/** From the thread that holds the pipe to the guest's main thread. */
export type ToMain =
  | Exclude<ToGuest, { readonly kind: 'interrupt' }>
  /** Ends the evaluation under way. `turn` counts these: only the answer to the last one says that none is on its way. */
  | { readonly kind: 'stop'; readonly turn: number }

/** From the guest's main thread to the one that holds the pipe. */
export type ToControl = FromGuest | { readonly kind: 'stopped'; readonly turn: number }
