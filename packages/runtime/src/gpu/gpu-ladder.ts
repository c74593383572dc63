import { parseOptions, reporter } from '@enablement/core'
import { z } from 'zod'

/** What can be done when memory on the GPU runs out, from the cheapest to what changes the work most. */
export type GpuStep = 'empty-cache' | 'offload' | 'gradient-checkpointing' | 'smaller-batch'

/** How the work is cut up. */
export interface GpuBatch {
  /** Samples on the GPU at a time. */
  readonly size: number
  /** How many of these make one step of training: `size` times this is the batch that the optimiser sees. */
  readonly accumulation: number
}

/** The rungs that the work offers; those that are left out are stepped over. Each is called with the work at rest. */
export interface GpuPorts {
  /** Gives the allocator's cache back. Also called before every later attempt. */
  emptyCache?(): unknown
  /** Moves what is not needed at once to the CPU's memory. */
  offload?(): unknown
  /** Computes activations again instead of keeping them. */
  checkpointGradients?(): unknown
}

/** How far the ladder may be climbed. */
export interface GpuLadderOptions {
  readonly ports?: GpuPorts
  /** What the work begins with. Without it the batch is not made smaller. */
  readonly batch?: GpuBatch
  /** The smallest batch size, at least 1. Default 1. */
  readonly batchSizeMin?: number
  /** Attempts in all, the first included, in [1, 64]. Default 12: the rungs, and eight halvings. */
  readonly attemptsMax?: number
  /** Whether an error of the work says that the GPU's memory ran out. Default `isGpuMemoryError`. */
  readonly isExhausted?: (error: unknown) => boolean
  readonly observe?: (event: GpuLadderEvent) => void
}

/** What was tried. `failed`: the port itself threw; the work was not tried again for its sake. */
export interface GpuStepRecord {
  readonly step: GpuStep
  readonly outcome: 'helped' | 'did-not-help' | 'failed'
  /** What the work was tried with after it. */
  readonly batch?: GpuBatch
}

/** What climbing tells. */
export type GpuLadderEvent =
  | { readonly type: 'gpu.exhausted'; readonly attempt: number; readonly batch?: GpuBatch }
  | { readonly type: 'gpu.step-taken'; readonly step: GpuStep; readonly batch?: GpuBatch }
  | { readonly type: 'gpu.step-failed'; readonly step: GpuStep; readonly error: unknown }

/** How it ended. */
export type GpuLadderOutcome<Result> =
  | {
      readonly outcome: 'completed'
      readonly result: Result
      /** The step after which it went through; absent when the first attempt did. */
      readonly helpedBy?: GpuStep
      readonly steps: readonly GpuStepRecord[]
      readonly attempts: number
      readonly batch?: GpuBatch
    }
  /** `why`: no rung is left, the batch being as small as it may be; or the attempts are spent. */
  | {
      readonly outcome: 'exhausted'
      readonly why: 'floor' | 'attempts'
      readonly steps: readonly GpuStepRecord[]
      readonly attempts: number
      readonly batch?: GpuBatch
    }

const callback = z.custom<() => void>((value) => typeof value === 'function', 'must be a function')
const schema = z
  .strictObject({
    ports: z
      .strictObject({
        emptyCache: callback.optional(),
        offload: callback.optional(),
        checkpointGradients: callback.optional()
      })
      .optional(),
    batch: z
      .strictObject({ size: z.int().min(1).max(1_000_000_000), accumulation: z.int().min(1).max(1_000_000_000) })
      .optional(),
    batchSizeMin: z.int().min(1).optional(),
    attemptsMax: z.int().min(1).max(64).optional(),
    isExhausted: callback.optional(),
    observe: callback.optional()
  })
  .refine(({ batch, batchSizeMin }) => batch === undefined || batch.size >= (batchSizeMin ?? 1), {
    path: ['batchSizeMin'],
    message: 'must not be above the batch that the work begins with'
  }) as unknown as z.ZodType<GpuLadderOptions>

const ATTEMPTS_MAX = 12

/**
 * Runs work that may run out of GPU memory, and climbs the ladder while it does: empty the cache, offload to CPU memory,
 * checkpoint gradients, halve the batch down to its floor. What was done stays done for the attempts that follow, and the
 * batch that the optimiser sees stays the same size: where halving loses a sample the accumulation is rounded up, and the
 * last part of a step is smaller.
 *
 * `work` must be repeatable from its start. Errors that do not say that memory ran out are thrown on. Throws `INVALID_OPTIONS`.
 */
export async function withinGpuMemory<Result>(
  work: (batch: GpuBatch | undefined) => Promise<Result>,
  options: GpuLadderOptions = {}
): Promise<GpuLadderOutcome<Result>> {
  const checked = parseOptions(schema, 'withinGpuMemory', options)
  const { batchSizeMin = 1, attemptsMax = ATTEMPTS_MAX, isExhausted = isGpuMemoryError } = checked
  // The ports as they were given: they may need their `this`.
  const ports = options.ports ?? {}
  const report = reporter(checked.observe)
  const total = (checked.batch?.size ?? 0) * (checked.batch?.accumulation ?? 0)
  const rungs: ('offload' | 'gradient-checkpointing' | 'empty-cache')[] = [
    'empty-cache',
    'offload',
    'gradient-checkpointing'
  ]
  const steps: GpuStepRecord[] = []
  let batch = checked.batch
  let last: GpuStep | undefined

  const withBatch = () => (batch === undefined ? {} : { batch })
  const settleLast = (outcome: 'helped' | 'did-not-help'): void => {
    if (last !== undefined) steps.push({ step: last, outcome, ...withBatch() })
  }

  /** Takes the next step that can be taken; undefined at the top of the ladder. */
  const climb = async (): Promise<GpuStep | undefined> => {
    for (let step = rungs.shift(); step !== undefined; step = rungs.shift()) {
      if (portOf(ports, step) === undefined) continue
      try {
        await portOf(ports, step)?.call(ports)
        return step
      } catch (error) {
        steps.push({ step, outcome: 'failed' })
        report({ type: 'gpu.step-failed', step, error })
      }
    }
    if (batch === undefined || batch.size <= batchSizeMin) return undefined
    const size = Math.max(batchSizeMin, Math.floor(batch.size / 2))
    batch = { size, accumulation: Math.ceil(total / size) }
    try {
      await ports.emptyCache?.()
    } catch (error) {
      report({ type: 'gpu.step-failed', step: 'empty-cache', error })
    }
    return 'smaller-batch'
  }

  for (let attempts = 1; ; attempts += 1) {
    // The error is let go of before anything else is done: it may hold on to what it failed to allocate for.
    const tried = await attempt(work, batch, isExhausted)
    if (tried.outcome === 'completed') {
      settleLast('helped')
      const helpedBy = last === undefined ? {} : { helpedBy: last }
      return { outcome: 'completed', result: tried.result, ...helpedBy, steps, attempts, ...withBatch() }
    }
    settleLast('did-not-help')
    report({ type: 'gpu.exhausted', attempt: attempts, ...withBatch() })
    if (attempts === attemptsMax) return { outcome: 'exhausted', why: 'attempts', steps, attempts, ...withBatch() }
    last = await climb()
    if (last === undefined) return { outcome: 'exhausted', why: 'floor', steps, attempts, ...withBatch() }
    report({ type: 'gpu.step-taken', step: last, ...withBatch() })
  }
}

async function attempt<Result>(
  work: (batch: GpuBatch | undefined) => Promise<Result>,
  batch: GpuBatch | undefined,
  isExhausted: (error: unknown) => boolean
): Promise<{ readonly outcome: 'completed'; readonly result: Result } | { readonly outcome: 'exhausted' }> {
  try {
    return { outcome: 'completed', result: await work(batch) }
  } catch (error) {
    if (!isExhausted(error)) throw error
    return { outcome: 'exhausted' }
  }
}

const portOf = (ports: GpuPorts, step: Exclude<GpuStep, 'smaller-batch'>): (() => unknown) | undefined =>
  step === 'empty-cache' ? ports.emptyCache : step === 'offload' ? ports.offload : ports.checkpointGradients

/** What PyTorch, CUDA, cuBLAS, cuDNN, JAX and TensorFlow say when memory on the GPU ran out. */
export function isGpuMemoryError(error: unknown): boolean {
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return /CUDA( error:)? out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED: .*(memory|OOM)|OOM when allocating tensor/i.test(
    message
  )
}
