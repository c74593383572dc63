import type { HostCall, RunEnd, SandboxHooks } from '../sandbox/sandbox-host.ts'
import type { FromWorker, ImageFault, ToWorker } from './worker-protocol.ts'
import type { WorkerThread } from './worker-thread.ts'

/** Why no VM was made. With a `fault` the image is to blame, and the thread is as good as before. */
export interface NotSeated {
  readonly reason: string
  readonly fault: ImageFault | undefined
}

/** A guest set aside: its memory, and the seed with which it goes on drawing. */
export interface Capture {
  readonly image: Uint8Array<ArrayBuffer>
  readonly chance: Uint8Array<ArrayBuffer>
}

/** A VM on a thread: what is asked of it, and its answers. */
export interface Seat {
  readonly running: boolean
  readonly capturing: boolean
  post(message: ToWorker): void
  run(message: ToWorker & { readonly kind: 'run' | 'proceed' }): Promise<RunEnd>
  /** Rejects with the reason. */
  capture(): Promise<Capture>
  /** Drops the VM of a guest that does not run. Resolves with whether the thread can take another. */
  clear(): Promise<boolean>
  /** Ends the thread. */
  kill(): Promise<void>
}

/** What a VM begins with. */
export interface Seated {
  readonly seat: Seat
  readonly evaluation: 'suspended' | 'none'
  readonly calls: readonly HostCall[]
}

/** Gives a thread a VM. `onEnded` is told when the thread ends under it. */
export function takeSeat(
  thread: WorkerThread,
  hooks: SandboxHooks,
  opening: ToWorker & { readonly kind: 'create' | 'restore' },
  onEnded: (reason: string) => void
): Promise<Seated | NotSeated> {
  let running: ((end: RunEnd) => void) | undefined
  let capturing: { resolve(capture: Capture): void; reject(error: Error): void } | undefined
  let clearing: ((whole: boolean) => void) | undefined

  const seat: Seat = {
    get running() {
      return running !== undefined
    },
    get capturing() {
      return capturing !== undefined
    },
    post: (message) => thread.post(message),
    run(message) {
      thread.hold()
      return new Promise((resolve) => {
        running = resolve
        thread.post(message)
      })
    },
    capture() {
      thread.hold()
      return new Promise((resolve, reject) => {
        capturing = { resolve, reject }
        thread.post({ kind: 'capture' })
      })
    },
    clear() {
      thread.hold()
      return new Promise((resolve) => {
        clearing = resolve
        thread.post({ kind: 'clear' })
      })
    },
    kill: () => thread.kill()
  }

  const finish = (end: RunEnd): void => {
    thread.release()
    const resolve = running
    running = undefined
    resolve?.(end)
  }

  return new Promise((resolve) => {
    const onMessage = (message: FromWorker): void => {
      // Of a guest that is being dropped nothing counts any more.
      if (clearing !== undefined && message.kind !== 'cleared') return
      switch (message.kind) {
        case 'opened':
          thread.release()
          return resolve({ seat, evaluation: message.evaluation, calls: message.calls })
        case 'not-opened':
          thread.release()
          return resolve({ reason: message.reason, fault: message.fault })
        case 'ended':
          return finish(message.end)
        case 'call':
          return hooks.onCall(message.call)
        case 'console':
          return hooks.onConsole(message.line)
        case 'pressure':
          return hooks.onPressure()
        case 'captured':
          thread.release()
          capturing?.resolve(message)
          capturing = undefined
          return
        case 'not-captured':
          thread.release()
          capturing?.reject(new Error(message.reason))
          capturing = undefined
          return
        case 'cleared':
          thread.release()
          thread.listen(undefined)
          clearing?.(true)
          clearing = undefined
      }
    }
    thread.listen({
      onMessage,
      onEnded(reason) {
        thread.listen(undefined)
        onEnded(reason)
        finish({ outcome: 'gone', reason })
        capturing?.reject(new Error(reason))
        clearing?.(false)
        resolve({ reason, fault: undefined })
      }
    })
    thread.hold()
    thread.post(opening, opening.kind === 'restore' ? [opening.image.buffer] : [])
  })
}
