import type { ApprovalGate, Platform, UsageSink } from '@enablement/core'
import { z } from 'zod'
import type { CheckpointStore } from './checkpoint/checkpoint-store.ts'
import type { IncidentStore } from './incident/incident-store.ts'
import type { AssignOptions, PreparedImage, PrepareImageOptions, PrepareOptions } from './pool/prepared-sandbox.ts'
import type { RuntimeEvent } from './runtime-event.ts'
import { MEMORY_LIMIT_MAX_BYTES, MEMORY_LIMIT_MIN_BYTES } from './sandbox/memory-size.ts'
import type { HostFunctions } from './sandbox/sandbox.ts'
import type { SandboxHost } from './sandbox/sandbox-host.ts'

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
  /** What to ask for, in bytes; twice the current limit unless given. Cut to what the host takes; must be above the current limit. */
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
  /** What the guest may have allocated at any time: 1 MiB to 2 GiB, unless the host says otherwise. */
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

/** Names are keys in stores and audit entries: short enough to index, no control characters to forge a log line with. */
const name = z
  .string()
  .min(1)
  .max(200)
  .regex(/^\P{Cc}+$/u, 'must not contain control characters')

/** What a guest may call and an operator can read. */
const functionName = z.string().regex(/^[A-Za-z_$][\w$]{0,63}$/, 'must be an identifier of at most 64 characters')

/** More would be a table, not an interface. */
const HOST_FUNCTIONS_MAX = 1_000

const functions = z.record(
  functionName,
  z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function', 'must be a function')
)

const port = z.custom<object>((value) => typeof value === 'object' && value !== null, 'must be an object')
const callback = z.custom<() => void>((value) => typeof value === 'function', 'must be a function')

export const runtimeSchema: z.ZodType<RuntimeOptions> = z.strictObject({
  host: port,
  approvals: port,
  checkpoints: port,
  incidents: port,
  sealingKey: z.instanceof(Uint8Array).refine((key) => key.length === 32, 'must be 32 bytes'),
  hostFunctions: functions.optional(),
  usage: port.optional(),
  requestedLimit: callback.optional(),
  incidentTtlMs: z.int().min(60_000).max(31_536_000_000).optional(),
  observe: callback.optional(),
  platform: port.optional()
}) as unknown as z.ZodType<RuntimeOptions>

const image = z.custom<PreparedImage>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    'bytes' in value &&
    value.bytes instanceof Uint8Array &&
    'engine' in value,
  'must be an image of prepareImage'
)

/** What a host takes as a memory limit, in bytes. */
export function memoryLimitsOf(host: SandboxHost): { readonly minBytes: number; readonly maxBytes: number } {
  return host.memoryLimits ?? { minBytes: MEMORY_LIMIT_MIN_BYTES, maxBytes: MEMORY_LIMIT_MAX_BYTES }
}

/** The schemas of a runtime's calls: what a host takes, and who must be named, differs from one runtime to another. */
export function callSchemas(host: SandboxHost, isMetered: boolean) {
  const { minBytes, maxBytes } = memoryLimitsOf(host)
  const memoryLimitBytes = z.int().min(minBytes).max(maxBytes)
  const owner = { tenant: name, agent: name, subscription: name.optional(), hostFunctions: functions.optional() }
  const metered = <Shape extends z.ZodRawShape>(shape: Shape) =>
    z.strictObject(shape).refine((call) => !isMetered || (call as { subscription?: string }).subscription, {
      path: ['subscription'],
      message: 'must be given, for runs are reported to a usage sink'
    })
  return {
    open: metered({ ...owner, memoryLimitBytes }) as unknown as z.ZodType<OpenOptions>,
    restore: metered({
      ...owner,
      memoryLimitBytes,
      checkpoint: z.instanceof(Uint8Array)
    }) as unknown as z.ZodType<RestoreOptions>,
    assign: metered(owner) as unknown as z.ZodType<AssignOptions>,
    prepareImage: z.strictObject({
      memoryLimitBytes,
      code: z.string().max(1_048_576),
      hostFunctions: functions.optional(),
      timeoutMs: z.number().min(1).max(86_400_000).optional()
    }) as unknown as z.ZodType<PrepareImageOptions>,
    prepare: z.strictObject({
      memoryLimitBytes,
      hostFunctions: z.array(functionName).max(HOST_FUNCTIONS_MAX).optional(),
      image: image.optional()
    }) as z.ZodType<PrepareOptions>
  }
}
