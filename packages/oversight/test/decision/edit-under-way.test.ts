import { createCompletenessCheck } from '@enablement/core/audit'
import { firstRow } from '@enablement/core/sql'
import type { Channel, Invitation, VerdictNotice } from '@enablement/oversight'
import { oversightAuditSources } from '@enablement/oversight/sql'
import { describe, expect, it } from 'vitest'
import { channel, stage } from '../stage.ts'

describe('an edit', () => {
  it('marks the invitation that was on its way when it was committed', async () => {
    const updated: VerdictNotice[] = []
    let onDeliver: (invitation: Invitation) => Promise<void> = async () => {}
    const pager: Channel = {
      async deliver(invitation) {
        await onDeliver(invitation)
        return { outcome: 'delivered', receipt: `v${invitation.version}` }
      },
      async update(notice) {
        updated.push(notice)
      }
    }
    const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs: 60_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager } })
    const { id } = await s.open()
    const { argumentHash } = await s.oversight.inspect(id)
    onDeliver = async ({ version }) => {
      if (version > 1) return
      const call = { by: 'ana', detail: { limitMebibytes: 64 }, reason: 'less', argumentHash }
      expect(await s.oversight.edit(id, call)).toMatchObject({ outcome: 'edited' })
    }
    await s.pass(0)
    expect(updated).toMatchObject([{ receipt: 'v1', verdict: { outcome: 'superseded', version: 1 } }])
  })

  it('asks nobody twice on the channel that stood in for one that could not reach them', async () => {
    const desk = channel()
    // Found out only after some attempts, when the other channel has reached her.
    const failing: Channel = {
      async deliver() {
        throw new Error('down')
      }
    }
    const tiers = [{ approvers: ['ana'], channels: [['pager', 'desk']], waitMs: 86_400_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager: failing, desk } })
    const { id } = await s.open()
    for (let second = 0; second < 15; second++) await s.pass(1_000)
    const { argumentHash } = await s.oversight.inspect(id)
    await s.oversight.edit(id, { by: 'ana', detail: { limitMebibytes: 64 }, reason: 'less', argumentHash })
    for (let second = 0; second < 15; second++) await s.pass(1_000)
    await s.pass(7_200_000)
    expect(desk.delivered.map(({ version }) => version)).toEqual([1, 2])
    const completeness = createCompletenessCheck({ db: s.db, sources: oversightAuditSources(s.db.dialect) })
    expect(await completeness.check('oversight.requests')).toMatchObject({ outcome: 'complete' })
  })

  it('keeps no invitation longer than somebody has to be told that it counts no longer', async () => {
    const tiers = [{ approvers: ['ana', 'bo', 'cy'], channels: ['pager', 'desk'], waitMs: 86_400_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' })
    const { id } = await s.open()
    await s.pass(0)
    const lengths: number[] = []
    for (let at = 0; at < 32; at++) {
      const { argumentHash } = await s.oversight.inspect(id)
      await s.oversight.edit(id, { by: 'ana', detail: { limitMebibytes: at }, reason: 'less', argumentHash })
      await s.pass(0)
      const row = await s.db.run(() => firstRow('select course from oversight_requests where id = ?', id))
      lengths.push((JSON.parse(String(row?.['course'])) as { invitations: unknown[] }).invitations.length)
    }
    expect(Math.max(...lengths)).toBeLessThanOrEqual(12)
  })
})
