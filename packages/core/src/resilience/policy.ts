/** What work is told about the call that it does. */
export interface Call {
  /**
   * Aborts when the result is no longer wanted: the caller gave up, a timeout struck, a deadline passed. It is made when
   * first read, so that work which does not look at it pays nothing.
   */
  readonly signal: AbortSignal
}

/** What a policy runs. A retry may run it several times. */
export type Work<T> = (call: Call) => T | PromiseLike<T>

/** How a caller can give up. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** A way to run work: a circuit breaker, a retry, a timeout, a bulkhead, a token bucket, or a pipeline of them. */
export interface Policy {
  /**
   * Gives what `work` gives, and throws what it throws, a synchronous throw as a rejection. Throws the signal's reason,
   * without beginning, when it has aborted already. What else a policy throws is listed with the policy.
   */
  execute<T>(work: Work<T>, options?: CallOptions): Promise<T>
}

/** Whether somebody gave up on a call, and why. An `AbortSignal` is one too. */
interface Abortion {
  readonly aborted: boolean
  readonly reason: unknown
}

/** A call whose signal is made when it is read, and that knows without it whether it was aborted. */
export abstract class LazyCall implements Call, Abortion {
  abstract readonly signal: AbortSignal
  abstract readonly aborted: boolean
  abstract readonly reason: unknown
}

/** A call that nobody aborts. Its signal is its own: listeners forgotten on a shared one would pile up for ever. */
class UnabortedCall extends LazyCall {
  readonly aborted = false
  readonly reason = undefined
  #signal: AbortSignal | undefined

  get signal(): AbortSignal {
    this.#signal ??= new AbortController().signal
    return this.#signal
  }
}

/** A call that a policy aborts. */
export class AbortableCall extends LazyCall {
  aborted = false
  reason: unknown = undefined
  #controller: AbortController | undefined

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.aborted) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    this.#controller?.abort(reason)
  }
}

/** Passes a caller's options on as the call, without reading the signal of a lazy one. */
export function callOf(options: CallOptions | undefined): Call {
  if (options instanceof LazyCall) return options
  return options?.signal === undefined ? new UnabortedCall() : (options as Call)
}

/** The signal to listen to while a policy waits; undefined when nobody can abort, and none is made for it. */
export function signalOf(options: CallOptions | undefined): AbortSignal | undefined {
  return options instanceof UnabortedCall ? undefined : options?.signal
}

/** Who may give up on the call; undefined when nobody can. */
export function abortionOf(options: CallOptions | undefined): Abortion | undefined {
  return options instanceof LazyCall ? options : options?.signal
}

/**
 * Whether the caller gave up, which is no evidence about the callee. A caller's timeout is: the callee did not answer
 * for as long as somebody was willing to wait.
 */
export function gaveUp(options: CallOptions | undefined): boolean {
  const abortion = abortionOf(options)
  if (abortion?.aborted !== true) return false
  const { name, code } = (abortion.reason ?? {}) as { readonly name?: unknown; readonly code?: unknown }
  return name !== 'TimeoutError' && code !== 'TIMED_OUT'
}

/** Runs work so that a synchronous throw is a rejection too. */
export function start<T>(work: Work<T>, call: Call): Promise<T> {
  try {
    const begun = work(call)
    return begun instanceof Promise ? (begun as Promise<T>) : Promise.resolve(begun)
  } catch (error) {
    return Promise.reject(error)
  }
}
