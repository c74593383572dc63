import {
  type ApprovalGate,
  createIdSource,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform,
  type UsageSink
} from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import type { CheckpointStore } from './checkpoint/checkpoint-store.ts'
import { type CheckpointSealer, createCheckpointSealer } from './checkpoint/sealing.ts'
import type { Incident } from './incident/incident.ts'
import { stepEvidence } from './incident/incident-evidence.ts'
import type { IncidentStore } from './incident/incident-store.ts'
import { end, exhaust, type IncidentDeps } from './incident/memory-exhaustion.ts'
import { OWNERSHIP_MS, type RecoveryOutcome, type Resumption, recoverIncident } from './incident/recovery.ts'
import { RuntimeError } from './runtime-error.ts'
import type { RuntimeEvent } from './runtime-event.ts'
import { type LiveSandboxDeps, liveSandbox, type Ownership, type SandboxIdentity } from './sandbox/live-sandbox.ts'
import { MEMORY_LIMIT_MAX_BYTES, MEMORY_LIMIT_MIN_BYTES } from './sandbox/memory-size.ts'
import type { HostFunctions, Sandbox } from './sandbox/sandbox.ts'
import type { RestoredSandbox, SandboxHost, SandboxSpec } from './sandbox/sandbox-host.ts'

/** What a runtime is made of. */
export interface RuntimeOptions {
  readonly host: SandboxHost
  /** Who is asked for more memory. */
  readonly approvals: ApprovalGate
  readonly checkpoints: CheckpointStore
  readonly incidents: IncidentStore
  /** 32 bytes that checkpoints are sealed under, the same in every process that recovers them. */
  readonly sealingKey: Uint8Array
  /** Host functions of every sandbox; `open`, `restore` and `recover` may bring their own. */
  readonly hostFunctions?: HostFunctions
  /** Where runs are reported: `sandbox-milliseconds`, once per run. Sandboxes then need a `subscription`. */
  readonly usage?: UsageSink
  /** What to ask for, in bytes; twice the current limit unless given. Cut to 2 GiB; must be above the current limit. */
  readonly requestedLimit?: (incident: LimitQuestion) => number
  /** How long the checkpoint of an incident can be restored: 30 days unless given, one minute to a year. */
  readonly incidentTtlMs?: number
  /** Is told what happens. What it throws is dropped. */
  readonly observe?: (event: RuntimeEvent) => void
  readonly platform?: Platform
}

/** What `requestedLimit` decides on. */
export interface LimitQuestion {
  readonly tenant: string
  readonly agent: string
  readonly sandboxId: string
  readonly limitBytes: number
  readonly peakBytes: number
}

/** What a sandbox is opened with. */
export interface OpenOptions {
  readonly tenant: string
  readonly agent: string
  /** Who is charged for its runs; required when the runtime has a `usage` sink. */
  readonly subscription?: string
  /** 1 MiB to 2 GiB: what the guest may have allocated at any time. */
  readonly memoryLimitBytes: number
  /** Instead of the runtime's own. */
  readonly hostFunctions?: HostFunctions
}

/** What a sandbox is restored with. */
export interface RestoreOptions extends OpenOptions {
  /** Bytes that `sandbox.checkpoint()` gave. They may be restored any number of times, each a sandbox of its own. */
  readonly checkpoint: Uint8Array
}

/** How an incident is recovered. */
export interface RecoverOptions {
  readonly signal?: AbortSignal
  /** Instead of the runtime's own. Calls in flight are issued again to the functions of the same names. */
  readonly hostFunctions?: HostFunctions
}

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
   * Carries an incident on from wherever it stands: waits for the verdict, raises the limit, brings the sandbox back.
   * Works in any process that has the stores and the sealing key, also after a crash between any two steps. Throws
   * `INCIDENT_UNKNOWN`, `CHECKPOINT_MISSING` and the other `CHECKPOINT_…` codes, and what the stores and the gate throw;
   * it can be called again then.
   */
  recover(incidentId: string, options?: RecoverOptions): Promise<RecoveryOutcome>
  /** A tenant's incidents that `recover` leads on, the oldest first, at most 1,000. */
  incidents(tenant: string): Promise<readonly Incident[]>
  /** Removes expired checkpoints; for `startWorker`. */
  readonly duties: readonly Duty[]
  /** Closes every sandbox and the host. */
  close(): Promise<void>
}

/** Names are keys in stores and audit entries: short enough to index, no control characters to forge a log line with. */
const nameSchema = z
  .string()
  .min(1)
  .max(200)
  .regex(/^\P{Cc}+$/u, 'must not contain control characters')

/** What a guest may call and an operator can read. */
const functionsSchema = z.record(
  z.string().regex(/^[A-Za-z_$][\w$]{0,63}$/, 'must be an identifier of at most 64 characters'),
  z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function', 'must be a function')
)

const portSchema = z.custom<object>((value) => typeof value === 'object' && value !== null, 'must be an object')
const callbackSchema = z.custom<() => void>((value) => typeof value === 'function', 'must be a function')

const runtimeSchema: z.ZodType<RuntimeOptions> = z.strictObject({
  host: portSchema,
  approvals: portSchema,
  checkpoints: portSchema,
  incidents: portSchema,
  sealingKey: z.instanceof(Uint8Array).refine((key) => key.length === 32, 'must be 32 bytes'),
  hostFunctions: functionsSchema.optional(),
  usage: portSchema.optional(),
  requestedLimit: callbackSchema.optional(),
  incidentTtlMs: z.int().min(60_000).max(31_536_000_000).optional(),
  observe: callbackSchema.optional(),
  platform: portSchema.optional()
}) as unknown as z.ZodType<RuntimeOptions>

const openFields = {
  tenant: nameSchema,
  agent: nameSchema,
  subscription: nameSchema.optional(),
  memoryLimitBytes: z.int().min(MEMORY_LIMIT_MIN_BYTES).max(MEMORY_LIMIT_MAX_BYTES),
  hostFunctions: functionsSchema.optional()
}

/** Checkpoint lifetimes: an incident waits for people, a checkpoint in hand for a program. */
const INCIDENT_TTL_MS = 2_592_000_000
const CHECKPOINT_TTL_MS = 86_400_000
const CHECKPOINT_TTL_MAX_MS = 31_536_000_000

const checkpointTtlSchema = z.int().min(1).max(CHECKPOINT_TTL_MAX_MS)

const INCIDENTS_LISTED_MAX = 1_000

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
  const incidentsUnderWay = new Set<Promise<unknown>>()
  let closed = false

  const openSchema = z.strictObject(openFields).refine((opened) => usage === undefined || opened.subscription, {
    path: ['subscription'],
    message: 'must be given, for runs are reported to a usage sink'
  })
  const restoreSchema = z
    .strictObject({ ...openFields, checkpoint: z.instanceof(Uint8Array) })
    .refine((opened) => usage === undefined || opened.subscription, {
      path: ['subscription'],
      message: 'must be given, for runs are reported to a usage sink'
    })

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
    clock,
    observe,
    usage,
    hostFunctions,
    onGone,
    end: (sandbox) => end(clock, sandbox),
    async seal(identity, image, ttlMs) {
      const validForMs = parseOptions(checkpointTtlSchema, 'sandbox.checkpoint', ttlMs ?? CHECKPOINT_TTL_MS)
      return (await sealing).seal(await header(identity, nextId(), validForMs), image)
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
    return Math.min(usable ? wanted : twice, MEMORY_LIMIT_MAX_BYTES)
  }

  const start = async (
    identity: SandboxIdentity,
    hostFunctions: HostFunctions,
    make: (spec: SandboxSpec, hooks: Parameters<SandboxHost['create']>[1]) => Promise<RestoredSandbox>,
    ownership?: Ownership
  ): Promise<Sandbox> => {
    if (closed) throw new RuntimeError('CLOSED', 'the runtime was closed', { what: 'runtime' })
    let sandbox: Sandbox | undefined
    const forget = (): void => {
      if (sandbox !== undefined) open.delete(sandbox)
    }
    const live = liveSandbox(identity, liveDeps(hostFunctions, forget))
    const restored = await make(
      {
        sandboxId: identity.id,
        memoryLimitBytes: identity.memoryLimitBytes,
        criticalAtBytes: live.criticalAtBytes,
        criticalClearBytes: live.criticalClearBytes,
        hostFunctions: Object.keys(hostFunctions),
        seed: random.fill(new Uint8Array(16)),
        now: () => clock.now()
      },
      live.hooks
    )
    sandbox = live.attach(restored.sandbox, restored, ownership)
    open.add(sandbox)
    const { tenant, agent, id: sandboxId, memoryLimitBytes } = identity
    observe({ type: 'sandbox.opened', tenant, agent, sandboxId, memoryLimitBytes })
    return sandbox
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
    await Promise.all([...open].map((sandbox) => sandbox.close()))
    // A sandbox that is being checkpointed must not lose its thread over this.
    await Promise.allSettled(incidentsUnderWay)
    await host.close()
  }

  return {
    async open(opening, { signal } = {}) {
      signal?.throwIfAborted()
      const opened = parseOptions(openSchema, 'runtime.open', opening) as OpenOptions
      return unlessAborted(start(identityOf(opened), opened.hostFunctions ?? commonFunctions, create), signal)
    },
    async restore(restoring, { signal } = {}) {
      signal?.throwIfAborted()
      const opened = parseOptions(restoreSchema, 'runtime.restore', restoring) as RestoreOptions
      const [sealer, engine] = await Promise.all([sealing, host.engine()])
      const { image } = await sealer.open(opened.checkpoint, { tenant: opened.tenant, engine, now: clock.now() })
      const make = (spec: SandboxSpec, hooks: Parameters<SandboxHost['create']>[1]) => host.restore(image, spec, hooks)
      return unlessAborted(start(identityOf(opened), opened.hostFunctions ?? commonFunctions, make), signal)
    },
    async recover(incidentId, { signal, hostFunctions = commonFunctions } = {}) {
      if (closed) throw new RuntimeError('CLOSED', 'the runtime was closed', { what: 'runtime' })
      return recoverIncident(await incidentDeps(), incidentId, resumption(hostFunctions), signal)
    },
    incidents: (tenant) => incidents.list(tenant, { open: true, limit: INCIDENTS_LISTED_MAX }),
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
