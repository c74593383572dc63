import { RuntimeError } from '../runtime-error.ts'
import type {
  GuestNotice,
  HostAnswer,
  HostSandbox,
  MemoryUsage,
  RunBounds,
  RunEnd,
  SandboxHooks,
  SandboxSpec
} from '../sandbox/sandbox-host.ts'
import { type Capture, type NotSeated, type Seat, type Seated, takeSeat } from './seat.ts'
import type { Idler, Threads } from './threads.ts'
import { BOUNDS, type Engine, STOP, type ToWorker, WORD, WORD_COUNT } from './worker-protocol.ts'
import type { WorkerThread } from './worker-thread.ts'

/** What a sandbox needs of its host. */
export interface QuickjsSandboxDeps {
  readonly threads: Threads
  readonly engine: Engine
  readonly spec: SandboxSpec
  readonly hooks: SandboxHooks
  onGone(): void
}

/** A sandbox whose guest is yet to be made. */
export interface QuickjsSandbox extends HostSandbox {
  /** Makes its guest, empty or of an image. Throws as `SandboxHost.restore`; the sandbox is gone then. */
  open(image: Uint8Array<ArrayBuffer> | undefined): Promise<Pick<Seated, 'evaluation' | 'calls'>>
}

/**
 * One sandbox. Its guest sits on a thread, or, while it runs nothing and others want the thread, is parked: an image in
 * this process's memory, which takes a seat again when something is asked of it. Nothing outside can tell.
 */
export function quickjsSandbox({ threads, engine, spec, hooks, onGone }: QuickjsSandboxDeps): QuickjsSandbox {
  const words = new SharedArrayBuffer(WORD_COUNT * 4)
  const shared = new Int32Array(words)
  const withdrawal = new AbortController()
  let seat: Seat | undefined
  let thread: WorkerThread | undefined
  let parked: Capture | undefined
  let parking: ReturnType<Idler['park']> | undefined
  /** From the call that asks for something to its end: it is not parked meanwhile. */
  let busy: 'running' | 'capturing' | undefined
  let interruptWaiting: (() => void) | undefined
  /** Answers that came before the run that they are for has reached its thread. */
  let early: [callId: number, answer: HostAnswer][] | undefined
  /** Resolves when the run under way has ended. */
  let running: Promise<unknown> | undefined
  /** It stands at a boundary on wish, where answers find it on its thread; or is tainted. */
  let stays = false
  let tainted = false
  let gone: string | undefined
  /** Notices that nobody has on a thread yet. */
  let notices: string[] = []

  const refused = (reason: string): RuntimeError<'CHECKPOINT_REFUSED'> =>
    new RuntimeError('CHECKPOINT_REFUSED', `sandbox ${spec.sandboxId} cannot be checkpointed: ${reason}`, {
      sandboxId: spec.sandboxId,
      reason
    })

  const leave = (reason: string): void => {
    if (gone !== undefined) return
    gone = reason
    threads.stirs(idler)
    withdrawal.abort()
    if (parked !== undefined) threads.reserve(-parked.image.length)
    parked = undefined
    notices = []
    onGone()
  }

  const onEnded = (reason: string): void => {
    seat = undefined
    thread = undefined
    // One that is parked does not need it.
    if (parked === undefined) leave(reason)
  }

  /** Sits down on a thread of its own. Undefined: withdrawn. */
  const sitDown = async (
    opening: (engine: Engine | undefined) => ToWorker & { readonly kind: 'create' | 'restore' },
    withdrawn: AbortSignal
  ): Promise<Seated | NotSeated | undefined> => {
    const taken = await threads.take(engine, withdrawn)
    if (taken === undefined) return undefined
    const message = opening(taken.engine === engine ? undefined : engine)
    taken.engine = engine
    thread = taken
    const seated = await takeSeat(taken, hooks, message, onEnded)
    if ('seat' in seated) seat = seated.seat
    else thread = undefined
    // What is wrong with an image is found before anything of it is used.
    if ('fault' in seated && seated.fault !== undefined) threads.giveBack(taken)
    else if (!('seat' in seated)) await taken.kill()
    return seated
  }

  const { now, ...limits } = spec
  const opening =
    (image: Uint8Array<ArrayBuffer> | undefined, seed: Uint8Array<ArrayBuffer>) => (given: Engine | undefined) => {
      const common = { engine: given, spec: { ...limits, seed, words }, wallAt: now() }
      return image === undefined
        ? ({ kind: 'create', ...common } as const)
        : ({ kind: 'restore', ...common, image } as const)
    }

  /** The guest's seat, taken again if it was parked. Undefined: it is gone, or `withdrawn`. */
  const seated = async (withdrawn: AbortSignal): Promise<Seat | undefined> => {
    await parking
    if (seat === undefined && parked !== undefined) {
      const { image, chance } = parked
      // A copy: should it be withdrawn, it stays parked.
      const again = await sitDown(opening(image.slice(), chance), withdrawn)
      if (again === undefined) return undefined
      if (!('seat' in again)) leave(`it did not come back: ${again.reason}`)
      else if (gone !== undefined) await standUp(again.seat)
      else {
        threads.reserve(-image.length)
        parked = undefined
      }
    }
    if (gone !== undefined) return undefined
    for (const noticeJson of notices) seat?.post({ kind: 'tell', noticeJson })
    notices = []
    return seat
  }

  /** Leaves the thread to others. */
  const standUp = async (from: Seat): Promise<void> => {
    const left = thread
    seat = undefined
    thread = undefined
    if (from.running || from.capturing || tainted) await from.kill()
    else if ((await from.clear()) && left !== undefined) threads.giveBack(left)
  }

  const idler: Idler = {
    park() {
      parking = evict().finally(() => {
        parking = undefined
      })
      return parking
    }
  }

  const evict = async (): ReturnType<Idler['park']> => {
    const from = seat
    if (from === undefined || busy !== undefined || gone !== undefined) return 'stays'
    try {
      const capture = await from.capture()
      if (gone !== undefined) return 'stays'
      // What was asked of it meanwhile goes to the end of the line: else one that runs again and again would starve it.
      if (!threads.reserve(capture.image.length)) return 'no-room'
      parked = capture
    } catch {
      return 'stays'
    }
    Atomics.store(shared, WORD.residentBytes, parked.image.length)
    await standUp(from)
    return 'parked'
  }

  /** It runs nothing from now on: its thread can be had. */
  const rest = (): void => {
    busy = undefined
    if (gone === undefined && !stays && seat !== undefined) threads.idles(idler)
  }

  const start = async (message: () => ToWorker & { readonly kind: 'run' | 'proceed' }): Promise<RunEnd> => {
    if (gone !== undefined) return { outcome: 'gone', reason: gone }
    if (busy !== undefined) {
      throw new RuntimeError('SANDBOX_BUSY', `sandbox ${spec.sandboxId} is ${busy}`, { sandboxId: spec.sandboxId })
    }
    busy = 'running'
    early = []
    threads.stirs(idler)
    Atomics.store(shared, WORD.stop, STOP.none)
    try {
      const on = await (seat !== undefined && parking === undefined ? seated(withdrawal.signal) : seatedOrInterrupted())
      if (gone !== undefined) return { outcome: 'gone', reason: gone }
      if (on === undefined) return { outcome: 'interrupted' }
      const ending = on.run(message())
      for (const [callId, answer] of early) on.post({ kind: 'answer', callId, answer })
      early = undefined
      const end = await ending
      tainted ||= end.outcome === 'tainted'
      stays = tainted || (end.outcome === 'suspended' && end.on === 'wish')
      return end
    } finally {
      early = undefined
      rest()
    }
  }

  const startOne: typeof start = (message) => {
    const end = start(message)
    // A second one that is refused must not hide the first.
    if (busy === 'running')
      running ??= end
        .catch(() => undefined)
        .finally(() => {
          running = undefined
        })
    return end
  }

  /** As `seated`; an interrupt withdraws it from the line. */
  const seatedOrInterrupted = async (): Promise<Seat | undefined> => {
    const withdrawn = new AbortController()
    interruptWaiting = () => withdrawn.abort()
    withdrawal.signal.addEventListener('abort', interruptWaiting, { once: true })
    try {
      return await seated(withdrawn.signal)
    } finally {
      withdrawal.signal.removeEventListener('abort', interruptWaiting)
      interruptWaiting = undefined
    }
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

  const end = async (reason: string): Promise<void> => {
    const from = seat
    leave(reason)
    if (from !== undefined) await standUp(from)
    else await thread?.kill()
    await parking
  }

  return {
    async open(image) {
      busy = 'running'
      const made = await sitDown(opening(image?.slice(), spec.seed), withdrawal.signal).catch((error: unknown) => {
        leave('it was not started')
        throw error
      })
      if (made === undefined) throw notOpened(spec, { reason: 'it was ended meanwhile', fault: undefined })
      if (!('seat' in made)) {
        leave('it was not started')
        throw notOpened(spec, made)
      }
      if (gone !== undefined) {
        await standUp(made.seat)
        throw notOpened(spec, { reason: 'it was ended meanwhile', fault: undefined })
      }
      rest()
      return { evaluation: made.evaluation, calls: made.calls }
    },
    usage,
    run: (code, { cpuMs }: RunBounds = {}) => startOne(() => ({ kind: 'run', code, wallAt: now(), cpuMs })),
    proceed: ({ cpuMs }: RunBounds = {}) => startOne(() => ({ kind: 'proceed', wallAt: now(), cpuMs })),
    answer(callId, answer) {
      if (early !== undefined) early.push([callId, answer])
      else seat?.post({ kind: 'answer', callId, answer })
    },
    interrupt() {
      if (busy !== 'running' || gone !== undefined) return
      Atomics.store(shared, WORD.stop, STOP.interrupt)
      interruptWaiting?.()
      seat?.post({ kind: 'wake' })
    },
    isAlive: () => gone === undefined,
    suspend(wanted) {
      if (busy !== 'running') return
      // An interrupt is not taken back.
      Atomics.compareExchange(shared, WORD.stop, wanted ? STOP.none : STOP.suspend, wanted ? STOP.suspend : STOP.none)
      if (wanted) seat?.post({ kind: 'wake' })
    },
    async capture() {
      if (gone !== undefined) throw refused(gone)
      if (busy !== undefined) throw refused(`it is ${busy}`)
      if (parked !== undefined && notices.length === 0) return parked.image.slice()
      busy = 'capturing'
      threads.stirs(idler)
      try {
        const on = await seated(withdrawal.signal)
        if (on === undefined) throw new Error(gone ?? 'it was ended meanwhile')
        return (await on.capture()).image
      } catch (error) {
        if (error instanceof RuntimeError) throw error
        throw refused(error instanceof Error ? error.message : 'the engine failed')
      } finally {
        rest()
      }
    },
    tell({ type, reason, capabilities }: GuestNotice) {
      if (gone !== undefined) return
      const noticeJson = JSON.stringify({ type, reason, capabilities })
      if (seat !== undefined && parking === undefined) return seat.post({ kind: 'tell', noticeJson })
      notices = [...notices, noticeJson].slice(-BOUNDS.notices)
    },
    async close() {
      // A run under way has its end first; whoever cannot wait for that kills it.
      await running
      await end('it was closed')
    },
    kill: () => end('it was killed')
  }
}

function notOpened(spec: SandboxSpec, { reason, fault }: NotSeated): RuntimeError {
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
