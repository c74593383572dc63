import {
  type ApprovedTool,
  approvedTool,
  type HitlRequest,
  hitlResponse,
  resumption
} from '@enablement/oversight/langgraph'
import { AIMessage, type BaseMessage, ToolMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import {
  Annotation,
  Command,
  interrupt,
  MemorySaver,
  MessagesAnnotation,
  Send,
  START,
  StateGraph
} from '@langchain/langgraph'
import { ToolNode } from '@langchain/langgraph/prebuilt'
import { describe, expect, it } from 'vitest'
import { origin, type Refund, refundSchema, type ToolOptions, type ToolStage, toolStage } from '../tool-call/stage.ts'

const order118: Refund = { order: '118', cents: 1_200 }
const order119: Refund = { order: '119', cents: 700 }
const { tenant, requestedBy } = origin
const config = { configurable: { thread_id: 'thread-1' } }

type RefundTool = ApprovedTool<Refund, { paid: number }>

const approved = (stage: ToolStage, changed: Partial<ToolOptions> = {}): RefundTool =>
  approvedTool({ ...stage.process(), ...changed, interrupt, origin: { tenant, requestedBy } })

const State = Annotation.Root({
  refunds: Annotation<readonly Refund[]>,
  outcomes: Annotation<readonly string[]>({ reducer: (held, more) => [...held, ...more], default: () => [] })
})

/** One task for each refund, all at the same time; each tells what came of it. */
function fanOut(refund: RefundTool, checkpointer: MemorySaver, entered: string[] = []) {
  return new StateGraph(State)
    .addNode('pay', async ({ refunds: [detail] }, nodeConfig) => {
      if (detail === undefined) return {}
      entered.push(detail.order)
      const outcome = await refund.call(detail, { toolCallId: `refund-${detail.order}`, config: nodeConfig })
      return { outcomes: [`${detail.order}: ${outcome.outcome}`] }
    })
    .addConditionalEdges(START, ({ refunds }) => refunds.map((detail) => new Send('pay', { refunds: [detail] })))
    .compile({ checkpointer })
}

/** The tools of an agent that has been told to call `refund` once for each of `inputs`, in one node. */
function toolGraph(refund: RefundTool, checkpointer: MemorySaver) {
  const schema = refundSchema
  const node = new ToolNode([tool(refund.invoke, { name: 'refund', description: 'Refunds an order', schema })])
  return new StateGraph(MessagesAnnotation).addNode('tools', node).addEdge(START, 'tools').compile({ checkpointer })
}

const calling = (...inputs: readonly Refund[]): { messages: BaseMessage[] } => ({
  messages: [
    new AIMessage({
      content: '',
      tool_calls: inputs.map((args, at) => ({ id: `call_${at + 1}`, name: 'refund', args, type: 'tool_call' as const }))
    })
  ]
})

const told = (messages: readonly BaseMessage[]): readonly unknown[] =>
  messages.filter((message) => message instanceof ToolMessage).map(({ content }) => content)

/** Resumes a graph by the verdicts, as a process would that has seen nothing of it before. */
async function carryOn(stage: ToolStage, checkpointer: MemorySaver, changed: Partial<ToolOptions> = {}) {
  const refund = approved(stage, changed)
  const graph = fanOut(refund, checkpointer)
  const answer = await resumption(await graph.getState(config), { tools: [refund] })
  if (answer.outcome !== 'resume') throw new Error(answer.outcome)
  const result = await stage.passing(graph.invoke(new Command({ resume: answer.resume }), config))
  return { outcomes: result.outcomes, answer }
}

describe('an approved call, resumed by LangGraph alone', () => {
  it('runs as often as its graph is resumed at the same time', async () => {
    let entered = 0
    let executions = 0
    const graph = new StateGraph(State)
      .addNode('pay', async () => {
        entered += 1
        if (interrupt('Refund it?') === true) executions += 1
        return {}
      })
      .addEdge(START, 'pay')
      .compile({ checkpointer: new MemorySaver() })
    await graph.invoke({ refunds: [order118] }, config)
    await Promise.all(Array.from({ length: 3 }, () => graph.invoke(new Command({ resume: true }), config)))
    expect(executions).toBe(3)
    // Each resumption runs the node from its start, so what stands before the interrupt has run once more.
    expect(entered).toBe(4)
  })

  it('runs again when another call of its node interrupts after it', async () => {
    let executions = 0
    const graph = new StateGraph(State)
      .addNode('pay', async () => {
        if (interrupt('Refund 118?') === true) executions += 1
        interrupt('Refund 119?')
        return {}
      })
      .addEdge(START, 'pay')
      .compile({ checkpointer: new MemorySaver() })
    await graph.invoke({ refunds: [] }, config)
    await graph.invoke(new Command({ resume: true }), config)
    await graph.invoke(new Command({ resume: true }), config)
    expect(executions).toBe(2)
  })
})

describe('an approved call, resumed with oversight', () => {
  it('runs once though three resumptions run at the same time', async () => {
    await using stage = await toolStage()
    const checkpointer = new MemorySaver()
    const entered: string[] = []
    await fanOut(approved(stage), checkpointer, entered).invoke({ refunds: [order118] }, config)
    await stage.approve()
    const [requestId] = stage.requests
    const graphs = [1, 2, 3].map(() => fanOut(approved(stage), checkpointer, entered))
    const results = await stage.passing(
      Promise.all(graphs.map((graph) => graph.invoke(new Command({ resume: { requestId } }), config)))
    )
    expect(results.flatMap(({ outcomes }) => outcomes).sort()).toEqual([
      '118: executed',
      '118: replayed',
      '118: replayed'
    ])
    expect(entered).toHaveLength(4)
    expect(stage.paid).toEqual([order118])
  })

  it('runs once though its node runs again for another call that interrupts after it', async () => {
    await using stage = await toolStage()
    const checkpointer = new MemorySaver()
    await toolGraph(approved(stage), checkpointer).invoke(calling(order118, order119), config)
    expect(stage.requests).toHaveLength(2)
    const [first, second] = stage.requests as [string, string]
    const resume = async () => {
      const refund = approved(stage)
      const graph = toolGraph(refund, checkpointer)
      const answer = await resumption(await graph.getState(config), { tools: [refund] })
      if (answer.outcome !== 'resume') return answer.outcome
      return told((await stage.passing(graph.invoke(new Command({ resume: answer.resume }), config))).messages)
    }
    expect(await resume()).toBe('pending')
    await stage.approve(first)
    expect(await resume()).toEqual([])
    expect(stage.paid).toEqual([order118])
    await stage.approve(second)
    expect(await resume()).toEqual(['{"paid":1200}', '{"paid":700}'])
    expect(stage.paid).toEqual([order118, order119])
  })

  it('is not run by a resumption that comes before the verdict, whatever value it brings', async () => {
    await using stage = await toolStage()
    const graph = fanOut(approved(stage), new MemorySaver())
    await graph.invoke({ refunds: [order118] }, config)
    const early = await graph.invoke(new Command({ resume: { outcome: 'approved' } }), config)
    expect(early.outcomes).toEqual([])
    expect((await graph.getState(config)).tasks[0]?.interrupts[0]?.value).toMatchObject({
      type: 'oversight.approval',
      requestId: stage.requests[0],
      action: 'payments.refund',
      summary: 'Refund 1200 cents for order 118'
    })
    await stage.approve()
    expect((await stage.passing(graph.invoke(new Command({ resume: 'go on' }), config))).outcomes).toEqual([
      '118: executed'
    ])
    expect(stage.paid).toEqual([order118])
  })

  it('is refused when its id comes back with other arguments', async () => {
    await using stage = await toolStage()
    const checkpointer = new MemorySaver()
    const graph = toolGraph(approved(stage), checkpointer)
    await graph.invoke(calling(order118), config)
    await stage.approve()
    const other = { configurable: { thread_id: 'thread-1', checkpoint_ns: '' } }
    const result = await toolGraph(approved(stage), new MemorySaver()).invoke(calling(order119), other)
    expect(told(result.messages)).toEqual([expect.stringContaining('the tool or its arguments differ')])
    expect(stage.paid).toEqual([])
  })

  it('is in doubt when its effect throws, says so, and is not run again', async () => {
    await using stage = await toolStage()
    const checkpointer = new MemorySaver()
    await toolGraph(approved(stage), checkpointer).invoke(calling(order118), config)
    await stage.approve()
    let runs = 0
    const effect = async (): Promise<never> => {
      runs += 1
      throw new Error('the connection was lost')
    }
    const doubt = [expect.stringContaining('whether it took effect is not known')]
    const graph = toolGraph(approved(stage, { effect }), checkpointer)
    expect(told((await graph.invoke(new Command({ resume: 'go on' }), config)).messages)).toEqual(doubt)
    const again = toolGraph(approved(stage, { effect }), new MemorySaver())
    expect(told((await again.invoke(calling(order118), config)).messages)).toEqual(doubt)
    expect(runs).toBe(1)
  })

  it('is not begun once the signal has aborted', async () => {
    await using stage = await toolStage()
    const signal = AbortSignal.abort(new Error('stopped'))
    const call = { toolCallId: 'refund-118', config: { ...config, signal } }
    await expect(approved(stage).call(order118, call)).rejects.toThrow('stopped')
    expect(stage.requests).toEqual([])
  })
})

describe('parallel interrupts', () => {
  it('are resumed each by its own id, in any order, by any process', async () => {
    await using stage = await toolStage()
    const checkpointer = new MemorySaver()
    const refund = approved(stage)
    const graph = fanOut(refund, checkpointer)
    await graph.invoke({ refunds: [order118, order119] }, config)
    const idOf = async (order: string): Promise<string> => {
      const { tasks } = await graph.getState(config)
      const values = tasks.flatMap(({ interrupts }) => interrupts.map(({ value }) => value))
      return values.find(({ toolCallId }) => toolCallId === `refund-${order}`).requestId
    }
    const [first, second] = [await idOf('118'), await idOf('119')]
    expect(await resumption(await graph.getState(config), { tools: [refund] })).toEqual({
      outcome: 'pending',
      waiting: expect.arrayContaining([first, second])
    })
    await stage.approve(second)
    const half = await carryOn(stage, checkpointer)
    expect(half.answer).toMatchObject({ waiting: [first] })
    expect(Object.values(half.answer.resume)).toEqual([{ requestId: second, outcome: 'approved' }])
    expect(stage.paid).toEqual([order119])
    await stage.deny('118 was never paid', first)
    const { outcomes } = await carryOn(stage, checkpointer)
    expect([...outcomes].sort()).toEqual(['118: denied', '119: executed'])
    expect(stage.paid).toEqual([order119])
    expect(await resumption(await graph.getState(config), { tools: [refund] })).toEqual({ outcome: 'nothing-asked' })
  })

  it('end as timed out when nobody decides', async () => {
    await using stage = await toolStage()
    const checkpointer = new MemorySaver()
    await fanOut(approved(stage), checkpointer).invoke({ refunds: [order118] }, config)
    await stage.expire()
    expect((await carryOn(stage, checkpointer)).outcomes).toEqual(['118: timed-out'])
  })

  it('are waited for as long as one likes', async () => {
    await using stage = await toolStage()
    const refund = approved(stage)
    const graph = fanOut(refund, new MemorySaver())
    await graph.invoke({ refunds: [order118] }, config)
    const state = await graph.getState(config)
    const answer = resumption(state, { tools: [refund], waitMs: 60_000 })
    await stage.platform.clock.advance(1_000)
    await stage.approve()
    expect(await stage.passing(answer)).toMatchObject({ outcome: 'resume', waiting: [] })
    const aborted = { tools: [refund], waitMs: 1, signal: AbortSignal.abort(new Error('stopped')) }
    await expect(resumption(state, aborted)).rejects.toThrow('stopped')
  })
})

describe("an answer to LangChain's middleware", () => {
  /** Interrupts as `humanInTheLoopMiddleware` does, and hands on what was approved. */
  const middleware = (refund: RefundTool, checkpointer: MemorySaver) => {
    const schema = refundSchema
    const node = new ToolNode([tool(refund.invoke, { name: 'refund', description: 'Refunds an order', schema })])
    return new StateGraph(MessagesAnnotation)
      .addNode('review', ({ messages }) => {
        const message = messages.at(-1) as AIMessage
        const calls = message.tool_calls ?? []
        const request = {
          actionRequests: calls.map(({ name, args }) => ({
            name,
            args,
            description: 'Tool execution requires approval'
          }))
        }
        const { decisions } = interrupt<HitlRequest, { decisions: readonly { type: string; message?: string }[] }>(
          request
        )
        const rejected = calls.flatMap(({ id = '' }, at) => {
          const decision = decisions[at]
          if (decision?.type !== 'reject') return []
          return [new ToolMessage({ content: decision.message ?? '', tool_call_id: id, status: 'error' })]
        })
        const approvedCalls = calls.filter((_, at) => decisions[at]?.type === 'approve')
        return {
          messages: [...rejected, new AIMessage({ id: message.id ?? 'ai', content: '', tool_calls: approvedCalls })]
        }
      })
      .addNode('tools', node)
      .addEdge(START, 'review')
      .addEdge('review', 'tools')
      .compile({ checkpointer })
  }

  it('has the decisions in its order, and what is approved runs once', async () => {
    await using stage = await toolStage()
    const checkpointer = new MemorySaver()
    const input = calling(order119, order118, order118)
    await middleware(approved(stage), checkpointer).invoke(input, config)
    const [message] = input.messages as [AIMessage]
    const answer = async () => {
      const refund = approved(stage)
      const { tasks } = await middleware(refund, checkpointer).getState(config)
      const request = tasks[0]?.interrupts[0]?.value as HitlRequest
      return hitlResponse(request, { tools: { refund }, toolCalls: message.tool_calls ?? [], config })
    }
    expect(await answer()).toMatchObject({ outcome: 'pending', waiting: { length: 3 } })
    const bySummary = async (order: string) => {
      const ids: string[] = []
      for (const id of stage.requests) {
        const { detail } = await stage.oversight.inspect(id)
        if (detail['order'] === order) ids.push(id)
      }
      return ids
    }
    const [one, other] = (await bySummary('118')) as [string, string]
    await stage.approve(one)
    await stage.approve(other)
    await stage.deny('119 was never paid', (await bySummary('119'))[0])
    const final = await answer()
    if (final.outcome !== 'resume') throw new Error(final.outcome)
    expect(final.response.decisions).toEqual([
      { type: 'reject', message: expect.stringContaining('119 was never paid') },
      { type: 'approve' },
      { type: 'approve' }
    ])
    const resume = async () => {
      const graph = middleware(approved(stage), checkpointer)
      return stage.passing(graph.invoke(new Command({ resume: final.response }), config))
    }
    const [first, second] = await Promise.all([resume(), resume()])
    expect(told(first.messages).slice(1)).toEqual(['{"paid":1200}', '{"paid":1200}'])
    expect(told(second.messages).slice(1)).toEqual(['{"paid":1200}', '{"paid":1200}'])
    expect(stage.paid).toEqual([order118, order118])
  })

  it('is not made up for actions that are not gated, or of which no call is known', async () => {
    await using stage = await toolStage()
    const tools = { refund: approved(stage) }
    const request = { actionRequests: [{ name: 'refund', args: order118 }] }
    expect(await hitlResponse(request, { tools: {}, toolCalls: [], config })).toEqual({
      outcome: 'unknown-action',
      name: 'refund'
    })
    const toolCalls = [{ id: 'call_1', name: 'refund', args: order119 }]
    expect(await hitlResponse(request, { tools, toolCalls, config })).toEqual({
      outcome: 'unknown-action',
      name: 'refund'
    })
    expect(stage.requests).toEqual([])
  })
})
