import { type Clock, type JsonValue, parseOptions, type Timer, type Usage, type UsageSink } from '@enablement/core'
import { z } from 'zod'
import { createMemoryMonitor, type MemoryReading } from '../monitor/memory-monitor.ts'
import { RuntimeError } from '../runtime-error.ts'
import type { RuntimeEvent } from '../runtime-event.ts'
import { answerCall } from './host-calls.ts'
import { type Run, type StopCause, startRun } from './run.ts'
import type {
  CheckpointOptions,
  EvaluationOptions,
  EvaluationOutcome,
  HostFunctions,
  Recovery,
  Sandbox
} from './sandbox.ts'
import type { HostCall, HostSandbox, RunBounds, RunEnd, SandboxHooks } from './sandbox-host.ts'
import { type TerminationReason, type TerminationRecord, terminationRecord } from './termination.ts'

/** Bytes of code that one evaluation takes; a program beyond it belongs into several. */
const CODE_MAX_BYTES = 1_048_576

const TIMEOUT_MS = 30_000
const TIMEOUT_MAX_MS = 86_400_000

const evaluationSchema: z.ZodType<EvaluationOptions> = z.strictObject({
  timeoutMs: z.number().min(1).max(TIMEOUT_MAX_MS).optional(),
  cpuMs: z.number().min(1).max(TIMEOUT_MAX_MS).optional(),
  signal: z.instanceof(AbortSignal).optional()
}) as z.ZodType<EvaluationOptions>

const CHECKPOINT_TTL_MAX_MS = 31_536_000_000

const checkpointSchema: z.ZodType<CheckpointOptions> = z.strictObject({
  ttlMs: z.int().min(1).max(CHECKPOINT_TTL_MAX_MS).optional()
}) as z.ZodType<CheckpointOptions>

/** Who a sandbox is and what it may use. */
export interface SandboxIdentity {
  readonly id: string
  readonly tenant: string
  readonly agent: string
  readonly subscription: string | undefined
  readonly incarnation: number
  readonly memoryLimitBytes: number
}

/** The hold of a recovered sandbox on its incident. */
export interface Ownership {
  readonly incidentId: string
  readonly incarnation: number

  /** Extends it. False: another process has it. */
  renew(): Promise<boolean>
  /** Ends it, and with it the incident. */
  end(): Promise<void>
  readonly everyMs: number
  readonly lastsMs: number
  onUnrenewed(error: unknown): void
}

/** What the sandbox hands over when its guest has run out. */
interface Exhaustion {
  readonly sandbox: HostSandbox
  readonly alive: boolean
  readonly evaluation: 'suspended' | 'lost'
  readonly peakBytes: number
  readonly evidence: string
  readonly ownership: Ownership | undefined
}

/** What a live sandbox needs of its runtime. */
export interface LiveSandboxDeps {
  readonly hostKind: string
  readonly clock: Clock
  readonly observe: (event: RuntimeEvent) => void
  readonly usage: UsageSink | undefined
  readonly hostFunctions: HostFunctions
  /** Undefined: another process owns the sandbox by now. */
  exhaust(identity: SandboxIdentity, exhaustion: Exhaustion): Promise<Recovery | undefined>
  seal(
    identity: SandboxIdentity,
    image: Uint8Array<ArrayBuffer>,
    ttlMs: number | undefined
  ): Promise<Uint8Array<ArrayBuffer>>
  /** Lets it end by itself within the grace. */
  end(sandbox: HostSandbox): Promise<void>
  onGone(): void
}

/** A sandbox whose VM is yet to be made: the hooks go to the host first. */
export interface LiveSandbox {
  readonly hooks: SandboxHooks
  /** Makes the sandbox of the VM that the host made. */
  attach(
    host: HostSandbox,
    restored: { readonly evaluation: 'suspended' | 'none'; readonly calls: readonly HostCall[] },
    ownership?: Ownership
  ): Sandbox
}

/** Prepares a sandbox. */
export function liveSandbox(identity: SandboxIdentity, deps: LiveSandboxDeps): LiveSandbox {
  const { id, tenant, agent, incarnation, memoryLimitBytes } = identity
  const { clock, observe } = deps
  const of = { tenant, agent, sandboxId: id }
  const monitor = createMemoryMonitor(memoryLimitBytes)
  let host: HostSandbox | undefined
  let run: Run | undefined
  /** Set from the first moment of an evaluation to the last, so that two cannot slip in beside each other. */
  let busy = false
  /** Settles with the last evaluation. */
  let concluded: Promise<void> | undefined
  let calls: AbortController | undefined
  let gone: string | undefined
  let suspended = false
  let inFlight: readonly HostCall[] = []
  let runs = 0
  let ownership: Ownership | undefined
  let renewal: Timer | undefined

  const onReading = (reading: MemoryReading): void => {
    if (reading.changedFrom !== undefined) observe({ type: `memory.${reading.level}`, ...of, reading })
  }

  const answer = (call: HostCall): void => {
    const current = calls
    if (current === undefined) return
    void answerCall(deps.hostFunctions, call, current.signal).then((answered) => {
      if (calls === current) host?.answer(call.callId, answered)
    })
  }

  const leave = (reason: string): void => {
    if (gone !== undefined) return
    gone = reason
    renewal?.cancel()
    deps.onGone()
  }

  const record = (reason: TerminationReason, evidence: string): TerminationRecord =>
    terminationRecord(reason, {
      at: clock.now(),
      limitBytes: memoryLimitBytes,
      peakBytes: host?.usage().peakBytes ?? 0,
      evidence
    })

  const terminate = async (reason: TerminationReason, evidence: string): Promise<EvaluationOutcome> => {
    await host?.kill()
    const terminated = record(reason, evidence)
    leave(reason)
    // What it was is in its owner's hands now; any other end leaves the incident to a successor.
    if (reason === 'preempted') await ownership?.end().catch((error: unknown) => ownership?.onUnrenewed(error))
    observe({ type: 'sandbox.terminated', ...of, record: terminated })
    return { outcome: 'terminated', record: terminated }
  }

  const exhausted = async (
    alive: boolean,
    evaluation: 'suspended' | 'lost',
    evidence: string
  ): Promise<EvaluationOutcome> => {
    const sandbox = host as HostSandbox
    const { usedBytes, peakBytes } = sandbox.usage()
    onReading(monitor.exceeded({ usedBytes, at: clock.monotonic() }))
    leave('out of memory')
    const recovery = await deps.exhaust(identity, { sandbox, alive, evaluation, peakBytes, evidence, ownership })
    if (recovery === undefined) {
      const superseded = record('superseded', 'ownership was lost')
      observe({ type: 'sandbox.terminated', ...of, record: superseded })
      return { outcome: 'terminated', record: superseded }
    }
    const { checkpointId } = recovery
    const facts = { at: clock.now(), limitBytes: memoryLimitBytes, peakBytes, evidence }
    observe({
      type: 'sandbox.terminated',
      ...of,
      record: terminationRecord('out-of-memory', checkpointId === undefined ? facts : { ...facts, checkpointId })
    })
    return { outcome: 'memory-exhausted', code: 'MEMORY_EXHAUSTED', recovery }
  }

  const meter = async (elapsedMs: number): Promise<void> => {
    const { subscription } = identity
    if (deps.usage === undefined || subscription === undefined) return
    const usage: Usage = {
      tenant,
      subscription,
      transactionId: `${id}:${incarnation}:${runs}`,
      metric: 'sandbox-milliseconds',
      // Rounded up: a run that happened is never free.
      quantity: Math.max(1, Math.ceil(elapsedMs)),
      at: clock.now(),
      properties: { agent, sandboxId: id }
    }
    try {
      await deps.usage.accept(usage)
    } catch (error) {
      observe({ type: 'usage.unreported', usage, error })
    }
  }

  const carryOut = async (
    subject: string,
    options: EvaluationOptions | undefined,
    begin: (sandbox: HostSandbox, bounds: RunBounds) => Promise<RunEnd>
  ): Promise<EvaluationOutcome> => {
    const { timeoutMs = TIMEOUT_MS, cpuMs, signal } = parseOptions(evaluationSchema, subject, options ?? {})
    const sandbox = usable()
    signal?.throwIfAborted()
    busy = true
    const { promise, resolve: told } = Promise.withResolvers<void>()
    concluded = promise
    runs += 1
    suspended = false
    calls = new AbortController()
    const bounds: RunBounds = cpuMs === undefined ? {} : { cpuMs }
    try {
      run = startRun({
        clock,
        sandbox,
        monitor,
        timeoutMs,
        signal,
        bounds,
        begin: () => begin(sandbox, bounds),
        onReading,
        onStale: () => observe({ type: 'memory.stale', ...of })
      })
      const { end, cause, unresponsive, elapsedMs } = await run.ended
      // From here on no answer reaches the guest: a suspended evaluation keeps its calls, an ended one has none.
      calls.abort(new Error('the evaluation is over'))
      calls = undefined
      run = undefined
      const [outcome] = await Promise.all([conclude(end, cause, unresponsive, { timeoutMs, cpuMs }), meter(elapsedMs)])
      // Whatever else it ended in says more than the reason would.
      if (cause === 'abort' && end.outcome === 'interrupted') signal?.throwIfAborted()
      return outcome
    } finally {
      calls = undefined
      run = undefined
      busy = false
      told()
    }
  }

  const conclude = async (
    end: RunEnd,
    cause: StopCause | undefined,
    unresponsive: boolean,
    { timeoutMs, cpuMs }: { readonly timeoutMs: number; readonly cpuMs: number | undefined }
  ): Promise<EvaluationOutcome> => {
    if (gone !== undefined) return terminate(gone === 'superseded' ? 'superseded' : 'closed', 'closed while it ran')
    switch (end.outcome) {
      case 'completed':
        return {
          outcome: 'completed',
          value: end.json === undefined ? undefined : (JSON.parse(end.json) as JsonValue)
        }
      case 'failed':
        return { outcome: 'failed', error: end.error }
      case 'suspended':
        if (cause === 'preemption') return terminate('preempted', 'saved and ended, for its place was needed')
        return exhausted(true, 'suspended', 'stopped at a job boundary in the critical range')
      case 'exhausted':
        return exhausted(true, 'lost', 'an allocation failed')
      case 'interrupted':
        if (cause === 'pressure') return exhausted(true, 'lost', 'interrupted in the critical range')
        if (end.on === 'cpu' && cpuMs !== undefined) return { outcome: 'cpu-exhausted', cpuMs }
        return { outcome: 'timed-out', timeoutMs }
      case 'tainted':
        return terminate('trap', end.reason)
      case 'gone':
        if (cause === 'pressure') return exhausted(false, 'lost', 'did not stop in the critical range')
        if (end.outOfMemory === true) return exhausted(false, 'lost', end.reason)
        if (unresponsive) return terminate('unresponsive', 'did not stop when it was interrupted')
        return terminate('host-lost', end.reason)
    }
  }

  const present = (): HostSandbox => {
    if (gone === undefined && host !== undefined) return host
    const reason = gone ?? 'not started'
    throw new RuntimeError('SANDBOX_GONE', `sandbox ${id} is gone: ${reason}`, { sandboxId: id, reason })
  }
  const usable = (): HostSandbox => {
    const sandbox = present()
    if (busy) throw new RuntimeError('SANDBOX_BUSY', `sandbox ${id} is busy`, { sandboxId: id })
    return sandbox
  }

  /** Saves it, with the evaluation under way if there is one, and ends it if it was saved and `after` says so. */
  const save = async (
    subject: string,
    options: CheckpointOptions | undefined,
    after: 'proceed' | 'end'
  ): Promise<Uint8Array<ArrayBuffer>> => {
    const { ttlMs } = parseOptions(checkpointSchema, subject, options ?? {})
    const sandbox = present()
    const sealed = async (): Promise<Uint8Array<ArrayBuffer>> => deps.seal(identity, await sandbox.capture(), ttlMs)
    if (run !== undefined && sandbox.suspend !== undefined) {
      const paused = await run.pause(sealed, after)
      // Until the evaluation has said how it ended: whoever closes the sandbox next would change that.
      if (paused.outcome === 'done' && after === 'end') await concluded
      if (paused.outcome === 'done') return paused.value
      const reason = paused.outcome === 'over' ? 'its evaluation ended meanwhile' : 'it came to no await in time'
      throw new RuntimeError('CHECKPOINT_REFUSED', `sandbox ${id} was not saved: ${reason}`, { sandboxId: id, reason })
    }
    usable()
    busy = true
    try {
      const bytes = await sealed()
      if (after === 'end') await terminate('preempted', 'saved and ended, for its place was needed')
      return bytes
    } finally {
      busy = false
    }
  }

  /** Renews until it is told that another process owns the sandbox, or cannot know that none does. */
  const keep = (owned: Ownership, provedAt: number): void => {
    renewal = clock.startTimer(
      owned.everyMs,
      () => {
        const askedAt = clock.monotonic()
        void owned.renew().then(
          (mine) => (mine ? keepOn(owned, askedAt) : supersede()),
          (error: unknown) => {
            owned.onUnrenewed(error)
            if (clock.monotonic() - provedAt >= owned.lastsMs - owned.everyMs) supersede()
            else keepOn(owned, provedAt)
          }
        )
      },
      { background: true }
    )
  }
  const keepOn = (owned: Ownership, provedAt: number): void => {
    if (gone === undefined) keep(owned, provedAt)
  }
  const supersede = (): void => {
    if (gone !== undefined) return
    const running = run !== undefined
    leave('superseded')
    // An evaluation under way reports it; without one nobody asks.
    if (!running) observe({ type: 'sandbox.terminated', ...of, record: record('superseded', 'ownership was lost') })
    void host?.kill()
  }

  const close = async (): Promise<void> => {
    const sandbox = host
    if (gone !== undefined || sandbox === undefined) return
    leave('closed')
    if (run === undefined) await deps.end(sandbox)
    else await sandbox.kill()
    await ownership?.end().catch((error: unknown) => ownership?.onUnrenewed(error))
    observe({ type: 'sandbox.closed', ...of })
  }

  return {
    hooks: {
      onCall: answer,
      onConsole: (line) => observe({ type: 'console', ...of, line }),
      onPressure: () => run?.press()
    },
    attach(made, restored, owned) {
      host = made
      suspended = restored.evaluation === 'suspended'
      inFlight = restored.calls
      ownership = owned
      if (owned !== undefined) keep(owned, clock.monotonic())
      return {
        id,
        tenant,
        agent,
        incarnation,
        memoryLimitBytes,
        async evaluate(code, options) {
          const codeBytes = new TextEncoder().encode(code).length
          if (codeBytes > CODE_MAX_BYTES) {
            const message = `${codeBytes} bytes of code are over the bound of ${CODE_MAX_BYTES}`
            throw new RuntimeError('CODE_TOO_LARGE', message, { bytes: codeBytes, limitBytes: CODE_MAX_BYTES })
          }
          return carryOut('sandbox.evaluate', options, (sandbox, bounds) => sandbox.run(code, bounds))
        },
        async continue(options) {
          usable()
          if (!suspended) {
            const message = `sandbox ${id} holds no suspended evaluation`
            throw new RuntimeError('NOTHING_TO_CONTINUE', message, { sandboxId: id })
          }
          return carryOut('sandbox.continue', options, (sandbox, bounds) => {
            const ended = sandbox.proceed(bounds)
            for (const call of inFlight) answer(call)
            inFlight = []
            return ended
          })
        },
        memory() {
          const reading = monitor.observe({ usedBytes: made.usage().usedBytes, at: clock.monotonic() })
          onReading(reading)
          return reading
        },
        checkpoint: (options) => save('sandbox.checkpoint', options, 'proceed'),
        preempt: (options) => save('sandbox.preempt', options, 'end'),
        tell: (notice) => present().tell(notice),
        async setReadOnly(readOnly) {
          const sandbox = present()
          if (sandbox.setReadOnly !== undefined) return sandbox.setReadOnly(readOnly)
          const message = `a ${deps.hostKind} sandbox has no files that could be read-only`
          throw new RuntimeError('NOT_SUPPORTED', message, { host: deps.hostKind, capability: 'readOnly' })
        },
        processes: () => made.processes?.() ?? [],
        ...(made.workspace === undefined ? {} : { workspace: made.workspace }),
        close,
        [Symbol.asyncDispose]: close
      }
    }
  }
}
