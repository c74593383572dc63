import type { Channel, Digest, Invitation } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { channel, stage } from '../stage.ts'

describe('a storm of requests for one person', () => {
  it('comes in digests, however large it is', async () => {
    const digests: Digest[] = []
    const singles: Invitation[] = []
    const pager: Channel = {
      async deliver(invitation) {
        singles.push(invitation)
        return { outcome: 'delivered' }
      },
      async digest(digest) {
        digests.push(digest)
        return { outcome: 'delivered' }
      }
    }
    const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs: 86_400_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager } })
    await Promise.all(Array.from({ length: 240 }, (_, at) => s.open(`call-${at}`)))
    await s.pass(0)
    const digested = digests.flatMap(({ invitations }) => invitations.map(({ requestId }) => requestId))
    expect(new Set([...digested, ...singles.map(({ requestId }) => requestId)]).size).toBe(240)
    expect(digested).toHaveLength(240 - singles.length)
    expect(singles.length).toBeLessThan(5)
  })
})

describe('a channel that is down during a storm', () => {
  it('gives way to the next one of its entry within a minute', async () => {
    const pager: Channel = {
      async deliver() {
        throw new Error('down')
      }
    }
    const desk = channel()
    const tiers = [{ approvers: ['ana'], channels: [['pager', 'desk']], waitMs: 86_400_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager, desk } })
    await Promise.all(Array.from({ length: 200 }, (_, at) => s.open(`call-${at}`)))
    for (let second = 0; second < 60; second++) await s.pass(1_000)
    expect(desk.delivered).toHaveLength(200)
  })
})
