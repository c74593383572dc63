import type { Verdict } from '@enablement/core'
import { approvedTool as aiTool } from '@enablement/oversight/ai-sdk'
import { approvedTool as graphTool, type ToolOversight } from '@enablement/oversight/langgraph'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'
import { origin, type Refund, toolStage } from './stage.ts'

const order118: Refund = { order: '118', cents: 1_200 }
const half: Refund = { order: '118', cents: 600 }
const interrupt = (): never => {
  throw new Error('interrupted')
}

type View = Awaited<ReturnType<ToolOversight['inspect']>>

/** Oversight whose requests look as given, and are carried out with what the view holds. */
function showing(oversight: ToolOversight, view: Partial<View>): ToolOversight {
  return {
    ...oversight,
    async open(action, ask) {
      const request = await oversight.open(action, ask)
      return {
        ...request,
        execute: (effect) =>
          request.execute((claim) => effect({ ...claim, detail: (view.detail ?? claim.detail) as typeof claim.detail }))
      }
    },
    inspect: async (requestId) => ({ ...(await oversight.inspect(requestId)), ...view })
  }
}

describe('a gated tool', () => {
  it('tells the model what was carried out where a person changed the arguments', async () => {
    await using stage = await toolStage()
    const options = stage.process()
    const oversight = showing(options.oversight, { version: 2, detail: { ...half } })
    const refund = aiTool({ ...options, oversight, origin })
    await refund.requestApproval(order118, { toolCallId: 'call_1' })
    await stage.approve()
    const changed = { outcome: 'carried-out-with-changes', arguments: half, result: { paid: 600 } }
    const run = () => stage.passing(refund.execute(order118, { toolCallId: 'call_1' }))
    expect(await run()).toMatchObject(changed)
    expect(await run()).toMatchObject(changed)
    expect(stage.paid).toEqual([half])
  })

  it('tells a denial by the policy from one by a person, and names no approver to the model', async () => {
    await using stage = await toolStage()
    const call = async (verdict: Pick<Verdict & { outcome: 'denied' }, 'by' | 'reason'>) => {
      const options = stage.process()
      const denied = { outcome: 'denied', requestId: 'r', decidedAt: 0, ...verdict } as const
      const oversight = showing(options.oversight, { status: 'denied', verdict: denied })
      const refund = graphTool({ ...options, oversight, interrupt, origin: () => origin })
      return refund.call(order118, { toolCallId: 'call_1', config: {} })
    }
    expect(await call({ by: 'ana', reason: 'not this order' })).toMatchObject({
      outcome: 'denied',
      by: 'ana',
      message: expect.stringMatching(/^A person denied this call: not this order\. (?!.*ana)/)
    })
    expect(await call({ by: 'system:escalation', reason: 'All tiers were exhausted.' })).toMatchObject({
      outcome: 'denied',
      message: expect.stringMatching(/no person approved it, and without one its policy denies\. All tiers/)
    })
  })

  it('is not carried out with an approval that was withdrawn before or at its claim', async () => {
    await using stage = await toolStage()
    const options = stage.process()
    const call = { toolCallId: 'call_1', config: {} }
    const revoked = showing(options.oversight, { status: 'revoked' })
    const late = showing(options.oversight, { status: 'approved' })
    for (const oversight of [revoked, late]) {
      const refund = graphTool({ ...options, oversight, interrupt, origin: () => origin })
      expect(await refund.call(order118, call)).toMatchObject({ outcome: 'revoked' })
    }
    expect(stage.paid).toEqual([])
  })

  it('does not go on waiting for whoever carries it out once the signal has aborted', async () => {
    await using stage = await toolStage()
    const refund = aiTool({ ...stage.process(), origin })
    const other = aiTool({ ...stage.process(), origin })
    await refund.requestApproval(order118, { toolCallId: 'call_1' })
    await stage.approve()
    const stopped = new AbortController()
    const first = refund.execute(order118, { toolCallId: 'call_1' })
    const second = other.execute(order118, { toolCallId: 'call_1', abortSignal: stopped.signal })
    await stage.platform.clock.advance(0)
    stopped.abort(new Error('stopped'))
    await expect(second).rejects.toThrow('stopped')
    expect(await stage.passing(first)).toEqual({ paid: 1_200 })
    expect(stage.paid).toEqual([order118])
  })

  it('opens nothing without an id of the call or of its thread', async () => {
    await using stage = await toolStage()
    const options = stage.process()
    const refund = graphTool({ ...options, interrupt, origin: { tenant: 'acme', requestedBy: { agent: 'agent-7' } } })
    const config = { configurable: { thread_id: 'thread-1' } }
    await expect(refund.call(order118, { toolCallId: '', config })).rejects.toThrow('toolCallId')
    await expect(refund.call(order118, { toolCallId: 'call_1', config: {} })).rejects.toThrow('origin.thread')
    expect(stage.requests).toEqual([])
  })
})

describe('the key of a call', () => {
  const word = fc.stringMatching(/^[a-z:"/]{1,4}$/)
  const separator = fc.constantFrom(':', '/', ',', '","', ' ')

  test.prop([word, word, word, separator], { numRuns: 20 })(
    'is shared by no two places, however their names are joined',
    async (one, two, three, between) => {
      await using stage = await toolStage()
      const places = [
        [one + between + two, three],
        [one, two + between + three]
      ] as const
      for (const [thread, toolCallId] of [...places, ...places]) {
        const refund = aiTool({ ...stage.process(), origin: { ...origin, thread } })
        await refund.requestApproval(order118, { toolCallId })
      }
      expect(stage.requests).toHaveLength(2)
    }
  )
})
