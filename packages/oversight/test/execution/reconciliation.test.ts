import type { Reconciled } from '@enablement/oversight'
import { defineAction, noEffect } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ACTION, ask, raiseDetail, runDuties, stage, twoTiers } from '../stage.ts'

/** An approved request whose effect threw, and whose target answers as told. */
async function inDoubt(answer: () => Promise<Reconciled>) {
  const asked: string[] = []
  const action = defineAction({
    name: ACTION,
    detail: raiseDetail,
    policy: twoTiers,
    async reconcile({ idempotencyKey, fence }) {
      asked.push(`${idempotencyKey} ${fence}`)
      return answer()
    }
  })
  const alerts: string[] = []
  const s = await stage(twoTiers)
  const oversight = s.another({ actions: [action], alertOps: async ({ reason }) => void alerts.push(reason) })
  const request = await oversight.open(action, ask)
  await oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
  expect((await request.execute(() => Promise.reject(new Error('the line went dead')))).outcome).toBe('in-doubt')
  return { s, oversight, request, asked, alerts, [Symbol.asyncDispose]: () => s[Symbol.asyncDispose]() }
}

describe('an execution in doubt', () => {
  it('is what its target says: it happened, and the result is replayed', async () => {
    await using d = await inDoubt(async () => ({ outcome: 'executed', result: { raisedTo: 128 } }))
    expect(await d.request.execute(async () => 'again')).toEqual({ outcome: 'replayed', result: { raisedTo: 128 } })
    expect(d.asked).toEqual([`${d.request.id} 1`])
    expect(await d.s.story()).toContain('execution.executed by reconciler:target')
  })

  it('may be executed again when its target says that it did not happen', async () => {
    await using d = await inDoubt(async () => ({ outcome: 'not-executed' }))
    expect(await d.request.execute(async ({ fence }) => fence)).toEqual({ outcome: 'executed', result: 2 })
  })

  it('stays in doubt while its target cannot tell, throws, or says what is no answer', async () => {
    const answers: (() => Promise<Reconciled>)[] = [
      async () => ({ outcome: 'unknown' }),
      () => Promise.reject(new Error('no such host')),
      async () => ({ outcome: 'executed', result: Number.NaN })
    ]
    for (const answer of answers) {
      await using d = await inDoubt(answer)
      expect(await d.request.execute(async () => 1)).toMatchObject({ outcome: 'in-doubt' })
    }
  })

  it('is asked about by the worker with growing pauses, 20 times, and then told of', async () => {
    await using d = await inDoubt(async () => ({ outcome: 'unknown' }))
    const asked: number[] = []
    const start = d.s.platform.clock.now()
    for (let minute = 0; minute < 20 * 60; minute++) {
      const before = d.asked.length
      await runDuties(d.oversight)
      if (d.asked.length > before) asked.push((d.s.platform.clock.now() - start) / 60_000)
      await d.s.platform.clock.advance(60_000)
    }
    expect(asked.slice(0, 8)).toEqual([0, 1, 3, 7, 15, 31, 63, 123])
    expect(d.asked).toHaveLength(20)
    expect(d.alerts).toEqual(['in-doubt'])
    expect(await d.request.execute(async () => 1)).toMatchObject({ outcome: 'in-doubt' })
  })

  it('is resolved by a person who looked, once', async () => {
    await using s = await stage()
    const doubtful = async (key: string) => {
      const request = await s.open(key)
      await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
      await request.execute(() => Promise.reject(new Error('the line went dead')))
      return request
    }
    const by = { by: 'carol', reason: 'looked it up in the ledger' }
    const [done, undone] = [await doubtful('a'), await doubtful('b')]
    expect(await s.oversight.resolve(done.id, { ...by, outcome: 'executed', result: 7 })).toBe(true)
    expect(await s.oversight.resolve(done.id, { ...by, outcome: 'not-executed' })).toBe(false)
    expect(await done.execute(async () => 1)).toEqual({ outcome: 'replayed', result: 7 })
    expect(await s.oversight.resolve(undone.id, { ...by, outcome: 'not-executed' })).toBe(true)
    expect(await undone.execute(async ({ fence }) => fence)).toEqual({ outcome: 'executed', result: 2 })
    expect(await s.story()).toContain('execution.released by reconciler:carol')
    await expect(s.oversight.resolve('nothing', { ...by, outcome: 'not-executed' })).rejects.toMatchObject({
      code: 'UNKNOWN_REQUEST'
    })
  })

  it('is not what an effect leaves that says it had none', async () => {
    await using d = await inDoubt(async () => ({ outcome: 'not-executed' }))
    await expect(d.request.execute(() => Promise.reject(noEffect('declined')))).rejects.toMatchObject({
      code: 'NO_EFFECT'
    })
    expect(await d.request.execute(async ({ fence }) => fence)).toEqual({ outcome: 'executed', result: 3 })
  })
})
