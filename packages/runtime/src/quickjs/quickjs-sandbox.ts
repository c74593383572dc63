import { RuntimeError } from '../runtime-error.ts'
import type {
  HostSandbox,
  MemoryUsage,
  RestoredSandbox,
  RunEnd,
  SandboxHooks,
  SandboxSpec
} from '../sandbox/sandbox-host.ts'
import { type FromWorker, STOP, type ToWorker, WORD } from './worker-protocol.ts'
import type { WorkerThread } from './worker-thread.ts'

/** Gives a thread a VM and answers for it. Rejects when the VM could not be made; the caller kills the thread. */
export function openOn(
  thread: WorkerThread,
  words: SharedArrayBuffer,
  spec: SandboxSpec,
  hooks: SandboxHooks,
  opening: ToWorker & { readonly kind: 'create' | 'restore' }
): Promise<RestoredSandbox> {
  const shared = new Int32Array(words)
  let running: ((end: RunEnd) => void) | undefined
  let capturing: { resolve(image: Uint8Array<ArrayBuffer>): void; reject(error: Error): void } | undefined

  const refused = (reason: string): RuntimeError<'CHECKPOINT_REFUSED'> =>
    new RuntimeError('CHECKPOINT_REFUSED', `sandbox ${spec.sandboxId} cannot be checkpointed: ${reason}`, {
      sandboxId: spec.sandboxId,
      reason
    })

  const start = (message: ToWorker): Promise<RunEnd> => {
    Atomics.store(shared, WORD.stop, STOP.none)
    thread.hold()
    return new Promise((resolve) => {
      running = resolve
      thread.post(message)
    })
  }

  const finish = (end: RunEnd): void => {
    thread.release()
    running?.(end)
    running = undefined
  }

  const usage = (): MemoryUsage => {
    const word = (at: number): number => Atomics.load(shared, at) >>> 0
    return {
      usedBytes: word(WORD.usedBytes),
      peakBytes: word(WORD.peakBytes),
      residentBytes: word(WORD.residentBytes),
      ticks: word(WORD.ticks)
    }
  }

  const sandbox: HostSandbox = {
    usage,
    run: (code) => start({ kind: 'run', code, wallAt: spec.now() }),
    proceed: () => start({ kind: 'proceed', wallAt: spec.now() }),
    answer: (callId, answer) => thread.post({ kind: 'answer', callId, answer }),
    interrupt() {
      if (running === undefined) return
      Atomics.store(shared, WORD.stop, STOP.interrupt)
      thread.post({ kind: 'wake' })
    },
    capture() {
      if (running !== undefined || capturing !== undefined) {
        return Promise.reject(refused('it is running or being captured'))
      }
      thread.hold()
      return new Promise((resolve, reject) => {
        capturing = { resolve, reject }
        thread.post({ kind: 'capture' })
      })
    },
    async close() {
      thread.hold()
      thread.post({ kind: 'close' })
      await thread.ended
    },
    kill: () => thread.kill()
  }

  return new Promise((resolve, reject) => {
    const listener = (message: FromWorker): void => {
      switch (message.kind) {
        case 'opened':
          thread.release()
          return resolve({ sandbox, evaluation: message.evaluation, calls: message.calls })
        case 'not-opened':
          return reject(notOpened(spec, message))
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
          capturing?.resolve(message.image)
          capturing = undefined
          return
        case 'not-captured':
          thread.release()
          capturing?.reject(refused(message.reason))
          capturing = undefined
      }
    }
    void thread.ended.then((reason) => {
      finish({ outcome: 'gone', reason })
      capturing?.reject(refused(reason))
      capturing = undefined
      reject(notOpened(spec, { kind: 'not-opened', reason }))
    })
    thread.listen(listener)
    thread.hold()
    thread.post(opening, opening.kind === 'restore' ? [opening.image.buffer] : [])
  })
}

function notOpened(spec: SandboxSpec, { reason, fault }: FromWorker & { kind: 'not-opened' }): RuntimeError {
  switch (fault?.fault) {
    case 'corrupt':
      return new RuntimeError('CHECKPOINT_CORRUPT', `the checkpoint's image is damaged: ${fault.reason}`, {
        reason: fault.reason
      })
    case 'foreign':
      return new RuntimeError('CHECKPOINT_FOREIGN', 'the checkpoint was made by another build of the engine', {
        claim: 'engine'
      })
    case 'too-large': {
      const { bytes, limitBytes } = fault
      const message = `the checkpoint's memory of ${bytes} bytes does not fit the ${limitBytes} of its sandbox`
      return new RuntimeError('CHECKPOINT_TOO_LARGE', message, { bytes, limitBytes })
    }
    case undefined: {
      const { sandboxId } = spec
      return new RuntimeError('SANDBOX_NOT_STARTED', `sandbox ${sandboxId} was not started: ${reason}`, {
        sandboxId,
        reason
      })
    }
  }
}
