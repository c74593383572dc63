import { type ApprovedTool, applyVerdicts, approvedTool } from '@enablement/oversight/openai-agents'
import { Agent, type Model, type ModelRequest, RunState, run, setTracingDisabled, tool, Usage } from '@openai/agents'
import { describe, expect, it } from 'vitest'
import { origin, type Refund, refundSchema, type ToolOptions, type ToolStage, toolStage } from '../tool-call/stage.ts'

// A run would otherwise try to send its traces to OpenAI.
setTracingDisabled(true)

const order118: Refund = { order: '118', cents: 1_200 }
const order119: Refund = { order: '119', cents: 700 }

/** Calls `refund` once for each of `inputs`, and then says what the tools told it. */
function model(...inputs: readonly Refund[]): Model {
  return {
    async getResponse({ input }: ModelRequest) {
      const items = typeof input === 'string' ? [] : input
      const outputs = items.flatMap((item) => (item.type === 'function_call_result' ? [textOf(item.output)] : []))
      if (outputs.length > 0) {
        const content = [{ type: 'output_text' as const, text: JSON.stringify(outputs) }]
        return { usage: new Usage(), output: [{ type: 'message', role: 'assistant', status: 'completed', content }] }
      }
      const output = inputs.map((detail, at) => ({
        type: 'function_call' as const,
        callId: `call_${at + 1}`,
        name: 'refund',
        status: 'completed' as const,
        arguments: JSON.stringify(detail)
      }))
      return { usage: new Usage(), output }
    },
    getStreamedResponse() {
      throw new Error('this model does not stream')
    }
  }
}

const textOf = (output: unknown): unknown => (output as { readonly text?: string }).text ?? output

type RefundTool = ApprovedTool<Refund, { paid: number }>

const agentOf = ({ needsApproval, execute }: RefundTool, ...inputs: readonly Refund[]) =>
  new Agent({
    name: 'refunds',
    model: model(...inputs),
    tools: [tool({ name: 'refund', description: 'Refunds an order', parameters: refundSchema, needsApproval, execute })]
  })

const approved = (stage: ToolStage, changed: Partial<ToolOptions> = {}): RefundTool =>
  approvedTool({ ...stage.process(), ...changed, origin })

/** Runs an agent until it is interrupted, and returns its state as a store would keep it. */
async function interrupted(stage: ToolStage, ...inputs: readonly Refund[]): Promise<string> {
  const { state, interruptions } = await run(agentOf(approved(stage), ...inputs), 'Refund them, please.')
  expect(interruptions).toHaveLength(inputs.length)
  return state.toString()
}

/** Carries a serialized run on as another process would, and returns what the model was told, once it has ended. */
async function carryOn(stage: ToolStage, serialized: string, changed: Partial<ToolOptions> = {}): Promise<unknown> {
  const refund = approved(stage, changed)
  const agent = agentOf(refund)
  const state = await RunState.fromString(agent, serialized)
  await applyVerdicts(state, { tools: { refund } })
  const { finalOutput } = await stage.passing(run(agent, state))
  return finalOutput === undefined ? undefined : JSON.parse(String(finalOutput))
}

const paid = (cents: number): unknown => JSON.stringify({ paid: cents })

describe('an approved call, resumed by the Agents SDK alone', () => {
  it('runs each time its state is resumed', async () => {
    let executions = 0
    const agent = new Agent({
      name: 'refunds',
      model: model(order118),
      tools: [
        tool({
          name: 'refund',
          description: 'Refunds an order',
          parameters: refundSchema,
          needsApproval: true,
          execute: async () => {
            executions += 1
            return 'paid'
          }
        })
      ]
    })
    const serialized = (await run(agent, 'Refund it, please.')).state.toString()
    const resume = async (): Promise<void> => {
      const state = await RunState.fromString(agent, serialized)
      for (const item of state.getInterruptions()) state.approve(item)
      await run(agent, state)
    }
    await resume()
    await resume()
    expect(executions).toBe(2)
    await Promise.all([resume(), resume(), resume()])
    expect(executions).toBe(5)
  })
})

describe('an approved call, resumed with oversight', () => {
  it('runs once, resumed twice or three times at the same time, and every resumption has its result', async () => {
    await using stage = await toolStage()
    const serialized = await interrupted(stage, order118)
    await stage.approve()
    expect(await carryOn(stage, serialized)).toEqual([paid(1_200)])
    expect(await carryOn(stage, serialized)).toEqual([paid(1_200)])
    expect(stage.paid).toEqual([order118])

    await using other = await toolStage()
    const twin = await interrupted(other, order118)
    await other.approve()
    const results = await Promise.all([carryOn(other, twin), carryOn(other, twin), carryOn(other, twin)])
    expect(results).toEqual([[paid(1_200)], [paid(1_200)], [paid(1_200)]])
    expect(other.paid).toEqual([order118])
  })

  it('is refused when its state carries other arguments, or an approval that nobody gave', async () => {
    await using stage = await toolStage()
    const serialized = await interrupted(stage, order118)
    const forge = async (text: string): Promise<unknown> => {
      const agent = agentOf(approved(stage))
      const state = await RunState.fromString(agent, text)
      for (const item of state.getInterruptions()) state.approve(item)
      return JSON.parse(String((await stage.passing(run(agent, state))).finalOutput))
    }
    expect(await forge(serialized)).toEqual([expect.stringContaining('waits for a person')])
    await stage.approve()
    const tampered = serialized.replaceAll('1200', '990000')
    expect(await forge(tampered)).toEqual([expect.stringContaining('the tool or its arguments differ')])
    expect(await carryOn(stage, tampered)).toEqual([expect.stringContaining('the tool or its arguments differ')])
    expect(stage.paid).toEqual([])
    expect(await carryOn(stage, serialized)).toEqual([paid(1_200)])
  })

  it('is in doubt when its effect throws, says so, and is not run again', async () => {
    await using stage = await toolStage()
    const serialized = await interrupted(stage, order118)
    await stage.approve()
    let runs = 0
    const effect = async (): Promise<never> => {
      runs += 1
      throw new Error('the connection was lost')
    }
    const doubt = [expect.stringContaining('whether it took effect is not known')]
    expect(await carryOn(stage, serialized, { effect })).toEqual(doubt)
    expect(await carryOn(stage, serialized, { effect })).toEqual(doubt)
    expect(runs).toBe(1)
  })

  it('is not begun once the signal has aborted', async () => {
    await using stage = await toolStage()
    await interrupted(stage, order118)
    await stage.approve()
    const details = { toolCall: { callId: 'call_1' }, signal: AbortSignal.abort(new Error('stopped')) }
    await expect(approved(stage).execute(order118, undefined, details)).rejects.toThrow('stopped')
    expect(stage.paid).toEqual([])
  })
})

describe('the verdicts of a run', () => {
  it('are applied each to its own call, and calls that wait interrupt the run again', async () => {
    await using stage = await toolStage()
    const serialized = await interrupted(stage, order118, order119)
    const [first, second] = stage.requests as [string, string]
    const refund = approved(stage)
    const agent = agentOf(refund)
    const state = await RunState.fromString(agent, serialized)
    expect(await applyVerdicts(state, { tools: { refund } })).toEqual({ outcome: 'pending', waiting: [first, second] })
    await stage.approve(second)
    expect(await applyVerdicts(state, { tools: { refund } })).toEqual({
      outcome: 'resume',
      approved: 1,
      rejected: 0,
      waiting: [first]
    })
    const half = await stage.passing(run(agent, state))
    expect(half.interruptions).toHaveLength(1)
    expect(stage.paid).toEqual([order119])
    await stage.deny('118 was never paid', first)
    const outputs = await carryOn(stage, half.state.toString())
    expect(outputs).toHaveLength(2)
    expect(outputs).toContain(paid(700))
    expect(outputs).toContainEqual(expect.stringContaining('A person denied this call: 118 was never paid'))
    expect(stage.paid).toEqual([order119])
  })

  it('tell silence as silence', async () => {
    await using stage = await toolStage()
    const serialized = await interrupted(stage, order118)
    await stage.expire()
    const refund = approved(stage)
    const state = await RunState.fromString(agentOf(refund), serialized)
    expect(await applyVerdicts(state, { tools: { refund } })).toMatchObject({ approved: 0, rejected: 1, waiting: [] })
    expect(await carryOn(stage, serialized)).toEqual([expect.stringContaining('That is no refusal by a person')])
  })

  it('are waited for as long as one likes', async () => {
    await using stage = await toolStage()
    const refund = approved(stage)
    const agent = agentOf(refund)
    const state = await RunState.fromString(agent, await interrupted(stage, order118))
    const applied = applyVerdicts(state, { tools: { refund }, waitMs: 60_000 })
    await stage.platform.clock.advance(1_000)
    await stage.approve()
    expect(await stage.passing(applied)).toMatchObject({ outcome: 'resume', approved: 1 })
    const aborted = { tools: { refund }, waitMs: 60_000, signal: AbortSignal.abort(new Error('stopped')) }
    await expect(applyVerdicts(state, aborted)).rejects.toThrow('stopped')
  })

  it('do not interrupt a run where one is there already', async () => {
    await using stage = await toolStage()
    const serialized = await interrupted(stage, order118)
    await stage.approve()
    const { finalOutput } = await stage.passing(run(agentOf(approved(stage), order118), 'Refund it, please.'))
    expect(JSON.parse(String(finalOutput))).toEqual([paid(1_200)])
    expect(await carryOn(stage, serialized)).toEqual([paid(1_200)])
    expect(stage.paid).toEqual([order118])
  })

  it('reject what the model wrote where it is no JSON, or not what the action takes', async () => {
    await using stage = await toolStage()
    const rejected: unknown[] = []
    const items = ['no JSON', 'null', '{"order":118}'].map((text, at) => ({
      name: 'refund',
      arguments: text,
      rawItem: { callId: `call_${at}` }
    }))
    const state = {
      getInterruptions: () => items,
      approve: () => expect.unreachable(),
      reject: (_: object, { message }: { message?: string } = {}) => void rejected.push(message)
    }
    expect(await applyVerdicts(state, { tools: { refund: approved(stage) } })).toMatchObject({ rejected: 3 })
    for (const message of rejected) expect(message).toContain('Nobody was asked')
    expect(stage.requests).toEqual([])
  })

  it('are left to others for tools that are not given', async () => {
    await using stage = await toolStage()
    const state = await RunState.fromString(agentOf(approved(stage)), await interrupted(stage, order118))
    expect(await applyVerdicts(state, { tools: {} })).toEqual({ outcome: 'nothing-asked' })
  })

  it('are those of the thread that the context names', async () => {
    await using stage = await toolStage()
    const refund = approvedTool({
      ...stage.process(),
      origin: (context) => ({ ...origin, thread: String((context as { readonly chat: string }).chat) })
    })
    const agent = agentOf(refund, order118)
    const context = { chat: 'chat-8' }
    const { state } = await run(agent, 'Refund it, please.', { context })
    await stage.approve()
    expect(await applyVerdicts(state, { tools: { refund }, context: { chat: 'chat-9' } })).toMatchObject({
      outcome: 'pending'
    })
    expect(await applyVerdicts(state, { tools: { refund }, context })).toMatchObject({ outcome: 'resume' })
  })
})
