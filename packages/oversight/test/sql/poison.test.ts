import { startWorker } from '@enablement/core/schedule'
import type { Approver } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { channel, stage } from '../stage.ts'

const longName = (at: number): string => `"${String(at).padStart(2, '0')}${'"'.repeat(124)}"`

describe('a request whose step cannot be committed', () => {
  const people = Array.from({ length: 50 }, (_, at) => longName(at))
  const away = Array.from({ length: 10 }, (_, at) => longName(at + 60))
  const directory = {
    async find(id: string): Promise<Approver | undefined> {
      return away.includes(id) ? undefined : { id, name: 'n', addresses: { pager: 'x' } }
    },
    async members(): Promise<readonly string[]> {
      return [...away, ...people]
    }
  }

  it('is none because of the names of those who are asked', async () => {
    const tiers = [{ approvers: [{ group: 'g'.repeat(128) }], channels: ['pager'], waitMs: 60_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { directory, channels: { pager: channel() } })
    const { id } = await s.open()
    expect((await s.oversight.inspect(id)).seats).toHaveLength(50)
  })

  it('does not keep the others from being escalated', async () => {
    const tiers = [
      { approvers: ['ana'], channels: ['pager'], waitMs: 1_000 },
      { approvers: ['bo'], channels: ['pager'], waitMs: 60_000 }
    ]
    await using s = await stage({ tiers, onExhausted: 'deny' })
    const bad = await s.open('bad')
    const good = await s.open('good')
    await s.pass(0)
    // A tenant that no entry of the log can have: the evidence of its steps is refused.
    await s.db.run(function* () {
      yield { text: 'update oversight_requests set tenant = ? where id = ?', values: ['x'.repeat(600), bad.id] }
    })
    await s.platform.clock.advance(1_000)
    const { signal } = new AbortController()
    await s.oversight.duties[0]?.run({ signal }).catch(() => {})
    expect((await s.oversight.inspect(good.id)).tier).toBe(1)
  })

  it('does not make the others late', async () => {
    const tiers = [
      { approvers: ['ana'], channels: ['pager'], waitMs: 1_000 },
      { approvers: ['bo'], channels: ['pager'], waitMs: 60_000 }
    ]
    await using s = await stage({ tiers, onExhausted: 'deny' })
    const bad = await s.open('bad')
    await s.db.run(function* () {
      yield { text: "update oversight_requests set matter = 'gone' where id = ?", values: [bad.id] }
    })
    await using worker = startWorker({ duties: s.oversight.duties, platform: s.platform })
    for (let second = 0; second < 300; second++) await s.platform.clock.advance(1_000)
    const good = await s.open('good')
    for (let step = 0; step < 30; step++) await s.platform.clock.advance(100)
    expect(worker.health().state).toBe('running')
    expect((await s.oversight.inspect(good.id)).tier).toBe(1)
  })
})
