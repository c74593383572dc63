/**
 * The part of undici 8 that a network dispatcher is made of. undici is an optional peer and handed over by whoever uses it:
 * what is made here is then of the same copy as the `fetch` and `request` that it is given to.
 */
export interface UndiciModule {
  readonly Agent: new (options?: never) => UndiciDispatcher
  readonly Dispatcher: new () => UndiciDispatcher
  readonly Dispatcher1Wrapper: new (dispatcher: never) => UndiciDispatcher
  readonly errors: {
    readonly RequestAbortedError: new () => Error
    readonly ClientClosedError: new () => Error
    readonly ClientDestroyedError: new () => Error
    readonly InvalidArgumentError: new (message?: string) => Error
  }
}

/** What carries requests. */
export interface UndiciDispatcher {
  dispatch(options: DispatchOptions, handler: DispatchHandler): boolean
  close(): Promise<void>
  destroy(error: Error | null): Promise<void>
}

/** A request; what else is in it goes to undici untouched. */
export interface DispatchOptions {
  readonly origin?: string | URL
  readonly path: string
  readonly method: string
  readonly body?: unknown
  readonly headers?: unknown
  readonly upgrade?: boolean | string | null
}

/** Ends or slows an attempt. */
export interface DispatchController {
  readonly aborted: boolean
  readonly paused: boolean
  readonly reason: Error | null
  readonly rawHeaders?: unknown
  readonly rawTrailers?: unknown
  abort(reason: Error): void
  pause(): void
  resume(): void
}

/** Hears of an attempt; undici 8 calls `onRequestStart` just before the first byte is written. */
export interface DispatchHandler {
  onRequestStart?(controller: DispatchController, context: unknown): void
  onRequestUpgrade?(controller: DispatchController, status: number, headers: unknown, socket: unknown): void
  onResponseStart?(controller: DispatchController, status: number, headers: unknown, message?: string): void
  onResponseData?(controller: DispatchController, chunk: unknown): void
  onResponseEnd?(controller: DispatchController, trailers: unknown): void
  onResponseError?(controller: DispatchController, error: Error): void
  onResponseStarted?(): void
  onBodySent?(chunk: unknown): void
  onRequestSent?(): void
}
