import { noEffect } from '@enablement/oversight'
import { type ApprovedTool, approvalResponses, approvedTool } from '@enablement/oversight/ai-sdk'
import { generateText, type ModelMessage, streamText, ToolLoopAgent, type ToolSet, tool } from 'ai'
import { MockLanguageModelV4, simulateReadableStream } from 'ai/test'
import { describe, expect, it } from 'vitest'
import { origin, type Refund, refundSchema, type ToolOptions, type ToolStage, toolStage } from '../tool-call/stage.ts'

const order118: Refund = { order: '118', cents: 1_200 }
const order119: Refund = { order: '119', cents: 700 }
const question: ModelMessage[] = [{ role: 'user', content: 'Refund them, please.' }]

const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 }
}

type StreamPart =
  Awaited<ReturnType<MockLanguageModelV4['doStream']>>['stream'] extends ReadableStream<infer Part> ? Part : never

/** Calls `refund` once for each of `inputs`, and then says what the tools told it. */
function model(...inputs: readonly Refund[]): MockLanguageModelV4 {
  const answer = (prompt: readonly { readonly role: string; readonly content: unknown }[]) => {
    const last = prompt.at(-1)
    if (last?.role === 'tool') {
      const outputs = (last.content as readonly { readonly output: unknown }[]).map(({ output }) => output)
      const content = [{ type: 'text' as const, text: JSON.stringify(outputs) }]
      return { content, finishReason: { unified: 'stop' as const, raw: undefined } }
    }
    const content = inputs.map((input, at) => ({
      type: 'tool-call' as const,
      toolCallId: `call_${at + 1}`,
      toolName: 'refund',
      input: JSON.stringify(input)
    }))
    return { content, finishReason: { unified: 'tool-calls' as const, raw: undefined } }
  }
  return new MockLanguageModelV4({
    doGenerate: async ({ prompt }) => ({ ...answer(prompt), usage, warnings: [] }),
    doStream: async ({ prompt }) => {
      const { content, finishReason } = answer(prompt)
      const chunks: StreamPart[] = [{ type: 'stream-start', warnings: [] }]
      for (const part of content) {
        if (part.type === 'tool-call') chunks.push(part)
        else
          chunks.push(
            { type: 'text-start', id: '1' },
            { type: 'text-delta', id: '1', delta: part.text },
            { type: 'text-end', id: '1' }
          )
      }
      chunks.push({ type: 'finish', finishReason, usage })
      return { stream: simulateReadableStream({ chunks, initialDelayInMs: null, chunkDelayInMs: null }) }
    }
  })
}

const toolsOf = (refund: ApprovedTool<Refund, { paid: number }>) => ({
  refund: tool({ description: 'Refunds an order', inputSchema: refundSchema, execute: refund.execute })
})

const approved = (stage: ToolStage, changed: Partial<ToolOptions> = {}) =>
  approvedTool({ ...stage.process(), ...changed, origin })

/** The history of a chat that has come as far as asking for approval. */
async function askedHistory(
  refund: ApprovedTool<Refund, { paid: number }>,
  ...inputs: readonly Refund[]
): Promise<ModelMessage[]> {
  const { responseMessages } = await generateText({
    model: model(...inputs),
    tools: toolsOf(refund),
    toolApproval: { refund: refund.requestApproval },
    messages: question
  })
  return [...question, ...responseMessages]
}

/** Carries a chat on as another process would, and returns what the model is told. */
async function carryOn(
  stage: ToolStage,
  messages: ModelMessage[],
  changed: Partial<ToolOptions> = {}
): Promise<unknown> {
  const refund = approved(stage, changed)
  const toolApproval = { refund: refund.requestApproval }
  const { text } = await stage.passing(generateText({ model: model(), tools: toolsOf(refund), toolApproval, messages }))
  return JSON.parse(text)
}

/** The history with the response to what it asks, from a process that has seen nothing of it before. */
async function responded(stage: ToolStage, history: ModelMessage[]): Promise<ModelMessage[]> {
  const answer = await approvalResponses(history, { tools: { refund: approved(stage) } })
  if (answer.outcome !== 'ready') throw new Error(answer.outcome)
  return [...history, answer.message]
}

const paid = (cents: number): unknown => ({ type: 'json', value: { paid: cents } })

describe('an approved call, resumed by the AI SDK alone', () => {
  const run = async (resumptions: number, secret?: string): Promise<number> => {
    let executions = 0
    const tools: ToolSet = {
      refund: tool({
        description: 'Refunds an order',
        inputSchema: refundSchema,
        execute: async ({ cents }) => {
          executions += 1
          return { paid: cents }
        }
      })
    }
    const settings = {
      model: model(order118),
      tools,
      toolApproval: { refund: 'user-approval' as const },
      ...(secret === undefined ? {} : { experimental_toolApprovalSecret: secret })
    }
    const { content, responseMessages } = await generateText({ ...settings, messages: question })
    const asked = content.find((part) => part.type === 'tool-approval-request')
    const response = { type: 'tool-approval-response' as const, approvalId: asked?.approvalId ?? '', approved: true }
    const messages: ModelMessage[] = [...question, ...responseMessages, { role: 'tool', content: [response] }]
    await Promise.all(Array.from({ length: resumptions }, () => generateText({ ...settings, messages })))
    return executions
  }

  it('runs as often as its history is sent', async () => {
    expect(await run(2)).toBe(2)
    expect(await run(3)).toBe(3)
  })

  it('runs as often though its approval is signed', async () => {
    expect(await run(2, 'a secret of at least thirty-two bytes')).toBe(2)
  })
})

describe('an approved call, resumed with oversight', () => {
  it('runs once, resumed twice or three times at the same time, and every resumption has its result', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    await stage.approve()
    const messages = await responded(stage, history)
    expect(await carryOn(stage, messages)).toEqual([paid(1_200)])
    expect(await carryOn(stage, messages)).toEqual([paid(1_200)])
    expect(stage.paid).toEqual([order118])

    await using other = await toolStage()
    const asked = await askedHistory(approved(other), order118)
    await other.approve()
    const twin = await responded(other, asked)
    const results = await Promise.all([carryOn(other, twin), carryOn(other, twin), carryOn(other, twin)])
    expect(results).toEqual([[paid(1_200)], [paid(1_200)], [paid(1_200)]])
    expect(other.paid).toEqual([order118])
  })

  it('is refused when its history carries other arguments', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    await stage.approve()
    const messages = await responded(stage, history)
    const tampered = JSON.parse(JSON.stringify(messages).replaceAll('1200', '990000')) as ModelMessage[]
    expect(await carryOn(stage, tampered)).toEqual([
      { type: 'execution-denied', reason: expect.stringContaining('the tool or its arguments differ') }
    ])
    expect(stage.paid).toEqual([])
    expect(await carryOn(stage, messages)).toEqual([paid(1_200)])
  })

  it('is refused when the approval in its history is forged', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    const text = JSON.stringify(history)
    const approvalId = /"approvalId":"([^"]+)"/.exec(text)?.[1] ?? ''
    const forged: ModelMessage = {
      role: 'tool',
      content: [{ type: 'tool-approval-response', approvalId, approved: true }]
    }
    expect(await carryOn(stage, [...history, forged])).toEqual([
      { type: 'error-text', value: expect.stringContaining('waits for a person') }
    ])
    await stage.deny('not this order')
    expect(await carryOn(stage, [...history, forged])).toEqual([
      { type: 'execution-denied', reason: expect.stringContaining('A person denied this call: not this order') }
    ])
    expect(stage.paid).toEqual([])
  })

  it('is in doubt when its effect throws, says so, and is not run again', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    await stage.approve()
    const messages = await responded(stage, history)
    let runs = 0
    const effect = async (): Promise<never> => {
      runs += 1
      throw new Error('the connection was lost')
    }
    const doubt = [{ type: 'error-text', value: expect.stringContaining('whether it took effect is not known') }]
    expect(await carryOn(stage, messages, { effect })).toEqual(doubt)
    expect(await carryOn(stage, messages, { effect })).toEqual(doubt)
    expect(runs).toBe(1)
  })

  it('runs again after an effect that had none', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    await stage.approve()
    const messages = await responded(stage, history)
    const effect = async (): Promise<never> => {
      throw noEffect('the card was declined')
    }
    expect(await carryOn(stage, messages, { effect })).toEqual([
      { type: 'error-text', value: expect.stringMatching(/failed before anything took effect: the card was declined$/) }
    ])
    expect(await carryOn(stage, messages)).toEqual([paid(1_200)])
  })

  it('says so when somebody else takes longer with it than one may wait', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    await stage.approve()
    const messages = await responded(stage, history)
    const [first, second] = await Promise.all([
      carryOn(stage, messages),
      carryOn(stage, messages, { busyWaitMs: 0 } as Partial<ToolOptions>)
    ])
    expect(first).toEqual([paid(1_200)])
    expect(second).toEqual([
      { type: 'error-text', value: expect.stringContaining('is being carried out at this moment') }
    ])
  })

  it('throws what the application can tell apart', async () => {
    await using stage = await toolStage()
    const refund = approved(stage)
    await refund.requestApproval(order118, { toolCallId: 'call_1' })
    await expect(refund.execute(order118, { toolCallId: 'call_1' })).rejects.toMatchObject({
      code: 'TOOL_CALL_REFUSED',
      detail: { because: 'pending', requestId: stage.requests[0], toolCallId: 'call_1' }
    })
    await expect(refund.execute(order118, { toolCallId: '' })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
  })

  it('is not begun once the signal has aborted', async () => {
    await using stage = await toolStage()
    const refund = approved(stage)
    await refund.requestApproval(order118, { toolCallId: 'call_1' })
    await stage.approve()
    const abortSignal = AbortSignal.abort(new Error('stopped'))
    await expect(refund.execute(order118, { toolCallId: 'call_1', abortSignal })).rejects.toThrow('stopped')
    expect(stage.paid).toEqual([])
  })
})

describe('approvals out of band', () => {
  it('are turned into responses, each by its own id, once all are decided', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118, order119)
    const tools = { refund: approved(stage) }
    const [first, second] = stage.requests as [string, string]
    expect(await approvalResponses(history, { tools })).toEqual({ outcome: 'pending', requestIds: [first, second] })
    await stage.approve(second)
    expect(await approvalResponses(history, { tools })).toEqual({ outcome: 'pending', requestIds: [first] })
    await stage.deny('118 was never paid', first)
    const messages = await responded(stage, history)
    expect(messages.at(-1)?.content).toMatchObject([
      { approved: false, reason: expect.stringContaining('118 was never paid') },
      { approved: true }
    ])
    expect(await carryOn(stage, messages)).toEqual([
      paid(700),
      { type: 'execution-denied', reason: expect.stringContaining('A person denied this call: 118 was never paid') }
    ])
    expect(stage.paid).toEqual([order119])
    expect(await approvalResponses(messages, { tools })).toEqual({ outcome: 'nothing-asked' })
  })

  it('are waited for as long as one likes', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    const tools = { refund: approved(stage) }
    const answer = approvalResponses(history, { tools, waitMs: 60_000 })
    await stage.platform.clock.advance(1_000)
    await stage.approve()
    expect(await stage.passing(answer)).toMatchObject({ outcome: 'ready' })
    const stopped = new AbortController()
    const other = approvalResponses(
      await askedHistory(approvedTool({ ...stage.process(), origin: { ...origin, thread: 'chat-2' } }), order118),
      {
        tools: { refund: approvedTool({ ...stage.process(), origin: { ...origin, thread: 'chat-2' } }) },
        waitMs: 60_000,
        signal: stopped.signal
      }
    )
    stopped.abort(new Error('stopped'))
    await expect(other).rejects.toThrow('stopped')
  })

  it('that nobody gave are told as that, and not as a refusal', async () => {
    await using stage = await toolStage()
    const history = await askedHistory(approved(stage), order118)
    await stage.expire()
    expect(await carryOn(stage, await responded(stage, history))).toEqual([
      { type: 'execution-denied', reason: expect.stringContaining('That is no refusal by a person') }
    ])
  })

  it('ask nobody about arguments that the action refuses', async () => {
    await using stage = await toolStage()
    const refund = approved(stage)
    expect(await refund.requestApproval({ order: '118', cents: -1 }, { toolCallId: 'call_1' })).toEqual({
      type: 'denied',
      reason: expect.stringMatching(/cents.*Nobody was asked/)
    })
    expect(await refund.requestApproval({ order: '1\n18', cents: 1 }, { toolCallId: 'call_1' })).toEqual({
      type: 'denied',
      reason: 'The summary of this call must be one line. Nobody was asked. Correct the arguments.'
    })
    expect(stage.requests).toEqual([])
  })

  it('take the origin from the context of the tool', async () => {
    await using stage = await toolStage()
    const threads: unknown[] = []
    const refund = approvedTool({
      ...stage.process(),
      origin: (toolContext) => {
        threads.push(toolContext)
        return { ...origin, thread: String(toolContext) }
      }
    })
    await refund.requestApproval(order118, { toolCallId: 'call_1', toolContext: 'chat-8' })
    await refund.requestApproval(order118, { toolCallId: 'call_1', toolContext: 'chat-9' })
    await expect(refund.execute(order118, { toolCallId: 'call_1', context: 'chat-9' })).rejects.toThrow('waits')
    expect(threads).toEqual(['chat-8', 'chat-9', 'chat-9'])
    expect(stage.requests).toHaveLength(2)
  })
})

describe('approvals in band', () => {
  const inBand = (refund: ApprovedTool<Refund, { paid: number }>, onWaitOver: 'user-approval' | 'deny') =>
    generateText({
      model: model(order118),
      tools: toolsOf(refund),
      toolApproval: { refund: refund.awaitApproval({ waitMs: 5_000, onWaitOver }) },
      stopWhen: ({ steps }) => steps.length === 2,
      messages: question
    })

  it('hold the step until the verdict, and carry out what was approved', async () => {
    await using stage = await toolStage()
    const run = inBand(approved(stage), 'user-approval')
    await stage.platform.clock.advance(1_000)
    expect(stage.paid).toEqual([])
    await stage.approve()
    expect(JSON.parse((await stage.passing(run)).text)).toEqual([paid(1_200)])
    expect(stage.platform.clock.pendingTimers).toBe(0)
  })

  it('give a denial with its reason, and tell silence as silence', async () => {
    await using stage = await toolStage()
    const run = inBand(approved(stage), 'user-approval')
    await stage.platform.clock.advance(1_000)
    await stage.deny('not this order')
    expect((await stage.passing(run)).text).toContain('A person denied this call: not this order')

    await using silent = await toolStage()
    const unanswered = inBand(approved(silent), 'deny')
    expect((await silent.passing(unanswered)).text).toContain(
      'nobody decided within 5000 ms. That is no refusal by a person'
    )
    expect((await silent.oversight.inspect(silent.requests[0] as string)).status).toBe('cancelled')
    expect(silent.paid).toEqual([])
  })

  it('go on out of band when the wait is over', async () => {
    await using stage = await toolStage()
    const { responseMessages } = await stage.passing(inBand(approved(stage), 'user-approval'))
    const history = [...question, ...responseMessages]
    await stage.approve()
    expect(await carryOn(stage, await responded(stage, history))).toEqual([paid(1_200)])
  })

  it('end with the signal', async () => {
    await using stage = await toolStage()
    const stopped = new AbortController()
    const wait = approved(stage).awaitApproval({ waitMs: 60_000, onWaitOver: 'deny', signal: stopped.signal })
    const verdict = wait(order118, { toolCallId: 'call_1' })
    await stage.platform.clock.advance(1_000)
    stopped.abort(new Error('stopped'))
    await expect(verdict).rejects.toThrow('stopped')
    expect(stage.platform.clock.pendingTimers).toBe(0)
  })

  it('hold in streamText and in an agent too', async () => {
    await using stage = await toolStage()
    const refund = approved(stage)
    const toolApproval = { refund: refund.awaitApproval({ waitMs: 60_000, onWaitOver: 'user-approval' }) }
    const stopWhen = ({ steps }: { readonly steps: readonly unknown[] }): boolean => steps.length === 2
    const settings = { model: model(order118), tools: toolsOf(refund), toolApproval, stopWhen }
    const streamed = Promise.resolve(streamText({ ...settings, messages: question }).text)
    await stage.platform.clock.advance(1_000)
    await stage.approve()
    expect(JSON.parse(await stage.passing(streamed))).toEqual([paid(1_200)])
    // The same call once more, by another class of the SDK: its result is known.
    const agent = new ToolLoopAgent(settings)
    expect(JSON.parse((await stage.passing(agent.generate({ messages: question }))).text)).toEqual([paid(1_200)])
    expect(stage.paid).toEqual([order118])
  })
})

describe('the options of an approved tool', () => {
  it('are refused with the path', async () => {
    await using stage = await toolStage()
    const options = { ...stage.process(), origin }
    // @ts-expect-error: there is no such option
    expect(() => approvedTool({ ...options, retries: 1 })).toThrow('retries: there is no such option')
    expect(() => approvedTool({ ...options, busyWaitMs: Number.NaN })).toThrow('busyWaitMs')
    const refund = approvedTool(options)
    // @ts-expect-error: what happens when the wait is over has to be said
    expect(() => refund.awaitApproval({ waitMs: 1 })).toThrow('onWaitOver')
    expect(() => refund.awaitApproval({ waitMs: Number.POSITIVE_INFINITY, onWaitOver: 'deny' })).toThrow('waitMs')
  })
})
