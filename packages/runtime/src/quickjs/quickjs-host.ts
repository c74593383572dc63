import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { RuntimeError } from '../runtime-error.ts'
import type { RestoredSandbox, SandboxHooks, SandboxHost, SandboxSpec } from '../sandbox/sandbox-host.ts'
import { type EngineModule, loadEngine } from './engine-module.ts'
import { createIdleThreads } from './idle-threads.ts'
import { openOn } from './quickjs-sandbox.ts'
import { WORD_COUNT } from './worker-protocol.ts'
import type { WorkerThread } from './worker-thread.ts'

/** How QuickJS sandboxes are hosted. */
export interface QuickjsHostOptions {
  /**
   * The bytes of `quickjs-wasi/quickjs.wasm`, for bundled applications in which the package's file is not on disk. By
   * default it is read from the installed package.
   */
  readonly wasm?: Uint8Array
  /** Started threads kept waiting so that a restore takes milliseconds, in [0, 16]. Default 1. */
  readonly idleThreads?: number
  /** Sandboxes open at a time, in [1, 500]; each has a thread. Default 64. */
  readonly sandboxesMax?: number
}

/**
 * 500 because each instance reserves 8 GB of address space and creation slows from 1,000 to 300 a second on the way
 * there; 16 because an idle thread takes about 5 MB.
 */
const schema: z.ZodType<QuickjsHostOptions> = z.strictObject({
  wasm: z.instanceof(Uint8Array).optional(),
  idleThreads: z.int().min(0).max(16).optional(),
  sandboxesMax: z.int().min(1).max(500).optional()
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
 * Hosts sandboxes in QuickJS on WebAssembly, each on a thread of its own. What the guest allocates is bounded exactly
 * by the engine, and the linear memory by a maximum compiled into the module (the limit, half as much again for
 * fragmentation, and 4 MiB), so that no guest reaches the host's memory. A guest can be stopped in the middle of any
 * code, and its whole state, suspended evaluations included, becomes bytes.
 *
 * Throws `INVALID_OPTIONS`. The engine is loaded with the first sandbox; `ENGINE_UNAVAILABLE` comes from there.
 */
export function quickjsHost(options: QuickjsHostOptions = {}): SandboxHost {
  const { wasm, idleThreads = 1, sandboxesMax = 64 } = parseOptions(schema, 'quickjsHost', options)
  const idle = createIdleThreads(idleThreads)
  const open = new Set<WorkerThread>()
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
    spec: SandboxSpec,
    hooks: SandboxHooks,
    image: Uint8Array<ArrayBuffer> | undefined
  ): Promise<RestoredSandbox> => {
    const engine = await load()
    const capped = await engine.capped(capPages(spec.memoryLimitBytes))
    if (closed) throw new RuntimeError('CLOSED', 'the QuickJS host was closed', { what: 'quickjs host' })
    if (open.size >= sandboxesMax) {
      throw new RuntimeError('OVERLOADED', `${open.size} sandboxes are open, as many as this host takes`, {
        what: 'quickjs sandboxes',
        count: open.size,
        limit: sandboxesMax
      })
    }
    const thread = idle.take(capped)
    open.add(thread)
    void thread.ended.then(() => open.delete(thread))
    const words = new SharedArrayBuffer(WORD_COUNT * 4)
    const { now, ...limits } = spec
    const opening = {
      engine: thread.rehearsed === capped ? undefined : capped,
      spec: { ...limits, words },
      wallAt: now()
    }
    try {
      return await openOn(
        thread,
        words,
        spec,
        hooks,
        image === undefined
          ? { kind: 'create', ...opening }
          : // A copy: the original may be restored again, and this one is handed to the other thread.
            { kind: 'restore', ...opening, image: image.slice() }
      )
    } catch (error) {
      await thread.kill()
      throw error
    }
  }

  const close = async (): Promise<void> => {
    closed = true
    await Promise.all([idle.close(), ...[...open].map((thread) => thread.kill())])
  }

  return {
    kind: 'quickjs',
    capabilities: { checkpoint: 'memory', memoryLimit: 'hard', resizeMemory: 'restore' },
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
