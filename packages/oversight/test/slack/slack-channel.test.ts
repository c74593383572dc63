import { inspect } from 'node:util'
import { createTokenBucket } from '@enablement/core'
import type { Channel } from '@enablement/oversight'
import { type SlackLimits, slackChannel } from '@enablement/oversight/slack'
import { describe, expect, it } from 'vitest'
import { digestOf, invitationOf, noticeOf, signal, slackBench } from './slack-bench.ts'
import { actionsOf, buttonOf, type Message, TOKEN, textOf } from './slack-server.ts'

const lastOf = (messages: readonly Message[]): Message => {
  const last = messages.at(-1)
  if (last === undefined) throw new Error('no message')
  return last
}

describe('an invitation in Slack', () => {
  it('opens the direct conversation once, posts there, and gives a receipt that says where', async () => {
    await using s = await slackBench()
    const channel = s.worker()
    const outcomes = await s.drive(
      channel.deliver(invitationOf(), { signal }),
      channel.deliver(invitationOf(), { signal })
    )
    expect(outcomes.map((end) => end.status === 'fulfilled' && end.value.outcome)).toEqual(['delivered', 'delivered'])
    expect(s.server.messages.map((message) => message.channel)).toEqual(['DANA', 'DANA'])
    await s.drive(channel.deliver(invitationOf(), { signal }))
    expect(s.server.countOf('conversations.open')).toBe(1)
    const [first] = outcomes
    expect(first).toMatchObject({ value: { receipt: `DANA:${s.server.messages[0]?.ts}` } })
  })

  it('shows what would be done, how bad it can be, who asks, for whom, and by when in the zone of the reader', async () => {
    await using s = await slackBench()
    const invitation = invitationOf({ risk: 'high', version: 2 })
    await s
      .worker({ inboxUrl: ({ requestId }) => `https://inbox.example/${requestId}` })
      .deliver(invitation, { signal })
    const message = lastOf(s.server.messages)
    const text = textOf(message)
    for (const part of [
      'Approve payments.refund?',
      'Refund 12.00 for order 118',
      '"cents": 1200',
      '*Risk*: high',
      'Asked by agent-7 for uma',
      'For Ana',
      'version 2',
      '<!date^1795521600^{date_short_pretty} {time}|24 Nov 2026, 12:00 UTC>',
      'Others are asked at <!date^1795514400^'
    ]) {
      expect(text).toContain(part)
    }
    expect(message.text).toBe('Approve payments.refund? Refund 12.00 for order 118')
    expect(actionsOf(message)).toEqual(['oversight.approve', 'oversight.deny', 'oversight.open'])
    expect(message.metadata).toMatchObject({ event_payload: { request_id: invitation.requestId, version: 2 } })
  })

  it('has buttons with an opaque value, no link that decides, and asks twice from a high risk on', async () => {
    await using s = await slackBench()
    const invitation = invitationOf({ risk: 'critical' })
    const channel = s.worker()
    await s.drive(channel.deliver(invitation, { signal }))
    await s.drive(channel.deliver(invitationOf({ risk: 'medium' }), { signal }))
    const [critical, medium] = s.server.messages as [Message, Message]
    const { block, button } = buttonOf(critical, 'oversight.approve')
    expect(block.block_id).toBe(invitation.requestId)
    expect(button.url).toBeUndefined()
    expect(button.value?.length).toBeLessThan(2_000)
    expect(JSON.parse(button.value ?? '')).toEqual({ r: invitation.requestId, a: 'ana', h: invitation.argumentHash })
    expect(button.confirm?.text.text).toContain('critical')
    expect(buttonOf(medium, 'oversight.approve').button.confirm).toBeUndefined()
  })

  it.each([
    { context: { outcome: 'stale', ageMs: 7_200_000 }, text: '*Stale context*: what the agent knew was 2 h old' },
    { context: { outcome: 'unavailable', reason: 'memory is down' }, text: '*No context*' },
    { context: { outcome: 'unavailable', reason: 'memory is down' }, text: 'memory is down' }
  ] as const)('says that the agent asked with context that is $context.outcome ($text)', async ({ context, text }) => {
    await using s = await slackBench()
    await s.worker().deliver(invitationOf({ context }), { signal })
    expect(textOf(lastOf(s.server.messages))).toContain(text)
  })

  it.each(['C0123OPS', 'DANA'])('goes to the conversation %s as it is', async (address) => {
    await using s = await slackBench()
    const approver = { id: 'ana', name: 'Ana', address, alternatives: [] }
    expect(await s.worker().deliver(invitationOf({ approver }), { signal })).toMatchObject({ outcome: 'delivered' })
    expect([s.server.countOf('conversations.open'), lastOf(s.server.messages).channel]).toEqual([0, address])
  })

  it('goes to the next address of an approver when Slack knows one no more', async () => {
    await using s = await slackBench({ users: { UGONE: 'user_disabled', UANA: 'DANA' } })
    const approver = { id: 'ana', name: 'Ana', address: 'UGONE', alternatives: ['ana@example.com', 'UANA'] }
    expect(await s.worker().deliver(invitationOf({ approver }), { signal })).toMatchObject({ outcome: 'delivered' })
    expect(lastOf(s.server.messages).channel).toBe('DANA')
  })

  it('puts a reminder under the invitation, without buttons, and keeps its receipt', async () => {
    await using s = await slackBench()
    const channel = s.worker()
    const invitation = invitationOf()
    const delivered = await channel.deliver(invitation, { signal })
    const receipt = delivered.outcome === 'delivered' ? (delivered.receipt as string) : ''
    const [again] = await s.drive(
      channel.deliver({ ...invitation, id: 'reminder-1', kind: 'reminder', receipt }, { signal })
    )
    expect(again).toMatchObject({ value: { outcome: 'delivered', receipt } })
    const reminder = lastOf(s.server.messages)
    expect(reminder.threadTs).toBe(s.server.messages[0]?.ts)
    expect([actionsOf(reminder), textOf(reminder)]).toEqual([[], expect.stringContaining('Still waiting for Ana')])
  })

  it.each([
    { receipt: undefined, when: 'was delivered without a receipt' },
    { receipt: 'mailto:ana@example.com', when: 'has the receipt of another channel' },
    { receipt: 'DANA:1.000009', when: 'has been deleted' }
  ])('invites again where the invitation $when', async ({ receipt }) => {
    await using s = await slackBench()
    const [end] = await s.drive(s.worker().deliver(invitationOf({ kind: 'reminder', receipt }), { signal }))
    expect(end).toMatchObject({ value: { outcome: 'delivered' } })
    expect(actionsOf(lastOf(s.server.messages))).toContain('oversight.approve')
  })
})

describe('what Slack answers', () => {
  it.each([
    'channel_not_found',
    'user_not_found',
    'is_archived',
    'not_in_channel',
    'messages_tab_disabled',
    'restricted_action'
  ])('%s makes an approver unreachable at once', async (error) => {
    await using s = await slackBench()
    s.server.next('chat.postMessage', { error })
    expect(await s.worker().deliver(invitationOf(), { signal })).toEqual({ outcome: 'unreachable', reason: error })
    expect(s.events).toContainEqual({ type: 'slack.refused', method: 'chat.postMessage', error })
  })

  it.each(['user_not_found', 'user_disabled', 'cannot_dm_bot'])(
    '%s does so before anything is posted',
    async (error) => {
      await using s = await slackBench({ users: { UANA: error } })
      expect(await s.worker().deliver(invitationOf(), { signal })).toEqual({ outcome: 'unreachable', reason: error })
      expect(s.server.countOf('chat.postMessage')).toBe(0)
    }
  )

  it.each(['invalid_auth', 'token_revoked', 'token_expired', 'account_inactive', 'missing_scope'])(
    '%s is thrown as CHANNEL_UNAUTHORIZED',
    async (error) => {
      await using s = await slackBench()
      s.server.next('chat.postMessage', { error })
      await expect(s.worker().deliver(invitationOf(), { signal })).rejects.toMatchObject({
        name: 'OversightError',
        code: 'CHANNEL_UNAUTHORIZED',
        detail: { reason: error }
      })
    }
  )

  it.each([
    { mishap: { status: 503 }, reason: 'HTTP_503' },
    { mishap: { error: 'invalid_blocks' }, reason: 'invalid_blocks' },
    { mishap: { error: 'Sorry! xoxb-secret-token' }, reason: 'unknown_error' },
    { mishap: { raw: '<html>' }, reason: 'NOT_JSON' },
    { mishap: { raw: '{"ok":true}' }, reason: 'NO_RECEIPT' },
    { mishap: { raw: 'x'.repeat(1_048_577) }, reason: 'NOT_JSON' },
    { mishap: { lost: true }, reason: 'NO_ANSWER' }
  ] as const)('$mishap is thrown as CHANNEL_FAILED', async ({ mishap, reason }) => {
    await using s = await slackBench()
    s.server.next('chat.postMessage', mishap)
    await expect(s.worker().deliver(invitationOf(), { signal })).rejects.toMatchObject({
      code: 'CHANNEL_FAILED',
      detail: { reason }
    })
  })

  it('may come too late: the signal ends the call, with its own reason', async () => {
    await using s = await slackBench()
    s.server.next('chat.postMessage', { silent: true })
    const attempt = new AbortController()
    const delivery = s.worker().deliver(invitationOf(), { signal: attempt.signal })
    const reason = new Error('no answer within 10000 ms')
    while (s.server.countOf('chat.postMessage') === 0) await new Promise((resolve) => setImmediate(resolve))
    attempt.abort(reason)
    await expect(delivery).rejects.toBe(reason)
  })

  it('may be lost: the message is there twice, or once where Slack knows it again by the same id', async () => {
    for (const recognisesRepeats of [false, true]) {
      await using s = await slackBench()
      s.server.recognisesRepeats = recognisesRepeats
      s.server.next('chat.postMessage', { lost: true })
      const channel = s.worker()
      const invitation = invitationOf()
      await expect(channel.deliver(invitation, { signal })).rejects.toMatchObject({ code: 'CHANNEL_FAILED' })
      const [again] = await s.drive(channel.deliver({ ...invitation, attempt: 2 }, { signal }))
      expect(again).toMatchObject({ value: { outcome: 'delivered' } })
      expect(s.server.messages).toHaveLength(recognisesRepeats ? 1 : 2)
      const ids = s.server.calls.flatMap(({ body }) => body['client_msg_id'] ?? [])
      expect(ids).toEqual([ids[0], ids[0]])
      expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
    }
  })

  it('may be that the message of an earlier attempt was deleted: then it is posted without that id', async () => {
    await using s = await slackBench()
    s.server.next('chat.postMessage', { error: 'duplicate_message_not_found' })
    const [end] = await s.drive(s.worker().deliver(invitationOf(), { signal }))
    expect(end).toMatchObject({ value: { outcome: 'delivered' } })
    expect(s.server.calls.at(-1)?.body).not.toHaveProperty('client_msg_id')
  })
})

describe('reachability', () => {
  it.each([
    { address: 'UANA', alternatives: [], outcome: 'reachable' },
    { address: 'C0OPS', alternatives: [], outcome: 'reachable' },
    { address: 'UGONE', alternatives: ['UANA'], outcome: 'reachable' },
    { address: 'UGONE', alternatives: [], outcome: 'unreachable', reason: 'user_disabled' },
    {
      address: 'ana@example.com',
      alternatives: ['#ops'],
      outcome: 'unreachable',
      reason: 'no address that is an id of Slack'
    }
  ])('of $address is $outcome', async ({ address, alternatives, ...answer }) => {
    await using s = await slackBench({ users: { UGONE: 'user_disabled', UANA: 'DANA' } })
    const approver = { id: 'ana', name: 'Ana', address, alternatives }
    expect(await s.worker().reachability?.(approver, { signal })).toEqual(answer)
  })

  it('is taken for granted while the limit leaves no call to find out', async () => {
    await using s = await slackBench()
    const limits = s.limits()
    await limits['conversations.open'].pause(60_000)
    const approver = { id: 'ana', name: 'Ana', address: 'UANA', alternatives: [] }
    expect(await s.worker({ limits }).reachability?.(approver, { signal })).toEqual({ outcome: 'reachable' })
    expect(s.server.calls).toEqual([])
  })
})

describe('a message after the verdict', () => {
  const decidedAt = Date.UTC(2026, 10, 24, 10, 30)
  it.each([
    { verdict: { outcome: 'approved', requestId: 'r', by: 'bo', decidedAt }, texts: ['Approved by bo'] },
    {
      verdict: { outcome: 'denied', requestId: 'r', by: 'bo', decidedAt, reason: 'not <!here>' },
      texts: ['Denied by bo', 'Reason: not &lt;!here&gt;']
    },
    {
      verdict: { outcome: 'revoked', requestId: 'r', by: 'uma', decidedAt, reason: 'wrong order' },
      texts: ['Taken back by uma', 'Reason: wrong order']
    },
    { verdict: { outcome: 'timed-out', requestId: 'r', decidedAt }, texts: ['Nobody decided in time'] },
    { verdict: { outcome: 'cancelled', requestId: 'r', decidedAt }, texts: ['Withdrawn'] },
    {
      verdict: { outcome: 'superseded', requestId: 'r', version: 3 },
      texts: ['another message asks what is asked now']
    }
  ] as const)('has no buttons and says who decided what and when: $verdict.outcome', async ({ verdict, texts }) => {
    await using s = await slackBench()
    const channel = s.worker()
    const invitation = invitationOf()
    const delivered = await channel.deliver(invitation, { signal })
    const receipt = delivered.outcome === 'delivered' ? delivered.receipt : undefined
    await channel.update?.(noticeOf(invitation, receipt, verdict), { signal })
    const message = lastOf(s.server.messages)
    expect(actionsOf(message)).toEqual([])
    for (const text of ['payments.refund', invitation.summary, ...texts]) expect(textOf(message)).toContain(text)
    if ('decidedAt' in verdict) expect(textOf(message)).toContain(`<!date^${decidedAt / 1_000}^`)
  })

  it.each([
    ['was never delivered', undefined],
    ['belongs to another channel', '<id@mail.example>'],
    ['has been deleted', 'DANA:1.000001']
  ])('is left alone where it %s', async (_, receipt) => {
    await using s = await slackBench()
    const verdict = { outcome: 'cancelled', requestId: 'r', decidedAt } as const
    await expect(s.worker().update?.(noticeOf(invitationOf(), receipt, verdict), { signal })).resolves.toBeUndefined()
  })

  it('waits for its turn, and throws with the time to come back when there is none within the attempt', async () => {
    await using s = await slackBench()
    const verdict = { outcome: 'cancelled', requestId: 'r', decidedAt } as const
    s.server.next('chat.update', { limited: '60' })
    const update = s.worker().update?.(noticeOf(invitationOf(), 'DANA:1.000001', verdict), { signal })
    const [end] = await s.drive(Promise.resolve(update))
    expect(end).toMatchObject({
      reason: { code: 'CHANNEL_FAILED', detail: { reason: 'RATE_LIMITED', retryAfterMs: 60_000 } }
    })
  })
})

describe('a digest', () => {
  const requests = new Map<string, { verdict?: object; summary?: string }>()
  const inspectRequest = async (requestId: string): Promise<never> => {
    const known = requests.get(requestId)
    if (known === undefined) throw Object.assign(new Error('unknown'), { code: 'UNKNOWN_REQUEST' })
    const { action, summary, risk, requestedBy, context, deadlineAt } = invitationOf()
    return {
      id: requestId,
      action,
      summary,
      risk,
      requestedBy,
      context,
      deadlineAt,
      verdict: undefined,
      ...known
    } as never
  }
  const invite = (count: number, more = {}) => {
    const invited = Array.from({ length: count }, () => invitationOf(more))
    requests.clear()
    for (const { requestId } of invited) requests.set(requestId, {})
    return invited
  }

  it('is no power of a channel that cannot learn what became of its requests', async () => {
    await using s = await slackBench()
    expect(s.worker().digest).toBeUndefined()
  })

  it('is one message of twenty requests, each with a button that opens a form, in one call', async () => {
    await using s = await slackBench()
    const invited = invite(20, {
      summary: '<'.repeat(900),
      approver: { id: 'ä'.repeat(128), name: 'Ä', address: 'UANA', alternatives: [] }
    })
    const delivered = await s.worker({ inspect: inspectRequest }).digest?.(digestOf(invited, 7), { signal })
    expect(delivered).toMatchObject({ outcome: 'delivered' })
    const receipt = delivered?.outcome === 'delivered' ? (delivered.receipt ?? '') : ''
    expect(receipt.length).toBeLessThanOrEqual(1_024)
    const message = lastOf(s.server.messages)
    expect(actionsOf(message)).toEqual(Array.from({ length: 20 }, () => 'oversight.review'))
    expect(textOf(message)).toContain('27 approvals are waiting for you')
    expect(textOf(message)).toContain('7 more are not listed here')
    expect(s.server.countOf('chat.postMessage')).toBe(1)
  })

  it('says of each request what became of it, and keeps the buttons of the others', async () => {
    await using s = await slackBench()
    const channel = s.worker({ inspect: inspectRequest })
    const invited = invite(5)
    const [first, second] = invited as [ReturnType<typeof invitationOf>, ReturnType<typeof invitationOf>]
    const delivered = await channel.digest?.(digestOf(invited), { signal })
    const receipt = delivered?.outcome === 'delivered' ? delivered.receipt : undefined
    const verdict = { outcome: 'approved', requestId: first.requestId, by: 'bo', decidedAt: 1 } as const
    requests.set(first.requestId, { verdict })
    await channel.update?.(noticeOf(first, receipt, verdict), { signal })
    const message = lastOf(s.server.messages)
    expect(textOf(message)).toContain('✓ Approved by bo: payments.refund')
    expect(textOf(message)).toContain('4 approvals are waiting for you')
    expect(actionsOf(message)).toHaveLength(4)
    expect(() => buttonOf(message, 'oversight.review', first.requestId)).toThrow('no button')
    // An edited request shows as it is now: the form binds the vote to that.
    requests.set(second.requestId, { summary: 'Refund 9.00' })
    await channel.update?.(
      noticeOf(second, receipt, { outcome: 'superseded', requestId: second.requestId, version: 2 }),
      { signal }
    )
    expect(textOf(message)).toContain('Refund 9.00')
  })
})

describe('the options of a Slack channel', () => {
  const limits = (): SlackLimits => {
    const bucket = createTokenBucket({ perSecond: 1, burst: 1 })
    return { 'chat.postMessage': bucket, 'chat.update': bucket, 'conversations.open': bucket, 'views.open': bucket }
  }

  it('take buckets of one process', () => {
    expect(slackChannel({ token: TOKEN, limits: limits(), overLimit: 'fall-back' })).toHaveProperty('deliver')
  })

  it.each([
    { options: { overLimit: undefined }, path: 'overLimit' },
    { options: { overLimit: 'drop' }, path: 'overLimit' },
    { options: { token: '' }, path: 'token' },
    { options: { limits: {} }, path: 'limits' },
    { options: { waitMaxMs: 8_001 }, path: 'waitMaxMs' },
    { options: { waitMaxMs: Number.NaN }, path: 'waitMaxMs' },
    { options: { apiUrl: 'slack.com' }, path: 'apiUrl' },
    { options: { apiUrl: 'ftp://slack.com/' }, path: 'apiUrl' },
    { options: { inboxUrl: 'https://inbox' }, path: 'inboxUrl' },
    { options: { tokens: 'x' }, path: 'tokens' }
  ])('are refused at $path, with the path and without the value', ({ options, path }) => {
    const make = (): Channel =>
      slackChannel({ token: TOKEN, limits: limits(), overLimit: 'postpone', ...options } as never)
    expect(make).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })
})

describe('the token', () => {
  it('is asked for every call where it rotates', async () => {
    await using s = await slackBench()
    let asked = 0
    const token = async (): Promise<string> => {
      asked += 1
      return TOKEN
    }
    await s.worker({ token }).deliver(invitationOf(), { signal })
    expect(asked).toBe(2)
  })

  it('is in no error, no event and no inspection, also when it cannot be sent', async () => {
    await using s = await slackBench()
    const seen: unknown[] = [s.worker(), s.limits(), s.events]
    for (const token of [`${TOKEN}\n`, `${TOKEN}-wrong`, () => `${TOKEN}é`]) {
      const channel = s.worker({ token })
      const error = await channel.deliver(invitationOf(), { signal }).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'CHANNEL_UNAUTHORIZED' })
      seen.push(error, channel)
    }
    s.server.next('chat.postMessage', { lost: true })
    seen.push(
      await s
        .worker()
        .deliver(invitationOf(), { signal })
        .catch((thrown: unknown) => thrown)
    )
    expect(inspect(seen, { depth: 20, showHidden: true }) + JSON.stringify(seen)).not.toContain('xoxb')
  })
})

describe('time', () => {
  it('is not left with timers once calls have ended', async () => {
    await using s = await slackBench()
    const channel = s.worker()
    await s.drive(channel.deliver(invitationOf(), { signal }), channel.deliver(invitationOf(), { signal }))
    expect(s.platform.clock.pendingTimers).toBe(0)
    expect(s.server.calls).toHaveLength(3)
  })
})
