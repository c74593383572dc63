import { defineAction } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ACTION, ask, type Raise, raiseDetail, stage, twoTiers } from '../stage.ts'

describe('what the action’s screen denies', () => {
  it('cannot be brought in by an edit', async () => {
    await using s = await stage()
    const screened = defineAction<Raise>({
      name: ACTION,
      detail: raiseDetail,
      policy: twoTiers,
      screen: ({ detail }) =>
        detail.limitMebibytes > 1_000 ? { outcome: 'deny', reason: 'beyond the machine' } : { outcome: 'ask' }
    })
    const oversight = s.another({ actions: [screened] })
    const { id } = await oversight.open(screened, ask)
    const { argumentHash } = await oversight.inspect(id)
    const call = { by: 'ana', detail: { limitMebibytes: 4_096 }, reason: 'more', argumentHash }
    await expect(oversight.edit(id, call)).rejects.toMatchObject({ code: 'INVALID_DETAIL' })
    expect(await oversight.inspect(id)).toMatchObject({ version: 1, argumentHash })
  })

  it('is not done although it was approved, when the screen has changed since', async () => {
    await using s = await stage()
    let denies = false
    const screened = defineAction<Raise>({
      name: ACTION,
      detail: raiseDetail,
      policy: twoTiers,
      screen: () => (denies ? { outcome: 'deny', reason: 'not any more' } : { outcome: 'ask' })
    })
    const oversight = s.another({ actions: [screened] })
    const request = await oversight.open(screened, ask)
    await oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    denies = true
    let ran = 0
    const execution = await request.execute(async () => {
      ran += 1
      return null
    })
    expect(ran).toBe(0)
    expect(execution).toMatchObject({ outcome: 'not-approved' })
  })

  it('is denied and on record however much the screen has to say', async () => {
    await using s = await stage()
    const screened = defineAction<Raise>({
      name: ACTION,
      detail: raiseDetail,
      policy: twoTiers,
      screen: () => ({ outcome: 'deny', reason: 'x'.repeat(20_000) })
    })
    const oversight = s.another({ actions: [screened] })
    const request = await oversight.open(screened, ask)
    expect(await request.settled()).toMatchObject({ outcome: 'denied', by: 'system:policy' })
  })
})

describe('identical requests', () => {
  it('are not taken together when one is said to be riskier', async () => {
    await using s = await stage()
    const action = defineAction<Raise>({ name: ACTION, detail: raiseDetail, policy: twoTiers })
    const oversight = s.another({ actions: [action] })
    const low = await oversight.open(action, { ...ask, idempotencyKey: '1' })
    const high = await oversight.open(action, { ...ask, idempotencyKey: '2', risk: 'critical' })
    expect(high.id).not.toBe(low.id)
    expect((await oversight.inspect(high.id)).risk).toBe('critical')
  })
})
