import { readFileSync } from 'node:fs'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { channel } from '../stage.ts'
import { ntfyChannel } from './ntfy-channel.ts'
import { ntfyServer } from './ntfy-server.ts'
import { channelStage, minutes, traffic as newTraffic, oneTier } from './stage.ts'

const page = readFileSync(new URL('../../../../docs/oversight/channels.md', import.meta.url), 'utf8')
const source = readFileSync(new URL('ntfy-channel.ts', import.meta.url), 'utf8')

/** Somebody with a phone, and a pager behind it. */
async function phone() {
  const server = await ntfyServer()
  const platform = testPlatform()
  const traffic = newTraffic()
  const { deliver, update } = ntfyChannel(server.url, (id) => `https://approvals.example.com/${id}`)
  const pager = channel()
  const s = await channelStage(oneTier({ channels: [['ntfy', 'pager']] }), {
    platform,
    traffic,
    approvers: [{ id: 'ana', name: 'Ana', addresses: { ntfy: 'ana-4711', pager: 'ana' } }],
    channels: {
      ntfy: { deliver: traffic.watched(deliver), ...(update === undefined ? {} : { update: traffic.watched(update) }) },
      pager
    }
  })
  return {
    ...s,
    server,
    pager,
    async [Symbol.asyncDispose]() {
      await s[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    }
  }
}

describe('a channel of one’s own', () => {
  it('takes less than 40 lines, which the page about channels shows', () => {
    const snippets = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code)
    expect(snippets).toContain(source)
    expect(source.trimEnd().split('\n').length).toBeLessThan(40)
  })

  it('brings the invitation and its verdict', async () => {
    await using s = await phone()
    const request = await s.open()
    await s.settle()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'deny', reason: 'too much' })
    await s.settle()
    const message = 'Raise the memory limit of job 4 to 128 MiB'
    expect(s.server.pushes).toEqual([
      {
        topic: 'ana-4711',
        title: 'Approve runtime.raise-memory-limit?',
        message,
        tags: ['medium'],
        click: `https://approvals.example.com/${request.id}`
      },
      { topic: 'ana-4711', title: 'denied by ana', message }
    ])
  })

  it('is asked again as it says, and leaves the rest to the kernel', async () => {
    await using s = await phone()
    s.server.answer(429, { 'retry-after': '120' })
    const request = await s.open()
    await s.pass(119_000, 17_000)
    expect([s.server.tries(), s.invited()]).toEqual([1, []])
    s.server.answer()
    await s.until(() => s.invited().length === 1, minutes(1))
    expect(s.invited()).toEqual(['delivered ntfy'])
    s.server.answer(429, { 'retry-after': '300' })
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await s.pass(minutes(20), 30_000)
    expect(s.server.tries()).toBeLessThanOrEqual(2 + 5)
    s.server.answer()
    await s.until(() => s.server.pushes.length === 2, minutes(6))
    s.server.answer(403)
    await s.open('call-2')
    await s.settle()
    expect(s.invited().slice(1)).toEqual(['unreachable ntfy', 'delivered pager'])
  })
})
