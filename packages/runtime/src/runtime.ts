import { CoreError, createIdSource, parseOptions, reporter, systemPlatform } from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import type { CheckpointSummary } from './checkpoint/checkpoint-store.ts'
import { type CheckpointSealer, createCheckpointSealer } from './checkpoint/sealing.ts'
import type { Incident } from './incident/incident.ts'
import { stepEvidence } from './incident/incident-evidence.ts'
import { end, exhaust, type IncidentDeps } from './incident/memory-exhaustion.ts'
import { OWNERSHIP_MS, type RecoveryOutcome, type Resumption, recoverIncident } from './incident/recovery.ts'
import { createMemoryMonitor } from './monitor/memory-monitor.ts'
import { captureSetup, startUnassigned } from './pool/preparation.ts'
import type { PreparedImage, PreparedSandbox, PrepareImageOptions, PrepareOptions } from './pool/prepared-sandbox.ts'
import { RuntimeError } from './runtime-error.ts'
import {
  callSchemas,
  type LimitQuestion,
  memoryLimitsOf,
  type OpenOptions,
  type RecoverOptions,
  type RestoreOptions,
  type RuntimeOptions,
  runtimeSchema
} from './runtime-options.ts'
import { type LiveSandboxDeps, liveSandbox, type Ownership, type SandboxIdentity } from './sandbox/live-sandbox.ts'
import type { HostFunctions, Sandbox } from './sandbox/sandbox.ts'
import type { RestoredSandbox, SandboxHost, SandboxSpec } from './sandbox/sandbox-host.ts'

/** Sandboxes that run out of memory and come back. */
export interface Runtime extends AsyncDisposable {
  /** Opens an empty sandbox. Throws `INVALID_OPTIONS`, `CLOSED`, and what `SandboxHost.create` throws. */
  open(options: OpenOptions, call?: { readonly signal?: AbortSignal }): Promise<Sandbox>
  /**
   * Opens a sandbox from a checkpoint, under a new id. Throws as `open`, and `CHECKPOINT_CORRUPT`,
   * `CHECKPOINT_FOREIGN`, `CHECKPOINT_EXPIRED` or `CHECKPOINT_TOO_LARGE`; then nothing was restored.
   */
  restore(options: RestoreOptions, call?: { readonly signal?: AbortSignal }): Promise<Sandbox>
  /**
   * Runs a set-up once and keeps what it left, for `prepare`. The image belongs to this process and to no tenant: put no
   * secret of one into it. Throws `SETUP_FAILED`, `CHECKPOINT_REFUSED`, and as `open`.
   */
  prepareImage(options: PrepareImageOptions, call?: { readonly signal?: AbortSignal }): Promise<PreparedImage>
  /** Starts a sandbox that nobody has yet; what a pool keeps ready. Throws as `open`. */
  prepare(options: PrepareOptions): Promise<PreparedSandbox>
  /**
   * Carries an incident on from wherever it stands: waits for the verdict, raises the limit, brings the sandbox back.
   * Works in any process that has the stores and the sealing key, also after a crash between any two steps. Throws
   * `INCIDENT_UNKNOWN`, `CHECKPOINT_MISSING` and the other `CHECKPOINT_…` codes, and what the stores and the gate throw;
   * it can be called again then.
   */
  recover(incidentId: string, options?: RecoverOptions): Promise<RecoveryOutcome>
  /** A tenant's incidents that `recover` leads on, the oldest first, at most 1,000. */
  incidents(tenant: string): Promise<readonly Incident[]>
  /** A tenant's checkpoints in the store, the oldest first, at most 1,000. */
  checkpoints(tenant: string): Promise<readonly CheckpointSummary[]>
  /** Removes expired checkpoints; for `startWorker`. */
  readonly duties: readonly Duty[]
  /** Closes every sandbox and the host. */
  close(): Promise<void>
}

const SETUP_TIMEOUT_MS = 30_000

/** Checkpoint lifetimes: an incident waits for people, a checkpoint in hand for a program. */
const INCIDENT_TTL_MS = 2_592_000_000
const CHECKPOINT_TTL_MS = 86_400_000

const LISTED_MAX = 1_000

/** Checkpoints removed in one run of the duty, so that it can be stopped in between. */
const EXPIRED_PER_RUN = 100

/** Makes a runtime. Throws `INVALID_OPTIONS`. */
export function createRuntime(options: RuntimeOptions): Runtime {
  const checked = parseOptions(runtimeSchema, 'createRuntime', options)
  const { host, approvals, checkpoints, incidents, usage, requestedLimit, platform = systemPlatform } = checked
  const { incidentTtlMs = INCIDENT_TTL_MS, hostFunctions: commonFunctions = {} } = checked
  const { clock, random } = platform
  const observe = reporter(checked.observe)
  const nextId = createIdSource(platform)
  // Derived once; a copy, for the caller may wipe the key at once.
  const sealing: Promise<CheckpointSealer> = createCheckpointSealer(checked.sealingKey)
  sealing.catch(() => undefined)
  const open = new Set<Sandbox>()
  const prepared = new Set<AsyncDisposable>()
  const incidentsUnderWay = new Set<Promise<unknown>>()
  let closed = false
  const assertOpen = (): void => {
    if (closed) throw new RuntimeError('CLOSED', 'the runtime was closed', { what: 'runtime' })
  }

  const schemas = callSchemas(host, usage !== undefined)

  const incidentDeps = async (): Promise<IncidentDeps> => ({
    clock,
    incidents,
    checkpoints,
    approvals,
    sealer: await sealing,
    observe
  })

  const header = async (identity: SandboxIdentity, checkpointId: string, ttlMs: number) => {
    const createdAt = clock.now()
    return {
      checkpointId,
      tenant: identity.tenant,
      sandboxId: identity.id,
      incarnation: identity.incarnation,
      engine: await host.engine(),
      createdAt,
      expiresAt: createdAt + ttlMs,
      memoryLimitBytes: identity.memoryLimitBytes
    }
  }

  const liveDeps = (hostFunctions: HostFunctions, onGone: () => void): LiveSandboxDeps => ({
    hostKind: host.kind,
    clock,
    observe,
    usage,
    hostFunctions,
    onGone,
    end: (sandbox) => end(clock, sandbox),
    async seal(identity, image, ttlMs) {
      return (await sealing).seal(await header(identity, nextId(), ttlMs ?? CHECKPOINT_TTL_MS), image)
    },
    async exhaust(identity, { sandbox, alive, evaluation, peakBytes, evidence, ownership }) {
      const { id: sandboxId, tenant, agent, subscription, incarnation, memoryLimitBytes: limitBytes } = identity
      const recovery = exhaust(await incidentDeps(), {
        incident: {
          id: nextId(),
          tenant,
          agent,
          ...(subscription === undefined ? {} : { subscription }),
          sandboxId,
          incarnation,
          detectedAt: clock.now(),
          limitBytes,
          requestedLimitBytes: asked({ tenant, agent, sandboxId, limitBytes, peakBytes }),
          peakBytes,
          evaluation,
          evidence,
          ...(ownership === undefined
            ? {}
            : { supersedes: { incidentId: ownership.incidentId, incarnation: ownership.incarnation } })
        },
        sandbox,
        alive,
        engine: await host.engine(),
        checkpointTtlMs: incidentTtlMs
      })
      incidentsUnderWay.add(recovery)
      return recovery.finally(() => incidentsUnderWay.delete(recovery))
    }
  })

  /** The limit to ask for. What the callback gets wrong is put right here: an incident must not fail over it. */
  const asked = (question: LimitQuestion): number => {
    const twice = question.limitBytes * 2
    let wanted = twice
    try {
      wanted = requestedLimit?.(question) ?? twice
    } catch {
      wanted = twice
    }
    const usable = Number.isSafeInteger(wanted) && wanted > question.limitBytes
    return Math.min(usable ? wanted : twice, memoryLimitsOf(host).maxBytes)
  }

  const start = async (
    identity: SandboxIdentity,
    hostFunctions: HostFunctions,
    make: (spec: SandboxSpec, hooks: Parameters<SandboxHost['create']>[1]) => Promise<RestoredSandbox>,
    ownership?: Ownership
  ): Promise<Sandbox> => {
    assertOpen()
    let sandbox: Sandbox | undefined
    const forget = (): void => {
      if (sandbox !== undefined) open.delete(sandbox)
    }
    const live = liveSandbox(identity, liveDeps(hostFunctions, forget))
    const restored = await make(specOf(identity, Object.keys(hostFunctions)), live.hooks)
    // It may have been closed while the host was at it.
    if (closed) await restored.sandbox.kill()
    assertOpen()
    sandbox = live.attach(restored.sandbox, restored, ownership)
    opened(sandbox)
    return sandbox
  }

  const opened = (sandbox: Sandbox): void => {
    open.add(sandbox)
    const { tenant, agent, id: sandboxId, memoryLimitBytes } = sandbox
    observe({ type: 'sandbox.opened', tenant, agent, sandboxId, memoryLimitBytes })
  }

  const specOf = (
    { id: sandboxId, incarnation, memoryLimitBytes }: Pick<SandboxIdentity, 'id' | 'incarnation' | 'memoryLimitBytes'>,
    hostFunctions: readonly string[]
  ): SandboxSpec => {
    const { criticalAtBytes, criticalClearBytes } = createMemoryMonitor(memoryLimitBytes)
    return {
      sandboxId,
      incarnation,
      memoryLimitBytes,
      criticalAtBytes,
      criticalClearBytes,
      hostFunctions,
      seed: random.fill(new Uint8Array(16)),
      now: () => clock.now()
    }
  }

  const prepare = async (options: PrepareOptions): Promise<PreparedSandbox> => {
    assertOpen()
    const { memoryLimitBytes, hostFunctions: names = [], image } = options
    const id = nextId()
    const guest = await startUnassigned(host, specOf({ id, incarnation: 1, memoryLimitBytes }, names), image)
    // It may have been closed while the host was at it.
    if (closed) await guest.sandbox.kill()
    assertOpen()
    let given = false
    const unassigned: AsyncDisposable = { [Symbol.asyncDispose]: () => guest.sandbox.kill() }
    prepared.add(unassigned)
    const take = (): void => {
      given = true
      prepared.delete(unassigned)
    }
    const close = async (): Promise<void> => {
      if (given) return
      take()
      await guest.sandbox.kill()
    }
    return {
      id,
      memoryLimitBytes,
      isReady: () => !given && !closed && guest.sandbox.isAlive(),
      assign(owner) {
        const { hostFunctions = commonFunctions, ...who } = parseOptions(schemas.assign, 'prepared.assign', owner)
        const missing = names.find((name) => !Object.hasOwn(hostFunctions, name))
        if (missing !== undefined) {
          const message = 'must have every function that the sandbox was prepared with'
          throw new CoreError('INVALID_OPTIONS', `prepared.assign: hostFunctions.${missing} ${message}`, {
            subject: 'prepared.assign',
            issues: [{ path: `hostFunctions.${missing}`, message }]
          })
        }
        if (given || closed || !guest.sandbox.isAlive()) {
          const reason = given ? 'it was given away or closed' : 'its host has lost it'
          throw new RuntimeError('SANDBOX_GONE', `prepared sandbox ${id} is gone: ${reason}`, { sandboxId: id, reason })
        }
        take()
        const identity = { id, ...who, subscription: who.subscription, incarnation: 1, memoryLimitBytes }
        const live = liveSandbox(
          identity,
          liveDeps(hostFunctions, () => open.delete(sandbox))
        )
        const sandbox = live.attach(guest.sandbox, { evaluation: 'none', calls: [] })
        guest.connect(live.hooks)
        opened(sandbox)
        return sandbox
      },
      close,
      [Symbol.asyncDispose]: close
    }
  }

  const create = async (spec: SandboxSpec, hooks: Parameters<SandboxHost['create']>[1]): Promise<RestoredSandbox> => ({
    sandbox: await host.create(spec, hooks),
    evaluation: 'none',
    calls: []
  })

  const identityOf = (options: OpenOptions): SandboxIdentity => {
    const { tenant, agent, subscription, memoryLimitBytes } = options
    return { id: nextId(), tenant, agent, subscription, incarnation: 1, memoryLimitBytes }
  }

  /** Gives a sandbox back when the caller has stopped waiting for it. */
  const unlessAborted = async (starting: Promise<Sandbox>, signal: AbortSignal | undefined): Promise<Sandbox> => {
    const sandbox = await starting
    if (signal?.aborted === true) {
      await sandbox.close()
      signal.throwIfAborted()
    }
    return sandbox
  }

  const ownershipOf = (incident: Incident): Ownership => {
    const { id: incidentId, tenant, agent, sandboxId, incarnation } = incident
    return {
      incidentId,
      incarnation,
      everyMs: OWNERSHIP_MS / 3,
      lastsMs: OWNERSHIP_MS,
      async renew() {
        const renewed = await incidents.advance(incidentId, { type: 'renewed', incarnation, leaseMs: OWNERSHIP_MS }, [])
        return renewed.outcome === 'advanced'
      },
      async end() {
        const step = { type: 'closed', incarnation } as const
        const advance = await incidents.advance(incidentId, step, stepEvidence(incident, step))
        if (advance.outcome === 'advanced') await checkpoints.remove(incident.checkpointId ?? incidentId)
      },
      onUnrenewed: (error) => observe({ type: 'ownership.unrenewed', tenant, agent, sandboxId, incidentId, error })
    }
  }

  const resumption =
    (hostFunctions: HostFunctions): Resumption =>
    async (incident, memoryLimitBytes) => {
      const { sandboxId, tenant, agent, subscription, incarnation, checkpointId } = incident
      const identity = { id: sandboxId, tenant, agent, subscription, incarnation, memoryLimitBytes }
      const ownership = ownershipOf(incident)
      if (checkpointId === undefined) return start(identity, hostFunctions, create, ownership)
      const stored = await checkpoints.load(checkpointId)
      if (stored === undefined) {
        const message = `the checkpoint ${checkpointId} is not in its store`
        throw new RuntimeError('CHECKPOINT_MISSING', message, { checkpointId })
      }
      const expected = { tenant, sandboxId, engine: await host.engine(), now: clock.now() }
      const { image } = await (await sealing).open(stored.bytes, expected)
      return start(identity, hostFunctions, (spec, hooks) => host.restore(image, spec, hooks), ownership)
    }

  const close = async (): Promise<void> => {
    closed = true
    await Promise.all([...open, ...prepared].map((sandbox) => sandbox[Symbol.asyncDispose]()))
    // A sandbox that is being checkpointed must not lose its thread over this.
    await Promise.allSettled(incidentsUnderWay)
    await host.close()
  }

  return {
    async open(opening, { signal } = {}) {
      signal?.throwIfAborted()
      const opened = parseOptions(schemas.open, 'runtime.open', opening)
      return unlessAborted(start(identityOf(opened), opened.hostFunctions ?? commonFunctions, create), signal)
    },
    async restore(restoring, { signal } = {}) {
      signal?.throwIfAborted()
      const opened = parseOptions(schemas.restore, 'runtime.restore', restoring)
      const [sealer, engine] = await Promise.all([sealing, host.engine()])
      const { image } = await sealer.open(opened.checkpoint, { tenant: opened.tenant, engine, now: clock.now() })
      const make = (spec: SandboxSpec, hooks: Parameters<SandboxHost['create']>[1]) => host.restore(image, spec, hooks)
      return unlessAborted(start(identityOf(opened), opened.hostFunctions ?? commonFunctions, make), signal)
    },
    async prepareImage(preparing, { signal } = {}) {
      signal?.throwIfAborted()
      assertOpen()
      const checked = parseOptions(schemas.prepareImage, 'runtime.prepareImage', preparing)
      const { memoryLimitBytes, code, hostFunctions = {}, timeoutMs = SETUP_TIMEOUT_MS } = checked
      const spec = specOf({ id: nextId(), incarnation: 1, memoryLimitBytes }, Object.keys(hostFunctions))
      return captureSetup({ host, clock, spec, code, hostFunctions, timeoutMs, signal })
    },
    prepare: async (preparing) => prepare(parseOptions(schemas.prepare, 'runtime.prepare', preparing)),
    async recover(incidentId, { signal, hostFunctions = commonFunctions } = {}) {
      assertOpen()
      return recoverIncident(await incidentDeps(), incidentId, resumption(hostFunctions), signal)
    },
    checkpoints: (tenant) => checkpoints.list(tenant, { limit: LISTED_MAX }),
    incidents: (tenant) => incidents.list(tenant, { open: true, limit: LISTED_MAX }),
    duties: [
      {
        name: 'runtime.checkpoint-expiry',
        run: async () => ({ handled: await checkpoints.removeExpired(clock.now(), EXPIRED_PER_RUN) })
      }
    ],
    close,
    [Symbol.asyncDispose]: close
  }
}
