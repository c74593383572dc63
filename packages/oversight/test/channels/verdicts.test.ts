import type { ApprovalPolicy, Oversight } from '@enablement/oversight'
import { createDecisionLinks } from '@enablement/oversight/links'
import { slackInteractivity } from '@enablement/oversight/slack'
import { createWebhookVerifier, webhookChannel } from '@enablement/oversight/webhook'
import { describe, expect, it } from 'vitest'
import { smtpStage } from '../email/smtp.ts'
import { read } from '../email/stage.ts'
import { BASE, key, pageOf, submit } from '../links/stage.ts'
import { slackBench } from '../slack/slack-bench.ts'
import { actionsOf, type Message, SIGNING_SECRET, signedRequest, TEAM, TOKEN, textOf } from '../slack/slack-server.ts'
import { localEndpoint, status } from '../webhook/local-endpoint.ts'
import { keyOf, transportTo } from '../webhook/stage.ts'
import { mailOn } from './mail.ts'
import { ntfyChannel } from './ntfy-channel.ts'
import { ntfyServer } from './ntfy-server.ts'
import { channelStage, minutes, traffic as newTraffic, oneTier } from './stage.ts'

const everywhere: ApprovalPolicy = oneTier({
  approvers: ['ana', 'bo'],
  channels: ['slack', 'email', 'webhook', 'ntfy']
})

/** Two people who are asked on four channels at once. */
async function house(policy: ApprovalPolicy = everywhere) {
  const bench = await slackBench()
  const [smtp, hook, phones] = await Promise.all([smtpStage(), localEndpoint(), ntfyServer()])
  hook.answer(status(204))
  const { platform, server } = bench
  const traffic = newTraffic()
  let kernel: Oversight | undefined
  const calls = {
    inspect: (...call: Parameters<Oversight['inspect']>) => (kernel as Oversight).inspect(...call),
    decide: (...call: Parameters<Oversight['decide']>) => (kernel as Oversight).decide(...call),
    viewed: (...call: Parameters<Oversight['viewed']>) => (kernel as Oversight).viewed(...call)
  }
  const links = createDecisionLinks({
    baseUrl: BASE,
    keys: [key('k1')],
    oversight: calls,
    sessionFrom: 'critical',
    platform
  })
  const transport = transportTo(hook)
  const webhook = webhookChannel({
    endpointOf: () => ({ url: hook.url, secrets: [keyOf(1)] }),
    transport: { post: traffic.watched((...post) => transport.post(...post)) },
    platform
  })
  const { deliver, update } = ntfyChannel(phones.url, (id) => `https://approvals.example.com/${id}`)
  const { email } = mailOn(smtp, { platform, traffic, linksOf: (invitation) => links.linksOf(invitation) })
  const s = await channelStage(policy, {
    platform,
    traffic: {
      get inFlight() {
        return bench.traffic.inFlight + traffic.inFlight
      }
    },
    approvers: ['ana', 'bo'].map((id) => ({
      id,
      name: id,
      addresses: { slack: `U${id.toUpperCase()}`, email: `${id}@example.com`, webhook: id, ntfy: id }
    })),
    channels: {
      slack: bench.worker({ inspect: calls.inspect }),
      email,
      webhook,
      ntfy: { deliver: traffic.watched(deliver), ...(update === undefined ? {} : { update: traffic.watched(update) }) }
    }
  })
  kernel = s.oversight
  const interactions = slackInteractivity({
    signingSecrets: [SIGNING_SECRET],
    oversight: s.oversight,
    people: ({ userId }) => ({ UANA: 'ana', UBO: 'bo' })[userId],
    workspace: (id) => (id === TEAM ? { token: TOKEN, limits: bench.limits() } : undefined),
    ...bench.common
  })
  const verifier = createWebhookVerifier({ secrets: [keyOf(1)], platform, toleranceMs: 86_400_000 })
  const request = await s.open()
  await s.until(() => s.invited().length === 8, minutes(1))
  return {
    ...s,
    request,
    server,
    clickApprove: async (user: string, conversation: string) => {
      const message = server.messages.find(({ channel }) => channel === conversation) as Message
      const payload = server.click(message, 'oversight.approve', user)
      await s.drive(interactions(signedRequest(payload, platform.clock.now())))
    },
    denyByMail: async (address: string, reason: string) => {
      const { text = '' } = await read(smtp.taken.find(({ to }) => to === address))
      const url = text.match(/https:\/\/\S+/g)?.[2] ?? ''
      const { seal = '' } = await pageOf(await links.handle(new Request(url)))
      return pageOf(await links.handle(submit(url, new URLSearchParams({ form: seal, decision: 'deny', reason }))))
    },
    /** What everyone was told last, on each channel. */
    async told() {
      await s.pass(10_000, 2_000)
      const mails = await Promise.all(
        smtp.taken.map(async (mail) => ({ to: mail.to, text: (await read(mail)).text ?? '' }))
      )
      const payloads = hook.received.map((one) => {
        const verified = verifier.verify(one)
        if (verified.outcome === 'refused') throw new Error(verified.because)
        return verified.payload
      })
      return {
        slack: server.messages.map((message) => ({ buttons: actionsOf(message).length, text: textOf(message) })),
        mails,
        payloads: payloads.map(({ type, data }) => ({ type, ...('verdict' in data ? { verdict: data.verdict } : {}) })),
        pushes: phones.pushes.map(({ topic, title }) => `${topic}: ${title}`)
      }
    },
    async [Symbol.asyncDispose]() {
      await s[Symbol.asyncDispose]()
      await webhook.close()
      for (const one of [bench, smtp, hook, phones]) await one[Symbol.asyncDispose]()
    }
  }
}

type House = Awaited<ReturnType<typeof house>>

interface Ending {
  readonly name: string
  readonly policy?: ApprovalPolicy
  readonly end: (s: House) => Promise<unknown>
  readonly slack: string
  readonly mail: readonly string[]
  readonly verdict: object
  readonly push: string
}

const endings: readonly Ending[] = [
  {
    name: 'approved in Slack',
    end: (s) => s.clickApprove('UBO', 'DBO'),
    slack: 'Approved by bo',
    mail: ['Approved', 'Decided by: bo'],
    verdict: { outcome: 'approved', by: 'bo' },
    push: 'approved by bo'
  },
  {
    name: 'denied by a link in a mail',
    end: (s) => s.denyByMail('ana@example.com', 'Job 4 leaks'),
    slack: 'Denied by ana',
    mail: ['Denied', 'Decided by: ana', 'Reason: Job 4 leaks'],
    verdict: { outcome: 'denied', by: 'ana', reason: 'Job 4 leaks' },
    push: 'denied by ana'
  },
  {
    name: 'not decided in time',
    policy: { ...everywhere, deadlineMs: minutes(5) },
    end: (s) => s.pass(minutes(5), 10_000),
    slack: 'Nobody decided in time',
    mail: ['Not decided in time'],
    verdict: { outcome: 'timed-out' },
    push: 'timed-out'
  },
  {
    name: 'withdrawn',
    end: (s) => s.request.cancel({ by: 'agent-7', reason: 'no longer needed' }),
    slack: 'Withdrawn',
    mail: ['No longer asked'],
    verdict: { outcome: 'cancelled' },
    push: 'cancelled'
  }
]

describe('a request on four channels at once', () => {
  it.for(endings)(
    'that is $name is marked as that on all of them',
    async ({ policy, end, slack, mail, verdict, push }) => {
      await using s = await house(policy)
      await end(s)
      const told = await s.told()
      expect(told.slack).toEqual(Array(2).fill({ buttons: 0, text: expect.stringContaining(slack) }))
      const notices = told.mails.slice(2)
      expect(notices.map(({ to }) => to).toSorted()).toEqual(['ana@example.com', 'bo@example.com'])
      for (const { text } of notices) for (const part of mail) expect(text).toContain(part)
      expect(told.payloads.slice(2)).toEqual(
        Array(2).fill({
          type: 'approval.settled',
          verdict: expect.objectContaining({ ...verdict, requestId: s.request.id })
        })
      )
      expect(told.pushes.slice(2).toSorted()).toEqual([`ana: ${push}`, `bo: ${push}`])
    }
  )

  it('that is edited is marked as that, and asked anew', async () => {
    await using s = await house()
    const { argumentHash } = await s.oversight.inspect(s.request.id)
    const detail = { limitMebibytes: 96 }
    await s.oversight.edit(s.request.id, { by: 'bo', detail, reason: 'less will do', argumentHash })
    const { slack, mails, payloads, pushes } = await s.told()
    expect(slack).toHaveLength(4)
    for (const { buttons, text } of slack.slice(0, 2)) {
      expect([buttons, text]).toEqual([0, expect.stringContaining('Changed since')])
    }
    for (const { buttons, text } of slack.slice(2)) {
      expect([buttons, text]).toEqual([2, expect.stringContaining('version 2')])
    }
    const headings = mails.slice(2).map(({ text }) => text.split('\n')[0] ?? '')
    expect(headings.toSorted()).toEqual(['Approval needed', 'Approval needed', 'Changed', 'Changed'])
    expect(
      payloads
        .slice(2)
        .map(({ type }) => type)
        .toSorted()
    ).toEqual(['approval.requested', 'approval.requested', 'approval.superseded', 'approval.superseded'])
    expect(pushes.slice(2).toSorted()).toEqual([
      'ana: Approve runtime.raise-memory-limit?',
      'ana: superseded',
      'bo: Approve runtime.raise-memory-limit?',
      'bo: superseded'
    ])
  })

  it('that is approved and then revoked is marked as one and then as the other', async () => {
    await using s = await house()
    await s.oversight.decide(s.request.id, { approver: 'ana', decision: 'approve' })
    expect((await s.told()).slack[0]?.text).toContain('Approved by ana')
    await s.oversight.revoke(s.request.id, { by: 'uma', reason: 'wrong job' })
    const { slack, mails, payloads, pushes } = await s.told()
    for (const { text } of slack) {
      expect(text).toContain('Taken back by uma')
      expect(text).toContain('wrong job')
    }
    for (const { text } of mails.slice(4)) {
      for (const part of ['Taken back', 'Decided by: uma', 'Reason: wrong job']) expect(text).toContain(part)
    }
    expect(payloads.slice(4)).toEqual(
      Array(2).fill({
        type: 'approval.settled',
        verdict: expect.objectContaining({ outcome: 'revoked', by: 'uma', reason: 'wrong job' })
      })
    )
    expect(pushes.slice(4).toSorted()).toEqual(['ana: revoked by uma', 'bo: revoked by uma'])
  })
})
