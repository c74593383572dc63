import {
  type GpuBatch,
  type GpuLadderEvent,
  type GpuLadderOptions,
  type GpuPorts,
  isGpuMemoryError,
  withinGpuMemory
} from '@enablement/runtime/monitor'
import { fc } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

const outOfMemory = (): never => {
  throw new Error('CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 79.11 GiB total capacity)')
}

/** Work that needs so much a sample, and a GPU whose room each rung makes larger. */
function gpu(
  room: number,
  gains: { readonly offload?: number; readonly gradients?: number; readonly cache?: number } = {}
) {
  const calls: string[] = []
  const state = { room }
  const ports: GpuPorts = {
    emptyCache: () => {
      calls.push('empty-cache')
      state.room += gains.cache ?? 0
    },
    offload: async () => {
      calls.push('offload')
      state.room += gains.offload ?? 0
    },
    checkpointGradients: () => {
      calls.push('gradient-checkpointing')
      state.room += gains.gradients ?? 0
    }
  }
  const work = async (batch: GpuBatch | undefined): Promise<string> => {
    calls.push(batch === undefined ? 'work' : `work ${batch.size}x${batch.accumulation}`)
    return (batch?.size ?? 1) > state.room ? outOfMemory() : 'trained'
  }
  return { calls, ports, work }
}

describe('the GPU ladder', () => {
  it('is not climbed by work that goes through', async () => {
    const { calls, ports, work } = gpu(8)
    expect(await withinGpuMemory(work, { ports, batch: { size: 8, accumulation: 1 } })).toEqual({
      outcome: 'completed',
      result: 'trained',
      steps: [],
      attempts: 1,
      batch: { size: 8, accumulation: 1 }
    })
    expect(calls).toEqual(['work 8x1'])
  })

  it.each([
    ['empty-cache', { cache: 4 }, 2],
    ['offload', { offload: 4 }, 3],
    ['gradient-checkpointing', { gradients: 4 }, 4]
  ] as const)('says that %s helped, and keeps the batch', async (helpedBy, gains, attempts) => {
    const { ports, work } = gpu(4, gains)
    const outcome = await withinGpuMemory(work, { ports, batch: { size: 8, accumulation: 2 } })
    expect(outcome).toMatchObject({ outcome: 'completed', helpedBy, attempts, batch: { size: 8, accumulation: 2 } })
    expect(outcome.steps.map((step) => step.outcome)).toEqual([
      ...Array.from({ length: attempts - 2 }, () => 'did-not-help'),
      'helped'
    ])
  })

  it('halves the batch and doubles the accumulation, the cache emptied before each attempt', async () => {
    const { calls, ports, work } = gpu(2)
    const outcome = await withinGpuMemory(work, { ports, batch: { size: 16, accumulation: 1 } })
    expect(outcome).toMatchObject({
      outcome: 'completed',
      helpedBy: 'smaller-batch',
      attempts: 7,
      batch: { size: 2, accumulation: 8 }
    })
    expect(calls.slice(-6)).toEqual(['empty-cache', 'work 8x2', 'empty-cache', 'work 4x4', 'empty-cache', 'work 2x8'])
  })

  it('keeps every sample of a step when the size is odd: the accumulation is rounded up', async () => {
    const { ports, work } = gpu(2)
    const outcome = await withinGpuMemory(work, { ports, batch: { size: 5, accumulation: 1 } })
    expect(outcome).toMatchObject({ batch: { size: 2, accumulation: 3 } })
  })

  it('ends at the floor, and never tries below it', async () => {
    const { calls, ports, work } = gpu(0)
    const outcome = await withinGpuMemory(work, { ports, batch: { size: 12, accumulation: 1 }, batchSizeMin: 5 })
    expect(outcome).toMatchObject({ outcome: 'exhausted', why: 'floor', batch: { size: 5, accumulation: 3 } })
    expect(calls.filter((call) => call.startsWith('work')).slice(-2)).toEqual(['work 6x2', 'work 5x3'])
  })

  it('ends when the attempts are spent', async () => {
    const { calls, ports, work } = gpu(0)
    const outcome = await withinGpuMemory(work, { ports, batch: { size: 1_024, accumulation: 1 }, attemptsMax: 5 })
    expect(outcome).toMatchObject({ outcome: 'exhausted', why: 'attempts', attempts: 5 })
    expect(calls.filter((call) => call.startsWith('work'))).toHaveLength(5)
  })

  it('steps over rungs that there are not, and over those that fail', async () => {
    const { work } = gpu(4)
    const events: GpuLadderEvent[] = []
    const outcome = await withinGpuMemory(work, {
      ports: { offload: () => Promise.reject(new Error('no room in memory either')) },
      batch: { size: 8, accumulation: 1 },
      observe: (event) => void events.push(event)
    })
    expect(outcome).toMatchObject({
      outcome: 'completed',
      helpedBy: 'smaller-batch',
      attempts: 2,
      steps: [
        { step: 'offload', outcome: 'failed' },
        { step: 'smaller-batch', outcome: 'helped' }
      ]
    })
    expect(events.map(({ type }) => type)).toEqual(['gpu.exhausted', 'gpu.step-failed', 'gpu.step-taken'])
    expect(await withinGpuMemory(async () => outOfMemory())).toEqual({
      outcome: 'exhausted',
      why: 'floor',
      steps: [],
      attempts: 1
    })
  })

  it('throws on what is no lack of GPU memory, at the first attempt and at any later one', async () => {
    const { ports } = gpu(0)
    await expect(withinGpuMemory(async () => Promise.reject(new Error('NaN loss')), { ports })).rejects.toThrow(
      'NaN loss'
    )
    let attempts = 0
    const work = async () => {
      attempts += 1
      if (attempts === 1) outOfMemory()
      throw new TypeError('shape mismatch')
    }
    await expect(withinGpuMemory(work, { ports })).rejects.toThrow(TypeError)
    expect(attempts).toBe(2)
  })

  it('stays between floor and start, loses no sample, and ends, whatever it is given', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 64 }),
        async (size, accumulation, floor, attemptsMax) => {
          const batchSizeMin = Math.min(floor, size)
          const tried: GpuBatch[] = []
          const outcome = await withinGpuMemory(
            async (batch) => {
              tried.push(batch as GpuBatch)
              return outOfMemory()
            },
            { batch: { size, accumulation }, batchSizeMin, attemptsMax }
          )
          expect(outcome.outcome).toBe('exhausted')
          expect(tried.length).toBeLessThanOrEqual(attemptsMax)
          for (const batch of tried) {
            expect(batch.size).toBeGreaterThanOrEqual(batchSizeMin)
            expect(batch.size).toBeLessThanOrEqual(size)
            expect(batch.size * batch.accumulation).toBeGreaterThanOrEqual(size * accumulation)
            expect(batch.size * (batch.accumulation - 1)).toBeLessThan(size * accumulation)
          }
        }
      ),
      { numRuns: 100 }
    )
  })

  it.each([
    [{ batch: { size: 0, accumulation: 1 } }, /batch.size/],
    [{ batch: { size: -4, accumulation: 1 } }, /batch.size/],
    [{ batch: { size: 4, accumulation: 1 }, batchSizeMin: 0 }, /batchSizeMin/],
    [{ batch: { size: 4, accumulation: 1 }, batchSizeMin: 5 }, /batchSizeMin/],
    [{ attemptsMax: 65 }, /attemptsMax/],
    [{ ports: { offlaod: () => undefined } }, /ports.offlaod/]
  ])('refuses %j', async (options, message) => {
    await expect(withinGpuMemory(async () => 1, options as GpuLadderOptions)).rejects.toThrow(message)
  })
})

describe('an error of GPU memory', () => {
  it.each([
    'CUDA out of memory. Tried to allocate 20.00 MiB',
    'CUDA error: out of memory',
    'torch.cuda.OutOfMemoryError: HIP out of memory',
    'CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
    'RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.',
    'OOM when allocating tensor with shape[64,512]'
  ])('is told by %j', (message) => {
    expect(isGpuMemoryError(new Error(message))).toBe(true)
  })

  it.each(['JavaScript heap out of memory', 'disk full', 'RESOURCE_EXHAUSTED: quota'])(
    'is not told by %j',
    (message) => {
      expect(isGpuMemoryError(new Error(message))).toBe(false)
    }
  )
})
