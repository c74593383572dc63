import type { ApprovalGate } from '@enablement/core'
import { describe, expect, it } from 'vitest'
import { ACTION, ask, stage } from '../stage.ts'

describe('the approval gate', () => {
  it('opens once per key, waits, and executes at most once', async () => {
    await using s = await stage()
    const gate: ApprovalGate = s.oversight.gate()
    const { id } = await gate.request({ ...ask, action: ACTION })
    expect(
      await s
        .another()
        .gate()
        .request({ ...ask, action: ACTION })
    ).toEqual({ id })
    expect(await gate.execute(id, async () => 1)).toEqual({ outcome: 'not-approved', status: 'pending' })
    const settled = gate.settled(id)
    await s.oversight.decide(id, { approver: 'ana', decision: 'approve' })
    expect(await settled).toMatchObject({ outcome: 'approved', requestId: id, by: 'ana' })
    const seen: unknown[] = []
    const effect = async ({
      requestId,
      detail,
      idempotencyKey,
      fence
    }: Parameters<Parameters<typeof gate.execute>[1]>[0]) => {
      seen.push({ requestId, detail, idempotencyKey, fence })
      return { raised: true }
    }
    expect(await gate.execute(id, effect)).toEqual({ outcome: 'executed', result: { raised: true } })
    expect(await gate.execute(id, effect)).toEqual({ outcome: 'replayed', result: { raised: true } })
    expect(seen).toEqual([{ requestId: id, detail: { limitMebibytes: 128 }, idempotencyKey: id, fence: 1 }])
  })

  it('stops waiting when it is told to', async () => {
    await using s = await stage()
    const gate = s.oversight.gate()
    const { id } = await gate.request({ ...ask, action: ACTION })
    await expect(gate.settled(id, { signal: AbortSignal.abort(new Error('stopped')) })).rejects.toThrow('stopped')
  })

  it('refuses an action that it does not know, and a detail that the action refuses', async () => {
    await using s = await stage()
    const gate = s.oversight.gate()
    await expect(gate.request({ ...ask, action: 'payments.refund' })).rejects.toMatchObject({
      code: 'UNKNOWN_ACTION',
      detail: { action: 'payments.refund' }
    })
    await expect(gate.request({ ...ask, action: ACTION, detail: { limit: 1 } })).rejects.toMatchObject({
      code: 'INVALID_DETAIL'
    })
    await expect(gate.settled('nothing')).rejects.toMatchObject({ code: 'UNKNOWN_REQUEST' })
    await expect(gate.execute('nothing', async () => 1)).rejects.toMatchObject({ code: 'UNKNOWN_REQUEST' })
    expect(await s.entries()).toEqual([])
  })
})
