import type { Usage } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { createQuotas, type Quota } from '@enablement/metering'
import { type MeteringMiddlewareOptions, type ModelCallEvent, meteringMiddleware } from '@enablement/metering/ai-sdk'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { generateText, simulateReadableStream, streamText, wrapLanguageModel } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, it } from 'vitest'
import { faulty } from '../quota/stage.ts'

type Generated = Extract<ConstructorParameters<typeof MockLanguageModelV4>[0], object>
type StreamPart =
  Awaited<ReturnType<MockLanguageModelV4['doStream']>>['stream'] extends ReadableStream<infer Part> ? Part : never

const usage = (input: number | undefined, output: number | undefined) => ({
  inputTokens: { total: input, noCache: input, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: output, text: output, reasoning: undefined }
})

const stop = { unified: 'stop', raw: 'stop' } as const

const answer = (input: number | undefined, output: number | undefined, text = 'Hello') => ({
  content: [{ type: 'text' as const, text }],
  finishReason: stop,
  usage: usage(input, output),
  warnings: []
})

const words = (count: number): StreamPart[] => [
  { type: 'stream-start', warnings: [] },
  { type: 'text-start', id: '1' },
  ...Array.from({ length: count }, (): StreamPart => ({ type: 'text-delta', id: '1', delta: 'four' }))
]

const finish = (input: number | undefined, output: number | undefined): StreamPart[] => [
  { type: 'text-end', id: '1' },
  { type: 'finish', finishReason: stop, usage: usage(input, output) }
]

const streamed = (parts: StreamPart[]) => ({
  stream: simulateReadableStream({ chunks: parts, chunkDelayInMs: null, initialDelayInMs: null })
})

function setUp(
  mock: Generated,
  {
    quantity = 10_000,
    posture = 'refuse',
    ...options
  }: Partial<MeteringMiddlewareOptions> & { quantity?: number; posture?: 'refuse' | 'allow' } = {}
) {
  const platform = testPlatform()
  const store = faulty(memoryQuotaStore({ platform }))
  const limits = [{ name: 'tokens', quantity, period: 'lifetime' }] as const
  const quotas = createQuotas({ store, limits, onStoreFailure: posture, platform })
  const quota: Quota = quotas.bind({ tenant: 'org', limit: 'tokens' })
  const events: ModelCallEvent[] = []
  const recorded: Usage[] = []
  const middleware = meteringMiddleware({
    quota,
    onExceeded: 'continue',
    platform,
    observe: (event) => events.push(event),
    record: {
      sink: {
        async accept(used) {
          recorded.push(used)
        }
      },
      tenant: 'org',
      subscription: 'sub',
      metric: 'tokens'
    },
    ...options
  })
  const mocked = new MockLanguageModelV4(mock)
  const model = wrapLanguageModel({ model: mocked, middleware })
  const used = async () => {
    const standing = await quota.remaining()
    return standing.outcome === 'known' ? [standing.levels[0]?.used, standing.levels[0]?.held] : standing.outcome
  }
  return { model, mocked, quota, quotas, store, events, recorded, used, platform }
}

describe('a generated answer', () => {
  it('is held for before, and settled and recorded with what it used', async () => {
    const during: unknown[] = []
    const { model, events, recorded, used } = setUp({
      async doGenerate() {
        during.push(await used())
        return answer(20, 5)
      }
    })
    await generateText({ model, prompt: 'x'.repeat(40), maxOutputTokens: 100 })
    expect(during).toEqual([[110, 110]])
    expect(await used()).toEqual([25, 0])
    expect(events).toMatchObject([{ type: 'model-call.settled', held: 110, tokens: 25, estimated: false }])
    expect(recorded).toMatchObject([
      {
        tenant: 'org',
        subscription: 'sub',
        metric: 'tokens',
        quantity: 25,
        transactionId: (events[0] as { callId: string }).callId,
        properties: { provider: 'mock-provider', model: 'mock-model-id', estimated: false }
      }
    ])
  })

  it('that the quota has no room for is not asked for', async () => {
    const { model, mocked, used } = setUp({ doGenerate: answer(1, 1) }, { quantity: 50 })
    await expect(generateText({ model, prompt: 'Hi', maxOutputTokens: 100 })).rejects.toMatchObject({
      code: 'QUOTA_EXCEEDED',
      detail: { limit: 'tokens', path: [], remaining: 50, retryAt: null }
    })
    expect(mocked.doGenerateCalls).toHaveLength(0)
    expect(await used()).toEqual([0, 0])
  })

  it('that failed used nothing, and one that was given up on has read its prompt', async () => {
    const failing = setUp({ doGenerate: () => Promise.reject(new Error('overloaded')) })
    await expect(generateText({ model: failing.model, prompt: 'Hi' })).rejects.toThrow('overloaded')
    expect(await failing.used()).toEqual([0, 0])
    const caller = new AbortController()
    const aborted = setUp({
      doGenerate: () => {
        caller.abort(new Error('gone'))
        return Promise.reject(new Error('gone'))
      }
    })
    const gone = generateText({
      model: aborted.model,
      prompt: 'x'.repeat(40),
      abortSignal: caller.signal,
      maxRetries: 0
    })
    await expect(gone).rejects.toThrow('gone')
    expect(await aborted.used()).toEqual([10, 0])
  })

  it.each([
    [usage(7, undefined), 7, false],
    [usage(undefined, undefined), 10, true],
    [usage(Number.NaN, 3), 0, false]
  ])('with usage %o is settled as %d', async (said, tokens, estimated) => {
    const { model, events } = setUp({ doGenerate: { ...answer(1, 1), usage: said } })
    await generateText({ model, prompt: 'x'.repeat(40) })
    expect(events).toMatchObject([{ tokens, estimated: estimated && tokens > 0 }])
  })

  it('counts as the service says, and beyond its hold as overrun', async () => {
    const { model, events } = setUp(
      { doGenerate: answer(100, 50) },
      {
        quantity: 300,
        tokens: ({ inputTokens, outputTokens }) => (inputTokens.total ?? 0) + 5 * (outputTokens.total ?? 0),
        estimate: () => 200
      }
    )
    await generateText({ model, prompt: 'Hi' })
    expect(events).toMatchObject([{ held: 200, tokens: 350, end: { charged: 300, overrun: 50 } }])
  })

  it('is not thrown away because a sink fails', async () => {
    const { model, events } = setUp(
      { doGenerate: answer(3, 4) },
      {
        record: {
          sink: { accept: () => Promise.reject(new Error('down')) },
          tenant: 'org',
          subscription: 'sub',
          metric: 'tokens'
        }
      }
    )
    expect((await generateText({ model, prompt: 'Hi' })).text).toBe('Hello')
    expect(events[1]).toMatchObject({
      type: 'model-call.unrecorded',
      usage: { quantity: 7 },
      error: { message: 'down' }
    })
  })

  it('is kept back while the store is down, or let through and booked later, as the posture says', async () => {
    const kept = setUp({ doGenerate: answer(3, 4) })
    kept.store.fault = 'down'
    await expect(generateText({ model: kept.model, prompt: 'Hi' })).rejects.toMatchObject({ code: 'QUOTA_UNDECIDED' })
    const let_ = setUp({ doGenerate: answer(3, 4) }, { posture: 'allow' })
    let_.store.fault = 'down'
    await generateText({ model: let_.model, prompt: 'Hi' })
    let_.store.fault = 'none'
    await let_.platform.clock.advance(5_000)
    expect(await let_.used()).toEqual([7, 0])
  })
})

describe('a streamed answer', () => {
  it('is settled with what the model says at its end', async () => {
    const { model, used, recorded } = setUp({ doStream: streamed([...words(3), ...finish(9, 3)]) })
    const result = streamText({ model, prompt: 'Hi', maxOutputTokens: 50 })
    expect(await result.text).toBe('fourfourfour')
    expect(await used()).toEqual([12, 0])
    expect(recorded).toMatchObject([{ quantity: 12 }])
  })

  it('that says more than was estimated is held for more while it speaks', async () => {
    const { model, store, events } = setUp(
      { doStream: streamed([...words(100), ...finish(1, 100)]) },
      { estimate: () => 10 }
    )
    await streamText({ model, prompt: 'Hi' }).text
    const extensions = store.calls.filter(({ method }) => method === 'extend')
    expect(extensions.length).toBeGreaterThan(2)
    expect(extensions.length).toBeLessThan(15)
    expect(events).toMatchObject([{ tokens: 101, end: { charged: 101, overrun: 0 } }])
    expect((events[0] as { held: number }).held).toBeGreaterThanOrEqual(101)
  })

  it('that says more than there is goes on with an overrun, or stops', async () => {
    const parts = [...words(100), ...finish(0, 100)]
    const options = { quantity: 40, estimate: () => 10 }
    const goesOn = setUp({ doStream: streamed(parts) }, options)
    await streamText({ model: goesOn.model, prompt: 'Hi' }).text
    expect(goesOn.events).toMatchObject([{ tokens: 100, end: { charged: 40, overrun: 60 } }])
    // Beyond what there is it asks now and then, and not with every word.
    expect(goesOn.store.calls.filter(({ method }) => method === 'extend').length).toBeLessThan(15)
    const errors: unknown[] = []
    const stops = setUp({ doStream: streamed(parts) }, { ...options, onExceeded: 'stop' })
    const result = streamText({ model: stops.model, prompt: 'Hi', onError: ({ error }) => void errors.push(error) })
    let said = ''
    for await (const text of result.textStream) said += text
    expect(errors).toMatchObject([{ code: 'QUOTA_EXCEEDED' }])
    expect(said.length).toBeLessThan(160)
    expect(stops.events).toMatchObject([{ estimated: true, end: { overrun: expect.any(Number) } }])
    expect(await stops.used()).toEqual([40, 0])
  })

  it('that breaks is settled with what it said, or with nothing', async () => {
    const breaking = (parts: StreamPart[]) => ({
      stream: new ReadableStream<StreamPart>({
        start(controller) {
          for (const part of parts) controller.enqueue(part)
        },
        pull(controller) {
          controller.error(new Error('broken'))
        }
      })
    })
    for (const [parts, tokens] of [
      [words(8), 18],
      [[], 0]
    ] as const) {
      const { model, events, used } = setUp({ doStream: breaking([...parts]) })
      const result = streamText({ model, prompt: 'x'.repeat(40), onError: () => undefined })
      await expect(result.text).rejects.toThrow(/broken|No output/)
      expect(events).toMatchObject([{ tokens, estimated: tokens > 0 }])
      expect(await used()).toEqual([tokens, 0])
    }
  })

  it('that its reader gives up on is settled with what it said', async () => {
    const { quota, store, platform } = setUp({})
    const events: ModelCallEvent[] = []
    const middleware = meteringMiddleware({
      quota,
      onExceeded: 'stop',
      platform,
      observe: (event) => events.push(event)
    })
    let cancelled: unknown
    const source = new ReadableStream<{ type: string; delta: string }>(
      {
        pull: (controller) => controller.enqueue({ type: 'text-delta', delta: 'four' }),
        cancel(reason) {
          cancelled = reason
        }
      },
      { highWaterMark: 0 }
    )
    const { stream } = await middleware.wrapStream({
      doStream: async () => ({ stream: source }),
      params: { prompt: [{ role: 'user', content: [{ type: 'text', text: 'x'.repeat(40) }] }] },
      model: { provider: 'p', modelId: 'm' }
    })
    const reader = stream.getReader()
    await reader.read()
    await reader.read()
    await reader.cancel('enough')
    expect(cancelled).toBe('enough')
    expect(events).toMatchObject([{ tokens: 12, estimated: true, end: { outcome: 'settled', actual: 12 } }])
    expect(store.calls.filter(({ method }) => method === 'settle')).toHaveLength(1)
  })

  it('that is given up on while it is silent is settled once', async () => {
    const { quota, platform } = setUp({})
    const events: ModelCallEvent[] = []
    const observe = (event: ModelCallEvent): void => void events.push(event)
    const middleware = meteringMiddleware({ quota, onExceeded: 'stop', platform, observe })
    const { stream } = await middleware.wrapStream({
      doStream: async () => ({ stream: new ReadableStream<{ type: string }>() }),
      params: { prompt: [{ role: 'user', content: 'x'.repeat(40) }] },
      model: { provider: 'p', modelId: 'm' }
    })
    const reader = stream.getReader()
    const pending = reader.read()
    await new Promise((resolve) => setImmediate(resolve))
    await reader.cancel()
    await pending
    expect(events).toMatchObject([{ tokens: 10, end: { outcome: 'settled', replayed: false } }])
  })

  it('that goes on beyond what there is keeps what it holds', async () => {
    const { quota, platform } = setUp({}, { quantity: 10 })
    const middleware = meteringMiddleware({
      quota,
      onExceeded: 'continue',
      platform,
      holdMs: 1_000,
      estimate: () => 10
    })
    const source = new ReadableStream<{ type: string; delta: string }>(
      {
        async pull(controller) {
          await platform.clock.advance(300)
          controller.enqueue({ type: 'text-delta', delta: 'x'.repeat(40) })
        }
      },
      { highWaterMark: 0 }
    )
    const params = { prompt: [{ role: 'user', content: 'Hi' }] }
    const model = { provider: 'p', modelId: 'm' }
    const { stream } = await middleware.wrapStream({ doStream: async () => ({ stream: source }), params, model })
    const reader = stream.getReader()
    for (let part = 0; part < 12; part++) await reader.read()
    expect(await quota.remaining()).toMatchObject({ levels: [{ held: 10 }] })
    await reader.cancel()
  })

  it('that takes longer than its hold is held for on', async () => {
    const { quota, store, platform } = setUp({})
    const middleware = meteringMiddleware({ quota, onExceeded: 'continue', platform, holdMs: 1_000 })
    const source = new ReadableStream<{ type: string; delta: string }>(
      {
        async pull(controller) {
          await platform.clock.advance(600)
          controller.enqueue({ type: 'text-delta', delta: 'four' })
        }
      },
      { highWaterMark: 0 }
    )
    const params = { prompt: [{ role: 'user', content: 'Hi' }] }
    const model = { provider: 'p', modelId: 'm' }
    const { stream } = await middleware.wrapStream({ doStream: async () => ({ stream: source }), params, model })
    const reader = stream.getReader()
    for (let part = 0; part < 5; part++) await reader.read()
    expect(store.calls.filter(({ method }) => method === 'extend')).toHaveLength(5)
    expect(await quota.remaining()).toMatchObject({ levels: [{ held: 4_097 }] })
    await reader.cancel()
  })
})

describe('the options of the middleware', () => {
  it.each([
    ['no quota', { quota: undefined }, 'quota'],
    ['no word on what exceeds', { onExceeded: undefined }, 'onExceeded'],
    ['a hold of no time', { holdMs: 0 }, 'holdMs'],
    ['a typing error', { onExceed: 'stop' }, 'onExceed']
  ])('are refused with %s', (_what, wrong, path) => {
    const quota = setUp({}).quota
    expect(() => meteringMiddleware({ quota, onExceeded: 'stop', ...wrong } as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'meteringMiddleware', issues: [expect.objectContaining({ path })] }
      })
    )
  })
})
