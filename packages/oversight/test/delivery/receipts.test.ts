import type { Channel, VerdictNotice } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { stage } from '../stage.ts'

describe('a receipt', () => {
  it('of any characters within its bound leaves the invitation delivered', async () => {
    const updated: VerdictNotice[] = []
    const receipt = '\u0001'.repeat(1_024)
    const pager: Channel = {
      deliver: async () => ({ outcome: 'delivered', receipt }),
      async update(notice) {
        updated.push(notice)
      }
    }
    const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs: 60_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager } })
    const { id } = await s.open()
    await s.pass(0)
    await s.oversight.decide(id, { approver: 'ana', decision: 'approve' })
    await s.pass(0)
    expect(updated).toHaveLength(1)
  })
})
