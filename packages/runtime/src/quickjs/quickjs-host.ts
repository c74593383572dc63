import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { RuntimeError } from '../runtime-error.ts'
import type { RestoredSandbox, SandboxHooks, SandboxHost, SandboxSpec } from '../sandbox/sandbox-host.ts'
import { checkSpec } from '../sandbox/sandbox-spec-schema.ts'
import { type EngineModule, loadEngine } from './engine-module.ts'
import { createFence } from './fence.ts'
import { type QuickjsSandbox, quickjsSandbox } from './quickjs-sandbox.ts'
import { createThreads, overloaded } from './threads.ts'

/** How QuickJS sandboxes are hosted. */
export interface QuickjsHostOptions {
  /**
   * The bytes of `quickjs-wasi/quickjs.wasm`, for bundled applications in which the package's file is not on disk. By
   * default it is read from the installed package.
   */
  readonly wasm?: Uint8Array
  /**
   * Threads kept waiting, started ahead or left by a sandbox that has ended, so that a restore takes a millisecond, in
   * [0, 16] and at most `threadsMax`. Default 1.
   */
  readonly idleThreads?: number
  /** Threads at a time, and so sandboxes that run at a time, in [1, 500]. Default 64. */
  readonly threadsMax?: number
  /**
   * Sandboxes open at a time, in [1, 100,000]. Default 1,000. Those beyond the threads are parked while they run nothing,
   * as images in this process's memory: the one that has been idle longest goes first, and comes back with its next run.
   */
  readonly sandboxesMax?: number
  /** Bytes of all parked images, which are compressed, up to 64 GiB. Default 256 MiB. */
  readonly parkedBytesMax?: number
  /** Runs and openings that wait in line while as many sandboxes run as there are threads, in [0, 10,000]. Default 256. */
  readonly waitingMax?: number
}

/**
 * 500 because each instance reserves 8 GB of address space and creation slows from 1,000 to 300 a second on the way
 * there; 16 because an idle thread takes about 5 MB.
 */
const schema: z.ZodType<QuickjsHostOptions> = z
  .strictObject({
    wasm: z.instanceof(Uint8Array).optional(),
    idleThreads: z.int().min(0).max(16).optional(),
    threadsMax: z.int().min(1).max(500).optional(),
    sandboxesMax: z.int().min(1).max(100_000).optional(),
    parkedBytesMax: z.int().min(0).max(68_719_476_736).optional(),
    waitingMax: z.int().min(0).max(10_000).optional()
  })
  .refine(({ idleThreads = 1, threadsMax = 64 }) => idleThreads <= threadsMax, {
    path: ['idleThreads'],
    message: 'must be at most threadsMax'
  }) as z.ZodType<QuickjsHostOptions>

const PAGE_BYTES = 65_536

/** What the engine needs besides the guest's allocations: its data, its stack of 1 MiB, and its own reserve. */
const ENGINE_BYTES = 4_194_304

/** Linear memory never shrinks and fragments: by a third at 16 MiB in the worst case measured. */
const FRAGMENTATION_RATIO = 0.5

/** The most pages that a sandbox's linear memory can have. */
const capPages = (limitBytes: number): number =>
  Math.min(65_536, Math.ceil((limitBytes * (1 + FRAGMENTATION_RATIO) + ENGINE_BYTES) / PAGE_BYTES))

/**
 * Hosts sandboxes in QuickJS on WebAssembly, each that runs on a thread of its own. What the guest allocates is bounded
 * exactly by the engine, and the linear memory by a maximum compiled into the module (the limit, half as much again for
 * fragmentation, and 4 MiB), so that no guest reaches the host's memory. A guest can be stopped in the middle of any
 * code, and its whole state, suspended evaluations included, becomes bytes.
 *
 * Throws `INVALID_OPTIONS`. The engine is loaded with the first sandbox; `ENGINE_UNAVAILABLE` comes from there.
 */
export function quickjsHost(options: QuickjsHostOptions = {}): SandboxHost {
  const {
    wasm,
    idleThreads = 1,
    threadsMax = 64,
    sandboxesMax = 1_000,
    parkedBytesMax = 268_435_456,
    waitingMax = 256
  } = parseOptions(schema, 'quickjsHost', options)
  const threads = createThreads({ idle: idleThreads, max: threadsMax, line: waitingMax, parkedBytes: parkedBytesMax })
  const fence = createFence()
  const open = new Set<QuickjsSandbox>()
  let loading: Promise<EngineModule> | undefined
  let closed = false

  const load = (): Promise<EngineModule> => {
    loading ??= loadEngine(wasm).catch((error: unknown) => {
      // A file that was not there may be there at the next try.
      loading = undefined
      throw error
    })
    return loading
  }

  const start = async (
    unchecked: SandboxSpec,
    hooks: SandboxHooks,
    image: Uint8Array<ArrayBuffer> | undefined
  ): Promise<RestoredSandbox> => {
    const spec = checkSpec('SandboxSpec', unchecked)
    const module = await load()
    const engine = await module.capped(capPages(spec.memoryLimitBytes))
    if (closed) throw new RuntimeError('CLOSED', 'the QuickJS host was closed', { what: 'quickjs host' })
    if (open.size >= sandboxesMax) throw overloaded('open sandboxes', open.size, sandboxesMax)
    const sandbox = quickjsSandbox({
      threads,
      engine,
      spec,
      hooks,
      onGone() {
        open.delete(sandbox)
        fence.leave(spec.sandboxId, sandbox)
      }
    })
    open.add(sandbox)
    try {
      await fence.enter(spec, sandbox)
    } catch (error) {
      await sandbox.kill()
      throw error
    }
    return { sandbox, ...(await sandbox.open(image)) }
  }

  const close = async (): Promise<void> => {
    closed = true
    await Promise.all([...open].map((sandbox) => sandbox.kill()))
    await threads.close()
  }

  return {
    kind: 'quickjs',
    capabilities: {
      checkpoint: 'memory',
      memoryLimit: 'hard',
      resizeMemory: 'restore',
      readOnly: 'none',
      pauseOnOom: false,
      diskQuota: false,
      network: 'none',
      gpu: false
    },
    async engine() {
      const { hash } = await load()
      return `quickjs:${Buffer.from(hash).toString('hex')}`
    },
    create: async (spec, hooks) => (await start(spec, hooks, undefined)).sandbox,
    restore: (image, spec, hooks) => start(spec, hooks, image),
    close,
    [Symbol.asyncDispose]: close
  }
}
