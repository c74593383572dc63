import { type Clock, sleep, type Timer } from '@enablement/core'
import type { Cgroup } from '../cgroup/cgroup.ts'
import { RuntimeError } from '../runtime-error.ts'
import type { GuestNotice, HostSandbox, RunEnd, SandboxHooks, SandboxSpec } from '../sandbox/sandbox-host.ts'
import { type GuestLink, guestLink } from './guest-link.ts'
import { BOUNDS, type FromGuest, type GuestEnd } from './guest-protocol.ts'
import type { Launched } from './launch.ts'
import { type MemorySampler, memorySampler } from './memory-sampler.ts'
import { identify, type ProcessIdentity, signal } from './proc.ts'
import { encodeImage, type ProcessImage } from './process-image.ts'
import type { SandboxProcesses } from './sandbox-processes.ts'
import { readWorkspace, writeWorkspace } from './workspace-archive.ts'
import { type WorkspaceMount, workspaceUse } from './workspace-mount.ts'

/** How long what is told to end may take before it is killed. */
const END_GRACE_MS = 5_000

/** How long bwrap may take to notice that what it has started was killed. */
const END_BY_ITSELF_MS = 1_000

/** How long a guest may take to start, on a machine that is busy. */
const START_MS = 20_000

/** How long a guest may take to hand over what it wants saved: the budget of catalog RT-1. */
const SAVE_MS = 5_000

/**
 * How long a guest at its soft limit may go on before it is stopped: one that awaits something collects its garbage first,
 * and V8 may find some in the middle of what it does.
 */
const BOUNDARY_MS = 100

/** Room below the hard limit that a guest is stopped in, so that its checkpoint still fits: the larger of both. */
const HEADROOM_BYTES = 8_388_608
const HEADROOM_RATIO = 0.05

/** What V8 writes when its heap is at its limit or the machine gives it no more. */
const V8_OUT_OF_MEMORY =
  /heap out of memory|Reached heap limit|Allocation failed|process out of memory|Fatal process OOM/i

/** The number that a shell, or bwrap, makes of the signal that ended a program. */
const SIGNAL_BASE = 128
const SIGKILL = 9
const SIGABRT = 6
const SIGTRAP = 5

/** The bytes from which on a guest is stopped. */
export const softLimitOf = (spec: Pick<SandboxSpec, 'memoryLimitBytes' | 'criticalAtBytes'>): number =>
  Math.min(
    spec.criticalAtBytes,
    spec.memoryLimitBytes - Math.max(HEADROOM_BYTES, Math.ceil(spec.memoryLimitBytes * HEADROOM_RATIO))
  )

/** A sandbox that was started, and is not a guest yet. */
export interface StartedProcess {
  readonly launched: Launched
  readonly processes: SandboxProcesses
  readonly cgroup: Cgroup | undefined
  /** Finds the guest's own process once it is there, and the workspace as the host sees it. */
  locate(): { readonly guestPid: number; readonly workspace: string }
  /** The first process inside, whose end is the end of all, once it is there. */
  innermost(): ProcessIdentity | undefined
  /** What changes its mounts; undefined where nothing does. */
  mount(guestPid: number, workspace: string): WorkspaceMount | undefined
  /** Whether the first process is bwrap, which says in a number how the guest ended. */
  readonly isWrapped: boolean
  readonly checkpoint: 'cooperative' | 'workspace' | 'none'
  /** Files of the workspace are memory of the sandbox. */
  readonly filesAreMemory: boolean
  readonly canResize: boolean
  /** Takes away what is left of it on the machine. */
  cleanUp(): Promise<void>
}

/** A guest that runs, and when nothing is left of it. */
export interface OpenedProcess {
  readonly sandbox: HostSandbox
  readonly ended: Promise<void>
}

/** Makes a guest of a started process. Rejects with `SANDBOX_NOT_STARTED` or `CHECKPOINT_TOO_LARGE`; then it has ended. */
export async function openProcess(
  clock: Clock,
  started: StartedProcess,
  spec: SandboxSpec,
  hooks: SandboxHooks,
  image: ProcessImage | undefined
): Promise<OpenedProcess> {
  const { launched, processes, cgroup, checkpoint } = started
  const { sandboxId, incarnation } = spec
  let limitBytes = spec.memoryLimitBytes
  let softBytes = softLimitOf(spec)
  let running: ((end: RunEnd) => void) | undefined
  let awaiting: { readonly kinds: readonly FromGuest['kind'][]; resolve(message: FromGuest): void } | undefined
  let calls = new Set<number>()
  let lastCallId = 0
  /** Why nothing that it says counts any more. */
  let tainted: string | undefined
  let goneReason: { readonly reason: string; readonly outOfMemory?: true } | undefined
  /** Somebody on our side ended it. */
  let killed = false
  let isOver = false
  /** The soft limit was reached: garbage is being collected, or the evaluation stopped for it. */
  let pressed: 'no' | 'collecting' | 'stopping' = 'no'
  /** The hooks were told of the pressure in this run. */
  let isTold = false
  let patience: Timer | undefined
  let capturing = false
  let workspace = ''
  let mount: WorkspaceMount | undefined
  let guestPid: number | undefined
  let oomKills = cgroup?.memory()?.oomKills ?? 0

  const finish = (end: RunEnd): void => {
    const resolve = running
    if (resolve === undefined) return
    running = undefined
    calls = new Set()
    pressed = 'no'
    isTold = false
    patience?.cancel()
    sampler.rest()
    resolve(end)
  }

  const taint = (reason: string): void => {
    if (isOver || killed || tainted !== undefined) return
    tainted = reason
    finish({ outcome: 'tainted', reason })
    void kill()
  }

  /** A pipe that ends with its process is no fault: who ended it will be known in a moment. */
  const onPipeEnd = async (reason: string): Promise<void> => {
    await within(END_BY_ITSELF_MS)
    taint(reason)
  }

  const link: GuestLink = guestLink({
    pipe: launched.pipe,
    output: launched.output,
    errors: launched.errors,
    onLine: (line) => {
      if (!killed) hooks.onConsole(line)
    },
    onFault: taint,
    onEnd: () => void onPipeEnd('it closed its pipe'),
    onMessage: (message) => {
      if (killed) return
      if (awaiting?.kinds.includes(message.kind) === true) {
        const { resolve } = awaiting
        awaiting = undefined
        return resolve(message)
      }
      switch (message.kind) {
        case 'call':
          return onCall(message)
        case 'ended':
          return onEnded(message.end)
        case 'collected':
          return onCollected()
        default:
          return taint(`it sent '${message.kind}' unasked`)
      }
    }
  })

  const onCall = ({ callId, name, json }: FromGuest & { readonly kind: 'call' }): void => {
    // One that crossed the end of its evaluation on the way is of no interest.
    if (running === undefined) return
    if (callId <= lastCallId || calls.size >= BOUNDS.calls) return taint('it made a call that it could not make')
    lastCallId = callId
    calls.add(callId)
    hooks.onCall({ callId, name, argumentJson: json, idempotencyKey: `${sandboxId}:${incarnation}:${callId}` })
  }

  const onEnded = (end: GuestEnd): void => {
    if (running === undefined) return taint('it ended an evaluation that was none')
    switch (end.outcome) {
      case 'completed':
        return finish({ outcome: 'completed', json: end.json })
      case 'failed':
        return finish({ outcome: 'failed', error: end.error })
      case 'interrupted':
        return finish({ outcome: pressed === 'stopping' ? 'exhausted' : 'interrupted' })
    }
  }

  const sampler: MemorySampler = memorySampler({
    clock,
    softLimitBytes: () => softBytes,
    read() {
      const memory = cgroup?.memory()
      if (memory !== undefined) {
        oomKills = Math.max(oomKills, memory.oomKills)
        return { usedBytes: memory.workingSetBytes, residentBytes: memory.usageBytes }
      }
      if (isOver) return undefined
      const files = started.filesAreMemory && workspace !== '' ? usedIn(workspace) : 0
      const own = processes.memoryBytes() + files
      return { usedBytes: own, residentBytes: own }
    },
    onSoftLimit() {
      if (running === undefined) return
      const { usedBytes } = sampler.usage()
      if (usedBytes >= scaled(spec, limitBytes) && !isTold) {
        isTold = true
        hooks.onPressure()
      }
      // Without a kernel to hold the limit we do, and cannot wait until the guest feels like it.
      if (cgroup?.memory() === undefined && usedBytes >= limitBytes) return void endForMemory(usedBytes)
      if (pressed !== 'no') return
      pressed = 'collecting'
      link.send({ kind: 'collect' })
      patience = clock.startTimer(BOUNDARY_MS, onCollected, { background: true })
    }
  })

  const onCollected = (): void => {
    patience?.cancel()
    if (pressed !== 'collecting' || running === undefined) return
    if (sampler.usage().usedBytes < softBytes) {
      pressed = 'no'
      return
    }
    pressed = 'stopping'
    link.send({ kind: 'interrupt' })
  }

  const endForMemory = (usedBytes: number): Promise<void> => {
    goneReason ??= { reason: `its processes took ${usedBytes} of ${limitBytes} bytes`, outOfMemory: true }
    return kill()
  }

  const reasonOf = (code: number | null, name: NodeJS.Signals | null): typeof goneReason & {} => {
    const inner = started.isWrapped && code !== null && code > SIGNAL_BASE ? code - SIGNAL_BASE : undefined
    const wasKilled = !killed && (inner === SIGKILL || name === 'SIGKILL')
    const aborted = inner === SIGABRT || inner === SIGTRAP || name === 'SIGABRT' || name === 'SIGTRAP'
    if (aborted && V8_OUT_OF_MEMORY.test(link.lastWords()))
      return { reason: 'V8 reached its heap limit', outOfMemory: true }
    const memory = cgroup?.memory()
    const kernelKills = (memory?.oomKills ?? oomKills) - firstOomKills
    if (wasKilled && kernelKills > 0) {
      return { reason: `the kernel killed ${kernelKills} of its processes at the limit`, outOfMemory: true }
    }
    // Where the kernel keeps no count, nobody else is known to kill.
    if (wasKilled && memory === undefined) return { reason: 'it was killed, and not by its host', outOfMemory: true }
    if (killed) return { reason: 'it was ended' }
    if (pressed === 'stopping') return { reason: 'it ended while it was stopped near its limit', outOfMemory: true }
    return { reason: name === null ? `its process ended with code ${code}` : `its process ended by ${name}` }
  }
  const firstOomKills = oomKills

  const ended = launched.exited.then(async ({ code, signal: name }) => {
    isOver = true
    // What V8 wrote last may still be in the pipe.
    await sleep(clock, 0)
    goneReason ??= reasonOf(code, name)
    const { reason, outOfMemory } = goneReason
    await processes.kill()
    link.close()
    sampler.rest()
    await started.cleanUp()
    finish(outOfMemory === true ? { outcome: 'gone', reason, outOfMemory } : { outcome: 'gone', reason })
    awaiting = undefined
  })

  async function kill(): Promise<void> {
    killed = true
    // Then bwrap collects what it has started; killed itself, it would leave that to a machine whose first process may not.
    const innermost = isOver ? undefined : started.innermost()
    if (innermost !== undefined && signal(innermost, 'SIGKILL')) await within(END_BY_ITSELF_MS)
    if (!isOver) launched.child.kill('SIGKILL')
    if (!isOver) await processes.kill()
    await ended
  }

  /** Waits for its end, but no longer. */
  async function within(graceMs: number): Promise<void> {
    const over = new AbortController()
    await Promise.race([launched.exited, sleep(clock, graceMs, { signal: over.signal }).catch(() => undefined)])
    over.abort()
  }

  /** Waits for one of these. Undefined when it did not come in time, or never will. */
  const answerTo = (kinds: readonly FromGuest['kind'][], withinMs: number): Promise<FromGuest | undefined> => {
    const over = new AbortController()
    return Promise.race([
      new Promise<FromGuest>((resolve) => {
        awaiting = { kinds, resolve }
      }),
      sleep(clock, withinMs, { signal: over.signal }).then(
        () => undefined,
        () => undefined
      ),
      ended.then(() => undefined)
    ]).finally(() => {
      over.abort()
      awaiting = undefined
    })
  }

  const notStarted = (why: string): Error => {
    const said = link.lastWords().trim().split('\n').at(-1)?.slice(0, 300) ?? ''
    const reason = said === '' ? why : `${why}: ${said}`
    return new RuntimeError('SANDBOX_NOT_STARTED', `sandbox ${sandboxId} was not started: ${reason}`, {
      sandboxId,
      reason
    })
  }

  const refused = (reason: string): Error =>
    new RuntimeError('CHECKPOINT_REFUSED', `sandbox ${sandboxId} cannot be checkpointed: ${reason}`, {
      sandboxId,
      reason
    })

  const fill = async (from: ProcessImage): Promise<void> => {
    try {
      await writeWorkspace(workspace, from)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      const [bytes, room] = [from.contents.length, limitBytes]
      const message = `the checkpoint's files of ${bytes} bytes do not fit the workspace`
      throw new RuntimeError('CHECKPOINT_TOO_LARGE', message, { bytes, limitBytes: room })
    }
  }

  const open = async (): Promise<void> => {
    launched.release()
    if ((await answerTo(['ready'], START_MS)) === undefined) throw notStarted('its program did not begin')
    ;({ guestPid, workspace } = started.locate())
    mount = started.mount(guestPid, workspace)
    await mount?.forbidUserNamespaces()
    if (image !== undefined) await fill(image)
    const opening = {
      hostFunctions: spec.hostFunctions,
      seed: Buffer.from(spec.seed).toString('hex'),
      ...(image?.stateJson === undefined ? {} : { stateJson: image.stateJson })
    }
    link.send({ kind: 'open', wallAt: spec.now(), opening })
    if ((await answerTo(['opened'], START_MS)) === undefined) throw notStarted('its program did not open')
  }

  try {
    await open()
  } catch (error) {
    await kill()
    throw error instanceof RuntimeError ? error : notStarted((error as Error).message)
  }

  const sandbox: HostSandbox = {
    usage: () => sampler.usage(),
    run(code) {
      if (tainted !== undefined) return Promise.resolve({ outcome: 'tainted', reason: tainted })
      if (isOver || killed) {
        return ended.then(() => ({ outcome: 'gone', reason: goneReason?.reason ?? 'it was ended' }))
      }
      return new Promise((resolve) => {
        running = resolve
        link.startCounting()
        link.send({ kind: 'run', wallAt: spec.now(), code })
        sampler.watch()
      })
    },
    proceed: () => Promise.resolve({ outcome: 'failed', error: { name: 'Error', message: 'nothing is suspended' } }),
    answer(callId, answer) {
      if (calls.delete(callId)) link.send({ kind: 'answer', callId, answer })
    },
    interrupt() {
      if (running !== undefined) link.send({ kind: 'interrupt' })
    },
    isAlive: () => !isOver && !killed && tainted === undefined,
    async capture() {
      if (checkpoint === 'none') throw refused('this host makes no checkpoints on this machine')
      if (isOver || killed || tainted !== undefined) throw refused(tainted ?? 'it has gone')
      if (running !== undefined || capturing) throw refused('it is running or being captured')
      capturing = true
      try {
        let stateJson: string | undefined
        if (checkpoint === 'cooperative') {
          const saving = answerTo(['saved', 'not-saved'], SAVE_MS)
          link.send({ kind: 'save' })
          const saved = await saving
          if (saved?.kind === 'not-saved') throw refused(saved.reason)
          if (saved?.kind !== 'saved') throw refused('it did not hand over its state in time')
          stateJson = saved.json
        }
        const archive = await whileFrozen(() => readWorkspace(workspace)).catch((error: Error) => {
          throw refused(error.message)
        })
        return await encodeImage({ ...archive, ...(stateJson === undefined ? {} : { stateJson }) })
      } finally {
        capturing = false
      }
    },
    tell(notice: GuestNotice) {
      link.send({ kind: 'tell', notice })
    },
    processes: () => (isOver ? [] : processes.list()),
    get workspace() {
      return workspace
    },
    async close() {
      if (isOver || killed) return ended
      killed = true
      // Those inside, and not bwrap, which would take them all with it at once.
      for (const pid of processes.list()) {
        const one = identify(pid)
        if (one !== undefined && pid !== launched.pid) signal(one, 'SIGTERM')
      }
      if (!started.isWrapped) launched.child.kill('SIGTERM')
      await within(END_GRACE_MS)
      await kill()
    },
    kill,
    ...(started.canResize
      ? {
          async resizeMemory(bytes: number) {
            cgroup?.setMemoryLimit(bytes)
            softBytes = softLimitOf({ memoryLimitBytes: bytes, criticalAtBytes: scaled(spec, bytes) })
            limitBytes = bytes
          }
        }
      : {}),
    ...(mount === undefined
      ? {}
      : { setReadOnly: (readOnly: boolean) => (mount as WorkspaceMount).setReadOnly(readOnly) })
  }

  /** With every process stopped where that can be done, so that no file is half of one state and half of another. */
  async function whileFrozen<T>(work: () => Promise<T>): Promise<T> {
    if (cgroup?.supports.freeze !== true) return work()
    await cgroup.freeze(true)
    try {
      return await work()
    } finally {
      await cgroup.freeze(false)
    }
  }

  return { sandbox, ended }
}

const scaled = (spec: SandboxSpec, bytes: number): number =>
  Math.floor((spec.criticalAtBytes / spec.memoryLimitBytes) * bytes)

function usedIn(folder: string): number {
  try {
    return workspaceUse(folder).usedBytes
  } catch {
    return 0
  }
}
