import type { TestPlatform } from '@enablement/core/testing'
import type { Approver, Channel, Oversight } from '@enablement/oversight'
import { type SlackChannelOptions, slackInteractivity } from '@enablement/oversight/slack'
import { describe, expect, it } from 'vitest'
import { smtpStage } from '../email/smtp.ts'
import { type SlackBench, slackBench } from '../slack/slack-bench.ts'
import {
  actionsOf,
  type Call,
  type Message,
  SIGNING_SECRET,
  type SlackServer,
  signedRequest,
  TEAM,
  TOKEN,
  textOf
} from '../slack/slack-server.ts'
import { mailOn } from './mail.ts'
import { channelStage, minutes, traffic as newTraffic, oneTier, type Traffic } from './stage.ts'

const people: readonly Approver[] = [
  { id: 'ana', name: 'Ana', addresses: { slack: 'UANA', email: 'ana@example.com' } },
  { id: 'bo', name: 'Bo', addresses: { slack: 'UBO', email: 'bo@example.com' } },
  { id: 'cy', name: 'Cy', addresses: { slack: 'UCY' } }
]

/** The kernel with a workspace of Slack, its server counting what is under way. */
async function workspace(
  policy: Parameters<typeof channelStage>[0],
  options: Partial<SlackChannelOptions> & {
    readonly others?: (platform: TestPlatform) => { readonly [name: string]: Channel }
    readonly mails?: Traffic
  } = {}
) {
  const { others, mails = newTraffic(), ...more } = options
  const bench: SlackBench = await slackBench({ users: { UANA: 'DANA', UBO: 'DBO', UCY: 'DCY' } })
  let kernel: Oversight | undefined
  const slack = bench.worker({ inspect: (id) => (kernel as Oversight).inspect(id), ...more })
  const s = await channelStage(policy, {
    platform: bench.platform,
    traffic: {
      get inFlight() {
        return bench.traffic.inFlight + mails.inFlight
      }
    },
    approvers: people,
    channels: { slack, ...others?.(bench.platform) }
  })
  kernel = s.oversight
  const pending: Promise<void>[] = []
  const handler = slackInteractivity({
    signingSecrets: [SIGNING_SECRET],
    oversight: s.oversight,
    people: ({ teamId, userId }) => (teamId === TEAM ? { UANA: 'ana', UBO: 'bo', UCY: 'cy' }[userId] : undefined),
    workspace: (id) => (id === TEAM ? { token: TOKEN, limits: bench.limits() } : undefined),
    waitUntil: (work) => void pending.push(work),
    ...bench.common
  })
  const { server, platform } = bench
  return {
    ...s,
    bench,
    server,
    messageTo: (conversation: string): Message => {
      const found = server.messages.find(({ channel }) => channel === conversation)
      if (found === undefined) throw new Error(`nothing was posted to ${conversation}`)
      return found
    },
    /** Slack tells the endpoint of a click, with a signature. */
    async send(payload: unknown, signature: { readonly secret?: string } = {}): Promise<number> {
      const { status } = await s.drive(handler(signedRequest(payload, platform.clock.now(), signature)))
      for (const work of pending.splice(0)) await s.drive(work)
      return status
    },
    async [Symbol.asyncDispose]() {
      await s[Symbol.asyncDispose]()
      await bench[Symbol.asyncDispose]()
    }
  }
}

describe('a request in Slack', () => {
  it('is approved by a click, and every message of it says so', async () => {
    await using s = await workspace(oneTier({ approvers: ['ana', 'bo', 'cy'], channels: ['slack'] }))
    const request = await s.open()
    await s.pass(5_000)
    const messages = ['DANA', 'DBO', 'DCY'].map(s.messageTo)
    for (const message of messages) expect(actionsOf(message)).toEqual(['oversight.approve', 'oversight.deny'])

    const [ana, bo, cy] = messages as [Message, Message, Message]
    // Neither what is signed by somebody else nor somebody else's button counts.
    expect(await s.send(s.server.click(ana, 'oversight.approve', 'UANA'), { secret: 'x'.repeat(32) })).toBe(401)
    expect(await s.send(s.server.click(ana, 'oversight.approve', 'UBO'))).toBe(200)
    expect(await s.oversight.inspect(request.id)).toMatchObject({ status: 'pending', votes: [] })

    const late = s.server.click(ana, 'oversight.approve', 'UANA')
    expect(await s.send(s.server.click(bo, 'oversight.approve', 'UBO'))).toBe(200)
    expect(await s.drive(request.settled())).toMatchObject({ outcome: 'approved', by: 'bo' })
    expect(textOf(bo)).toContain('Approved by bo')
    expect(actionsOf(ana)).toContain('oversight.approve')
    await s.pass(5_000)
    for (const message of [ana, bo, cy]) {
      expect([actionsOf(message), textOf(message)]).toEqual([[], expect.stringContaining('Approved by bo')])
    }
    expect(s.server.countOf('chat.update')).toBe(3)
    expect(await s.story()).toContain('vote.recorded by approver:bo')

    // What was in somebody's window all along comes too late, which is on record.
    expect(await s.send(late)).toBe(200)
    expect((await s.story()).at(-1)).toBe('vote.too-late by approver:ana')
    expect(textOf(ana)).toContain('Approved by bo')
  })

  it('is denied with a reason that the agent is told and every message shows', async () => {
    await using s = await workspace(oneTier({ approvers: ['ana', 'bo'], channels: ['slack'] }))
    const request = await s.open()
    await s.pass(5_000)
    await s.send(s.server.click(s.messageTo('DANA'), 'oversight.deny', 'UANA'))
    const [form] = s.server.views
    if (form === undefined) throw new Error('no form')
    await s.send(s.server.submit(form, 'UANA', { reason: 'Job 4 leaks' }))
    expect(await s.drive(request.settled())).toMatchObject({ outcome: 'denied', by: 'ana', reason: 'Job 4 leaks' })
    await s.pass(5_000)
    for (const conversation of ['DANA', 'DBO']) expect(textOf(s.messageTo(conversation))).toContain('Job 4 leaks')
  })
})

describe('a storm in Slack', () => {
  const requestIdsOf = ({ metadata }: Message): readonly string[] => {
    const { request_ids: many, request_id: one } = metadata?.event_payload ?? {}
    return (many ?? [one]) as string[]
  }

  /** Calls while Slack had asked for none, but for those that were under way when it did. */
  const callsInBlock = ({ duringBlock, calls }: SlackServer): readonly Call[] =>
    duringBlock.filter((call) => !calls.some((one) => one !== call && one.at === call.at && one.method === call.method))

  it('of 60 requests is a few messages, waits as Slack asks, and loses nothing', async () => {
    await using s = await workspace(oneTier({ approvers: ['ana', 'bo'], channels: ['slack'] }))
    s.server.next('chat.postMessage', { limited: '30' }, { limited: undefined }, { limited: '7' })
    s.server.next('conversations.open', { limited: '5' })
    const requests = await Promise.all(Array.from({ length: 60 }, (_, n) => s.open(`call-${n}`)))
    await s.until(() => s.invited().length === 120, minutes(5))
    expect(callsInBlock(s.server)).toEqual([])
    expect(s.invited()).toEqual(Array(120).fill('delivered slack'))
    for (const conversation of ['DANA', 'DBO']) {
      const told = s.server.messages.filter(({ channel }) => channel === conversation)
      expect(told.length).toBeLessThanOrEqual(4)
      expect(new Set(told.flatMap(requestIdsOf))).toEqual(new Set(requests.map(({ id }) => id)))
    }

    // Verdicts are a storm of updates: none is lost either, however often Slack asks to wait.
    s.server.next('chat.update', { limited: '40' }, { limited: '40' }, { limited: '40' })
    for (const { id } of requests) await s.oversight.decide(id, { approver: 'ana', decision: 'approve' })
    const open = (): number => s.server.messages.flatMap(actionsOf).length
    await s.until(() => open() === 0, minutes(10))
    await s.pass(minutes(1), 5_000)
    // One for each message, and those that Slack refused: what a message says already is not written again.
    const digests = s.server.messages.length
    expect(s.server.countOf('chat.update')).toBeLessThanOrEqual(digests + 3)
    expect(callsInBlock(s.server)).toEqual([])
    for (const message of s.server.messages) expect(textOf(message)).toContain('All of these are answered')
  })

  it('goes on by e-mail where the policy says so, and both hear of the verdict', async () => {
    await using smtp = await smtpStage()
    const mails = newTraffic()
    await using s = await workspace(oneTier({ approvers: ['ana', 'bo'], channels: [['slack', 'email']] }), {
      overLimit: 'fall-back',
      mails,
      others: (platform) => ({ email: mailOn(smtp, { platform, traffic: mails }).email })
    })
    await s.open('call-1')
    await s.pass(10_000)
    expect(s.invited()).toEqual(['delivered slack', 'delivered slack'])
    s.server.next('chat.postMessage', { limited: '600' })
    const request = await s.open('call-2')
    await s.pass(10_000)
    expect(s.invited().slice(2).toSorted()).toEqual([
      'delivered email',
      'delivered email',
      'unreachable slack',
      'unreachable slack'
    ])
    expect(s.server.duringBlock).toEqual([])
    expect(smtp.taken.map(({ to }) => to).toSorted()).toEqual(['ana@example.com', 'bo@example.com'])
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await s.pass(10_000)
    const notices = smtp.taken.slice(2)
    expect(notices.map(({ to }) => to).toSorted()).toEqual(['ana@example.com', 'bo@example.com'])
    for (const { raw } of notices) expect(raw).toContain('Decided by: ana')
  })
})
