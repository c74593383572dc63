import { testPlatform } from '@enablement/core/testing'
import { bounceIntake } from '@enablement/oversight/email'
import PostalMime from 'postal-mime'
import { describe, expect, it } from 'vitest'
import { reports } from '../email/reports.ts'
import { type SmtpScript, smtpStage, type TakenMail } from '../email/smtp.ts'
import { channel } from '../stage.ts'
import { mailOn } from './mail.ts'
import { channelStage, minutes, traffic as newTraffic, oneTier } from './stage.ts'

const FIRST = 'ana@example.com'
const SECOND = 'ana@example.org'

/** Somebody with two mailboxes and a webhook, and an intake of mails that come back. */
async function mailroom(script: SmtpScript = {}, tier: { readonly remindEveryMs?: number } = {}) {
  const smtp = await smtpStage()
  smtp.script = script
  const platform = testPlatform()
  const traffic = newTraffic()
  const webhook = channel()
  const { email, health, returnPath } = mailOn(smtp, { platform, traffic })
  const s = await channelStage(oneTier({ channels: [['email', 'webhook']], ...tier }), {
    platform,
    traffic,
    approvers: [{ id: 'ana', name: 'Ana', addresses: { email: [FIRST, SECOND], webhook: 'ana' } }],
    channels: { email, webhook }
  })
  const intake = bounceIntake({
    returnPath,
    health,
    parser: PostalMime,
    async onBounce({ invitations, reason }) {
      for (const { requestId, invitationId } of invitations) {
        await s.oversight.bounced(requestId, { invitationId, reason })
      }
    }
  })
  return {
    ...s,
    smtp,
    webhook,
    health,
    /** Whose mail it is, by its return path. */
    invitationIn(mail: TakenMail | undefined): string {
      const reading = returnPath.read(mail?.from ?? '')
      return reading.outcome === 'ours' ? reading.id : ''
    },
    sentTo: () => smtp.taken.map(({ to }) => to),
    /** A relay that took a mail returns it. */
    async comesBack(mail: TakenMail | undefined, format = 'Postfix', recipient = mail?.to ?? '') {
      const report = reports[format]?.({ returnPath: mail?.from ?? '', recipient }) ?? ''
      const outcome = await intake.take(report)
      await s.settle()
      return outcome
    },
    async [Symbol.asyncDispose]() {
      await s[Symbol.asyncDispose]()
      await smtp[Symbol.asyncDispose]()
    }
  }
}

describe('a request by e-mail', () => {
  it('that is greylisted is delivered when the server wants it, and bothers nobody else', async () => {
    let wanted = false
    await using s = await mailroom({ to: () => (wanted ? undefined : '451 4.7.1 greylisted, try again in 5 minutes') })
    await s.open()
    await s.pass(minutes(5), 10_000)
    expect([s.smtp.tried, s.invited()]).toEqual([[FIRST], []])
    wanted = true
    await s.until(() => s.invited().length > 0, minutes(2))
    expect([s.invited(), s.sentTo(), s.webhook.delivered]).toEqual([['delivered email'], [FIRST], []])
  })

  it('goes to the second address at once where there is no such mailbox', async () => {
    await using s = await mailroom({ to: (address) => (address === FIRST ? '550 5.1.1 no such user' : undefined) })
    await s.open()
    await s.settle()
    expect([s.invited(), s.sentTo(), s.smtp.tried]).toEqual([['delivered email'], [SECOND], [FIRST, SECOND]])
  })

  it('goes from a mailbox that was full three times to the second address, and from there to the next channel', async () => {
    await using s = await mailroom({ to: () => '452 4.2.2 mailbox full' })
    const request = await s.open()
    await s.until(() => s.webhook.delivered.length > 0, minutes(10))
    expect(s.smtp.tried).toEqual([FIRST, FIRST, FIRST, SECOND, SECOND, SECOND])
    expect(s.invited()).toEqual(['unreachable email', 'delivered webhook'])
    expect(await s.oversight.inspect(request.id)).toMatchObject({ status: 'pending', tier: 0 })
    expect((await s.entries()).find(({ action }) => action === 'invitation.unreachable')?.detail).toMatchObject({
      channel: 'email',
      otherwise: 'webhook'
    })
  })

  it('that comes back after it was delivered goes to the second address, and from there to the next channel', async () => {
    await using s = await mailroom()
    await s.open()
    await s.settle()
    const [first] = s.smtp.taken
    expect(await s.comesBack(first)).toMatchObject({ outcome: 'bounced', address: FIRST })
    expect(s.sentTo()).toEqual([FIRST, SECOND])
    const [, second] = s.smtp.taken
    expect(await s.comesBack(first)).toMatchObject({ outcome: 'repeated' })
    expect(s.sentTo()).toHaveLength(2)
    // This one does not say whom it was for.
    expect(await s.comesBack(second, 'Exim', 'somebody@example.com')).toMatchObject({
      outcome: 'bounced',
      address: SECOND
    })
    expect(s.sentTo()).toHaveLength(2)
    expect(s.invited()).toEqual([
      'delivered email',
      'bounced email',
      'delivered email',
      'bounced email',
      'unreachable email',
      'delivered webhook'
    ])
    expect(s.webhook.delivered).toHaveLength(1)
    const messageIds = await Promise.all(s.smtp.taken.map(async ({ raw }) => (await PostalMime.parse(raw)).messageId))
    expect(new Set(messageIds).size).toBe(1)
    await s.story()
  })

  it('that comes back as a digest is asked again as a whole, at the second address', async () => {
    await using s = await mailroom()
    const requests = await Promise.all(Array.from({ length: 8 }, (_, n) => s.open(`call-${n}`)))
    await s.settle()
    expect(s.sentTo()).toEqual([FIRST])
    await s.oversight.decide(requests[0]?.id ?? '', { approver: 'ana', decision: 'approve' })
    expect(await s.comesBack(s.smtp.taken[0])).toMatchObject({ kind: 'digest', invitations: { length: 8 } })
    const [, ...again] = s.smtp.taken.filter(({ raw }) => raw.includes('decision is needed'))
    expect(again.map(({ to }) => to)).toEqual([SECOND])
    for (const { id } of requests.slice(1)) {
      expect(await s.oversight.inspect(id)).toMatchObject({ status: 'pending' })
    }
    expect(s.invited().filter((line) => line === 'bounced email')).toHaveLength(7)
    // What is no digest any more does not go back to where it bounced.
    for (const { id } of requests.slice(1, 6)) await s.oversight.decide(id, { approver: 'ana', decision: 'approve' })
    await s.settle()
    const last = s.smtp.taken.length
    expect(await s.comesBack(again[0])).toMatchObject({ outcome: 'bounced' })
    expect(s.smtp.taken.slice(last)).toEqual([])
    expect(s.webhook.delivered).toHaveLength(2)
  })

  it('whose reminder comes back moves on as well', async () => {
    await using s = await mailroom({}, { remindEveryMs: minutes(10) })
    await s.open()
    await s.settle()
    await s.pass(minutes(10), 60_000)
    expect(s.sentTo()).toEqual([FIRST, FIRST])
    expect(await s.comesBack(s.smtp.taken[1])).toMatchObject({ outcome: 'bounced', invitations: { length: 1 } })
    expect(s.sentTo()).toEqual([FIRST, FIRST, SECOND])
    expect(s.invited()).toEqual(['delivered email', 'bounced email', 'delivered email'])
    // And the next reminder goes where the invitation is now.
    await s.pass(minutes(10), 60_000)
    expect(s.sentTo().slice(3)).toEqual([SECOND])
  })

  it('is handed to its channel three times after it came back, whatever that knows, and then to the next', async () => {
    await using s = await mailroom()
    const request = await s.open()
    await s.settle()
    const invitationId = s.invitationIn(s.smtp.taken[0])
    for (let time = 0; time < 4; time++) {
      await s.oversight.bounced(request.id, { invitationId, reason: 'said the postmaster' })
      await s.settle()
    }
    expect(s.sentTo()).toEqual([FIRST, FIRST, FIRST, FIRST])
    expect(s.invited().slice(-2)).toEqual(['unreachable email', 'delivered webhook'])
  })

  it('that comes back after the verdict changes nothing', async () => {
    await using s = await mailroom()
    const request = await s.open()
    await s.settle()
    await request.cancel({ by: 'agent-7', reason: 'no longer needed' })
    await s.settle()
    expect(await s.comesBack(s.smtp.taken[0])).toMatchObject({ outcome: 'bounced' })
    expect(s.webhook.delivered).toEqual([])
    expect(s.invited().at(-1)).toBe('unreachable email')
  })

  it('has its verdict told late when the mail about that is greylisted, and not given up', async () => {
    let wanted = true
    await using s = await mailroom({ to: () => (wanted ? undefined : '451 4.7.1 greylisted') })
    const request = await s.open()
    await s.settle()
    wanted = false
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await s.pass(minutes(5), 10_000)
    wanted = true
    await s.until(() => s.smtp.taken.length === 2, minutes(10))
    expect(s.smtp.taken[1]?.raw).toContain('Decided by: ana')
  })
})
