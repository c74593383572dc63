import { inspect } from 'node:util'
import { type SlackInteractivityOptions, slackInteractivity } from '@enablement/oversight/slack'
import { describe, expect, it } from 'vitest'
import { fakeOversight } from './fake-oversight.ts'
import { digestOf, noticeOf, signal, slackBench } from './slack-bench.ts'
import {
  actionsOf,
  type Message,
  SIGNING_SECRET,
  signedRequest,
  TEAM,
  TOKEN,
  textOf,
  type View
} from './slack-server.ts'

type Invitation = ReturnType<ReturnType<typeof fakeOversight>['open']>

const NOW = Date.UTC(2026, 10, 24, 9)

/** A workspace in which Ana and Bo are asked and click, with the endpoint before a fake of oversight. */
async function endpoint(options: Partial<SlackInteractivityOptions> = {}) {
  const bench = await slackBench()
  const { platform, server, common, limits } = bench
  const oversight = fakeOversight(() => platform.clock.now())
  const people = new Map([
    ['T1/UANA', 'ana'],
    ['T1/UBO', 'bo'],
    ['T2/UANA', 'zoe'],
    ['T1/UUMA', 'uma']
  ])
  const pending: Promise<void>[] = []
  const make = () =>
    slackInteractivity({
      signingSecrets: [SIGNING_SECRET],
      oversight,
      people: ({ teamId, userId }) => people.get(`${teamId}/${userId}`),
      workspace: (id) => (id === TEAM ? { token: TOKEN, limits: limits() } : undefined),
      waitUntil: (work) => void pending.push(work),
      ...common,
      ...options
    })
  const handler = make()
  const channel = bench.worker({ inspect: (requestId) => oversight.inspect(requestId) })
  const send = async (request: Request): Promise<{ status: number; text: string }> => {
    const [end] = await bench.drive(handler(request))
    if (end?.status !== 'fulfilled') throw end?.reason
    const response = end.value
    while (pending.length > 0) await bench.drive(...pending.splice(0))
    return { status: response.status, text: await response.text() }
  }
  return {
    ...bench,
    oversight,
    people,
    handler,
    another: make,
    pending,
    channel,
    send,
    signed: (payload: unknown, more = {}) => signedRequest(payload, platform.clock.now(), more),
    async invite(open: Parameters<typeof oversight.open>[0] = {}) {
      const invitation = oversight.open(open)
      const [end] = await bench.drive(channel.deliver(invitation, { signal }))
      if (end?.status !== 'fulfilled' || end.value.outcome !== 'delivered') throw new Error('not delivered')
      return { invitation, message: server.messages.at(-1) as Message, receipt: end.value.receipt }
    },
    async act(message: Message, action: string, user: string, more = {}) {
      return send(signedRequest(server.click(message, `oversight.${action}`, user, more), platform.clock.now()))
    },
    async fill(view: View, user: string, fields: { decision?: string; reason?: string }) {
      return send(signedRequest(server.submit(view, user, fields), platform.clock.now()))
    },
    notes: () =>
      server.replies.filter(({ body }) => body['response_type'] === 'ephemeral').map(({ body }) => body['text']),
    view: () => server.views.at(-1) as View
  }
}

const bodyOf = (text: string) => JSON.parse(text) as { response_action: string; view?: View; errors?: object }

describe('a click on Approve', () => {
  it('is a vote of the one who clicked, on what was shown, and takes the buttons off at once', async () => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    expect(await s.act(message, 'approve', 'UANA')).toEqual({ status: 200, text: '' })
    expect(s.oversight.ballots).toEqual([
      {
        requestId: invitation.requestId,
        approver: 'ana',
        decision: 'approve',
        argumentHash: invitation.argumentHash,
        idempotencyKey: expect.stringMatching(/^slack:T1:UANA:\d+\.\d+$/)
      }
    ])
    expect(actionsOf(message)).toEqual([])
    expect(textOf(message)).toContain('Approved by ana')
    expect(s.notes()).toEqual([])
  })

  it('says that others are still asked while they are, and the verdict after the update', async () => {
    await using s = await endpoint()
    const { invitation, message, receipt } = await s.invite({ approvals: 2 })
    await s.act(message, 'approve', 'UANA')
    expect(textOf(message)).toContain('You approved this; others are still asked.')
    const verdict = { outcome: 'approved', requestId: invitation.requestId, by: 'bo', decidedAt: NOW } as const
    await s.channel.update?.(noticeOf(invitation, receipt, verdict), { signal })
    expect(textOf(message)).toContain('Approved by bo')
  })

  it('is not written over a verdict that falls while the message is changed', async () => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite({ approvals: 2 })
    let asked = 0
    s.oversight.gate = async () => {
      asked += 1
      // Between the first look, after the vote, and the second one.
      if (asked === 3) s.oversight.timeOut(invitation.requestId)
    }
    await s.act(message, 'approve', 'UANA')
    expect(textOf(message)).toContain('Nobody decided in time')
  })

  it('of someone whom the directory does not let decide is answered with a friendly note', async () => {
    await using s = await endpoint()
    const { message } = await s.invite({ asked: ['bo'] })
    await s.act(message, 'approve', 'UANA')
    expect(s.notes()).toEqual(['You have not been asked about this. Nothing was counted.'])
    expect(actionsOf(message)).toContain('oversight.approve')
  })

  it.each([
    { user: 'UBO', because: 'not-theirs', note: 'This invitation is for somebody else. Nothing was counted.' },
    { user: 'UEVE', because: 'not-mapped', note: 'Your Slack account belongs to no approver. Nothing was counted.' }
  ])('of $user, whom the invitation is not for, is no vote ($because)', async ({ user, because, note }) => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    expect(await s.act(message, 'approve', user)).toEqual({ status: 200, text: '' })
    expect([s.oversight.ballots, s.notes()]).toEqual([[], [note]])
    expect(s.events).toContainEqual({
      type: 'slack.stranger',
      requestId: invitation.requestId,
      teamId: 'T1',
      userId: user,
      because
    })
    expect(actionsOf(message)).toContain('oversight.approve')
  })

  it('of the same user id in another workspace is of somebody else, also in a shared conversation', async () => {
    await using s = await endpoint()
    const { message } = await s.invite()
    await s.act(message, 'approve', 'UANA', { userTeam: 'T2' })
    expect(s.oversight.ballots).toEqual([])
    expect(s.notes()).toEqual(['This invitation is for somebody else. Nothing was counted.'])
    expect((await s.act(message, 'approve', 'UANA', { team: 'T2' })).status).toBe(401)
    expect(s.oversight.ballots).toEqual([])
  })

  it('counts nobody who was taken off the list since', async () => {
    await using s = await endpoint()
    const { message } = await s.invite()
    s.people.delete('T1/UANA')
    await s.act(message, 'approve', 'UANA')
    expect(s.oversight.ballots).toEqual([])
  })

  it.each([
    {
      what: 'comes too late',
      before: async (s: Endpoint, { invitation }: Invited) => s.oversight.timeOut(invitation.requestId),
      note: 'Too late: Nobody decided in time. Your vote was noted and does not count.',
      after: 'Nobody decided in time'
    },
    {
      what: 'comes twice',
      before: async (s: Endpoint, { invitation }: Invited) => {
        const ballot = { approver: 'ana', decision: 'approve', argumentHash: invitation.argumentHash } as const
        await s.oversight.decide(invitation.requestId, ballot)
      },
      note: 'You approved this before, and that stands.',
      after: 'Approved by ana'
    },
    {
      what: 'is for what was changed since',
      before: async (s: Endpoint, { invitation }: Invited) => s.oversight.edit(invitation.requestId),
      note: 'This was changed after you were shown it, and version 2 is asked now. Nothing was counted.',
      after: 'another message asks what is asked now'
    }
  ])('that $what gets a friendly note, and the message its state', async ({ before, note, after }) => {
    await using s = await endpoint()
    const invited = await s.invite()
    await before(s, invited)
    expect((await s.act(invited.message, 'approve', 'UANA')).status).toBe(200)
    expect(s.notes()).toEqual([note])
    expect([actionsOf(invited.message), textOf(invited.message)]).toEqual([[], expect.stringContaining(after)])
  })

  it('on a request that is not known any more says so', async () => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    s.oversight.forget(invitation.requestId)
    await s.act(message, 'approve', 'UANA')
    expect(s.notes()).toEqual(['This request is not known any more. Nothing was counted.'])
  })

  it('that the store does not take says that it may not have been counted, and reports why', async () => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    const error = new Error('the store is away')
    s.oversight.gate = () => Promise.reject(error)
    expect((await s.act(message, 'approve', 'UANA')).status).toBe(200)
    expect(s.notes()).toEqual(['Something went wrong, and your vote may not have been counted. Please try again.'])
    expect(s.events).toContainEqual({ type: 'slack.failed', requestId: invitation.requestId, what: 'vote', error })
  })

  it('is answered within 3 s also when the store takes longer, and told afterwards', async () => {
    await using s = await endpoint()
    const { message } = await s.invite()
    const store = Promise.withResolvers<void>()
    s.oversight.gate = () => store.promise
    const from = s.platform.clock.monotonic()
    const [end] = await s.drive(s.handler(s.signed(s.server.click(message, 'oversight.approve', 'UANA'))))
    expect(end).toMatchObject({ value: { status: 200 } })
    expect(s.platform.clock.monotonic() - from).toBeLessThan(3_000)
    store.resolve()
    while (s.pending.length > 0) await s.drive(...s.pending.splice(0))
    expect(textOf(message)).toContain('Approved by ana')
  })
})

type Endpoint = Awaited<ReturnType<typeof endpoint>>
interface Invited {
  readonly invitation: Invitation
  readonly message: Message
}

describe('a click on Deny', () => {
  it('opens a form that wants a reason, whose vote goes to the agent and onto the message', async () => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    expect(await s.act(message, 'deny', 'UANA')).toEqual({ status: 200, text: '' })
    expect(s.oversight.ballots).toEqual([])
    expect(textOf(s.view())).toContain(invitation.summary)
    expect(await s.fill(s.view(), 'UANA', { reason: '  \n ' })).toEqual({
      status: 200,
      text: JSON.stringify({ response_action: 'errors', errors: { reason: 'Please say why.' } })
    })
    expect(await s.fill(s.view(), 'UANA', { reason: 'Order 118 \u202e was\0 never paid' })).toEqual({
      status: 200,
      text: ''
    })
    expect(s.oversight.ballots).toEqual([
      {
        requestId: invitation.requestId,
        approver: 'ana',
        decision: 'deny',
        reason: 'Order 118 \ufffd was\ufffd never paid',
        argumentHash: invitation.argumentHash,
        idempotencyKey: `slack:T1:UANA:${s.view().id}`
      }
    ])
    expect([actionsOf(message), textOf(message)]).toEqual([[], expect.stringContaining('Denied by ana')])
  })

  it('shows as much of what would be done as messages may carry, and says when that is cut', async () => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    await s.act(message, 'deny', 'UANA')
    expect(textOf(s.view())).toContain(JSON.stringify(invitation.excerpt, null, 2))
    expect(textOf(s.view())).not.toContain('*Cut*')
    const { message: long } = await s.invite({ excerpt: { note: '&'.repeat(1_000) } })
    await s.act(long, 'deny', 'UANA')
    expect(textOf(s.view())).toContain('*Cut*')
    const { message: bare } = await s.invite({ excerpt: {} })
    await s.act(bare, 'deny', 'UANA')
    expect(textOf(s.view())).not.toContain('"')
  })

  it('shows nothing of the request to anybody else', async () => {
    await using s = await endpoint()
    const { message } = await s.invite()
    await s.act(message, 'deny', 'UBO')
    expect(s.server.views).toEqual([])
    await s.act(message, 'deny', 'UANA')
    expect(JSON.stringify(s.view())).not.toContain('not for messages')
    const { text } = await s.fill(s.view(), 'UBO', { reason: 'mine now' })
    expect(bodyOf(text)).toMatchObject({ response_action: 'update' })
    expect(s.oversight.ballots).toEqual([])
  })

  it.each([
    {
      what: 'comes too late',
      before: (s: Endpoint, id: string) => s.oversight.timeOut(id),
      note: 'Too late: Nobody decided in time.'
    },
    {
      what: 'is for what was changed since',
      before: (s: Endpoint, id: string) => s.oversight.edit(id),
      note: 'This was changed after you were shown it, and version 2 is asked now. Nothing was counted.'
    },
    {
      what: 'is on a request that is not known any more',
      before: (s: Endpoint, id: string) => void s.oversight.forget(id),
      note: 'This request is not known any more. Nothing was counted.'
    }
  ])('that $what opens no form', async ({ before, note }) => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    before(s, invitation.requestId)
    await s.act(message, 'deny', 'UANA')
    expect([s.server.views, s.notes()]).toEqual([[], [note]])
  })

  it('whose form is sent after the verdict, or after an edit, says so in the form', async () => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    await s.act(message, 'deny', 'UANA')
    s.oversight.edit(invitation.requestId)
    const edited = bodyOf((await s.fill(s.view(), 'UANA', { reason: 'no' })).text)
    expect(textOf(edited.view as View)).toContain('version 2 is asked now')
    s.oversight.timeOut(invitation.requestId)
    const late = bodyOf((await s.fill(s.view(), 'UANA', { reason: 'no' })).text)
    expect(textOf(late.view as View)).toContain('Too late')
    expect(textOf(message)).toContain('Nobody decided in time')
  })

  it.each([
    { method: 'views.open', mishap: { error: 'expired_trigger_id' } },
    { method: 'views.open', mishap: { status: 500 } },
    { method: 'views.open', mishap: { limited: '5' } },
    { method: 'views.open', mishap: { silent: true } }
  ] as const)('whose form Slack does not open ($mishap) says so within 3 s', async ({ method, mishap }) => {
    await using s = await endpoint()
    const { message } = await s.invite()
    s.server.next(method, mishap)
    const acting = s.act(message, 'deny', 'UANA')
    if ('silent' in mishap) {
      while (s.server.countOf(method) === 0) await new Promise((resolve) => setImmediate(resolve))
      await s.platform.clock.advance(2_600)
    }
    expect((await acting).status).toBe(200)
    expect(s.notes()).toEqual(['The form did not open. Please try again.'])
  })

  it('is answered with a form that says so when the store takes longer, and told afterwards', async () => {
    await using s = await endpoint()
    const { message } = await s.invite()
    await s.act(message, 'deny', 'UANA')
    const store = Promise.withResolvers<void>()
    s.oversight.gate = () => store.promise
    const [end] = await s.drive(s.handler(s.signed(s.server.submit(s.view(), 'UANA', { reason: 'no' }))))
    const late = bodyOf(end?.status === 'fulfilled' ? await end.value.text() : '{}')
    expect(textOf(late.view as View)).toContain('takes longer than usual')
    store.resolve()
    while (s.pending.length > 0) await s.drive(...s.pending.splice(0))
    expect(textOf(message)).toContain('Denied by ana')
  })
})

describe('a click on Review in a digest', () => {
  const digest = async (s: Endpoint) => {
    const invited = Array.from({ length: 5 }, () => s.oversight.open({ approvals: 1 }))
    await s.drive(s.channel.digest?.(digestOf(invited), { signal }) ?? Promise.reject(new Error('no digest')))
    return { invited, first: invited[0] as Invitation, message: s.server.messages.at(-1) as Message }
  }

  it('opens a form with the request as it is now, and the vote is on that', async () => {
    await using s = await endpoint()
    const { first, message } = await digest(s)
    s.oversight.edit(first.requestId)
    await s.act(message, 'review', 'UANA', { requestId: first.requestId })
    for (const shown of ['Refund 9.00', '"cents": 900', 'version 2']) expect(textOf(s.view())).toContain(shown)
    expect(bodyOf((await s.fill(s.view(), 'UANA', {})).text)).toEqual({
      response_action: 'errors',
      errors: { decision: 'Please choose one.' }
    })
    expect(bodyOf((await s.fill(s.view(), 'UANA', { decision: 'deny' })).text)).toMatchObject({
      errors: { reason: 'Please say why.' }
    })
    expect(await s.fill(s.view(), 'UANA', { decision: 'approve', reason: 'fine' })).toEqual({ status: 200, text: '' })
    expect(s.oversight.ballots).toMatchObject([
      { requestId: first.requestId, approver: 'ana', decision: 'approve', reason: 'fine', argumentHash: 'b'.repeat(64) }
    ])
    expect(s.notes()).toEqual(['Your vote is on record: approved.'])
    expect(actionsOf(message)).toHaveLength(5)
  })

  it('on an answered request says what became of it', async () => {
    await using s = await endpoint()
    const { first, message } = await digest(s)
    s.oversight.timeOut(first.requestId)
    await s.act(message, 'review', 'UANA', { requestId: first.requestId })
    expect([s.server.views, s.notes()]).toEqual([[], ['Too late: Nobody decided in time.']])
  })
})

describe('a request to the endpoint', () => {
  const clickOn = async (s: Endpoint) => s.server.click((await s.invite()).message, 'oversight.approve', 'UANA')

  it.each([
    { what: 'without a signature', more: { signature: '' } },
    { what: 'with a forged signature', more: { signature: `v0=${'0'.repeat(64)}` } },
    { what: 'signed with another secret', more: { secret: 'another-signing-secret-0' } },
    { what: 'with the signature of another version', more: { signature: `v1=${'0'.repeat(64)}` } },
    { what: 'with a signature that is too short', more: { signature: 'v0=00' } },
    { what: 'with other bytes than were signed', more: { sent: 'payload=%7B%7D' } },
    { what: 'with the same form written otherwise', more: { sent: ' ' } },
    { what: 'without a timestamp', more: { timestamp: '' } },
    { what: 'with a timestamp that is none', more: { timestamp: '1e9' } }
  ])('$what is turned away with 401, and with nothing else', async ({ more }) => {
    await using s = await endpoint()
    const payload = await clickOn(s)
    expect(await s.send(s.signed(payload, more))).toEqual({ status: 401, text: '' })
    expect(s.oversight.ballots).toEqual([])
    expect(s.events).toContainEqual({ type: 'slack.turned-away', because: 'signature' })
  })

  it.each([
    { seconds: -301, status: 401 },
    { seconds: -300, status: 200 },
    { seconds: 300, status: 200 },
    { seconds: 301, status: 401 }
  ])('of $seconds s from now gets $status', async ({ seconds, status }) => {
    await using s = await endpoint()
    const timestamp = String(s.platform.clock.now() / 1_000 + seconds)
    expect((await s.send(s.signed(await clickOn(s), { timestamp }))).status).toBe(status)
    expect(s.oversight.ballots).toHaveLength(status === 200 ? 1 : 0)
  })

  it('whose body was changed in one byte, wherever, is turned away', async () => {
    await using s = await endpoint()
    const body = new URLSearchParams({ payload: JSON.stringify(await clickOn(s)) }).toString()
    for (let at = 0; at < body.length; at += Math.ceil(body.length / 40)) {
      const sent = `${body.slice(0, at)}${body[at] === 'x' ? 'y' : 'x'}${body.slice(at + 1)}`
      expect((await s.handler(s.signed(undefined, { body, sent }))).status).toBe(401)
    }
    expect(s.oversight.ballots).toEqual([])
  })

  it('that comes again is turned away by the process that knows it, and votes once where it gets through', async () => {
    await using s = await endpoint()
    const { message } = await s.invite()
    const payload = s.server.click(message, 'oversight.approve', 'UANA')
    expect((await s.send(s.signed(payload))).status).toBe(200)
    expect(await s.send(s.signed(payload))).toEqual({ status: 401, text: '' })
    await s.platform.clock.advance(299_000)
    expect((await s.send(s.signed(payload))).status).toBe(401)
    expect(s.oversight.ballots).toHaveLength(1)
    const [end] = await s.drive(s.another()(s.signed(payload)))
    expect(end).toMatchObject({ value: { status: 200 } })
    const [one, other] = s.oversight.ballots
    expect(one?.idempotencyKey).toBe(other?.idempotencyKey)
    while (s.pending.length > 0) await s.drive(...s.pending.splice(0))
    expect(textOf(message)).toContain('Approved by ana')
  })

  it('is taken with either secret while they are rotated', async () => {
    await using s = await endpoint({ signingSecrets: ['the-new-signing-secret', SIGNING_SECRET] })
    expect((await s.send(s.signed(await clickOn(s)))).status).toBe(200)
    expect((await s.send(s.signed(await clickOn(s), { secret: 'the-new-signing-secret' }))).status).toBe(200)
  })

  it.each([
    ['no form at all', '{"payload":1}'],
    ['no payload', 'other=1'],
    ['no JSON', 'payload=%7B'],
    ['no object', 'payload=1'],
    ['no type', 'payload=%7B%7D']
  ])('with %s gets 400', async (_, body) => {
    await using s = await endpoint()
    expect(await s.send(s.signed(undefined, { body }))).toEqual({ status: 400, text: '' })
  })

  it.each([
    { what: 'a value that is none', change: { value: 'x' } },
    { what: 'no value', change: { value: null } },
    { what: 'a value with more in it', change: { value: '{"r":"r","a":"ana","h":"h","x":1}' } },
    { what: 'a value without what was shown', change: { value: '{"r":"r","a":"ana"}', block_id: 'r' } },
    { what: 'the block of another request', change: { block_id: 'other' } },
    { what: 'no instant', change: { action_ts: 'now' } }
  ])('with $what on a button of ours gets 400', async ({ change }) => {
    await using s = await endpoint()
    const payload = await clickOn(s)
    const tampered = { ...payload, actions: [{ ...payload.actions[0], ...change }] }
    expect(await s.send(s.signed(tampered))).toEqual({ status: 400, text: '' })
    expect(s.oversight.ballots).toEqual([])
  })

  it.each([
    {
      what: 'another hash',
      value: (r: string) => ({ r, a: 'ana', h: 'c'.repeat(64) }),
      note: 'version 1 is asked now'
    },
    { what: 'another approver', value: (r: string) => ({ r, a: 'bo', h: 'a'.repeat(64) }), note: 'for somebody else' }
  ])('with $what in the value changes nothing', async ({ value, note }) => {
    await using s = await endpoint()
    const { invitation, message } = await s.invite()
    const payload = s.server.click(message, 'oversight.approve', 'UANA')
    const [action] = payload.actions
    const changed = { ...action, value: JSON.stringify(value(invitation.requestId)) }
    expect((await s.send(s.signed({ ...payload, actions: [changed] }))).status).toBe(200)
    expect(s.notes()).toEqual([expect.stringContaining(note)])
    expect((await s.oversight.inspect(invitation.requestId)).verdict).toBeUndefined()
  })

  it('with a form whose metadata is not ours gets 400', async () => {
    await using s = await endpoint()
    await s.act((await s.invite()).message, 'deny', 'UANA')
    for (const metadata of ['', '{}', '{"value":{"requestId":"r","approver":"ana"},"single":true}']) {
      const view = { ...s.view(), private_metadata: metadata }
      expect((await s.fill(view, 'UANA', { reason: 'no' })).status).toBe(400)
    }
  })

  it.each([
    { type: 'view_closed' },
    { type: 'shortcut' },
    { type: 'block_suggestion' },
    {
      type: 'block_actions',
      user: { id: 'UANA' },
      actions: [{ action_id: 'oversight.open', block_id: 'r', action_ts: '1.2' }]
    },
    {
      type: 'block_actions',
      user: { id: 'UANA' },
      actions: [{ action_id: 'theirs', block_id: 'r', action_ts: '1.2' }]
    },
    {
      type: 'view_submission',
      user: { id: 'UANA' },
      view: { id: 'V1', callback_id: 'theirs', private_metadata: '', state: { values: {} } }
    }
  ])('about something else is answered with 200 and left alone: $type', async (payload) => {
    await using s = await endpoint()
    expect(await s.send(s.signed(payload))).toEqual({ status: 200, text: '' })
    expect([s.oversight.ballots, s.server.calls, s.events]).toEqual([[], [], []])
  })

  it('from a workspace without business here is turned away with 401', async () => {
    await using s = await endpoint()
    const { message } = await s.invite()
    expect((await s.act(message, 'approve', 'UANA', { team: 'T9' })).status).toBe(401)
    expect(s.events).toContainEqual({ type: 'slack.turned-away', because: 'workspace' })
  })

  it('gets 503 when it cannot be told where it comes from', async () => {
    await using s = await endpoint({ workspace: () => Promise.reject(new Error('the installations are away')) })
    expect((await s.act((await s.invite()).message, 'approve', 'UANA')).status).toBe(503)
    expect(s.oversight.ballots).toEqual([])
  })

  it('that is no POST gets 405, and one that is too large 413, also without a length', async () => {
    await using s = await endpoint()
    expect((await s.handler(new Request('https://app.example/'))).status).toBe(405)
    const large = 'x'.repeat(524_289)
    const lengthless = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(65_536))
      }
    })
    const streamed = { method: 'POST', body: lengthless, duplex: 'half' } as RequestInit
    const tooLarge = [
      new Request('https://app.example/', { method: 'POST', body: large, headers: { 'content-length': '524289' } }),
      new Request('https://app.example/', streamed)
    ]
    for (const request of tooLarge) expect((await s.handler(request)).status).toBe(413)
  })
})

describe('a response_url', () => {
  it.each([
    'https://attacker.example/',
    'http://hooks.slack.com/actions/1',
    'https://hooks.slack.com.attacker.example/',
    'https://hooks.slack.com@attacker.example/',
    'https://user:pass@hooks.slack.com/',
    'https://hooks.slack.com:8443/',
    'https://169.254.169.254/latest/meta-data',
    'file:///etc/passwd',
    'not a url'
  ])('%s is not asked for', async (responseUrl) => {
    const asked: string[] = []
    const spy = async (url: string, init: RequestInit): Promise<Response> => {
      asked.push(url)
      return fetch(url, init)
    }
    await using s = await endpoint({ fetch: spy })
    const { message } = await s.invite()
    expect((await s.act(message, 'approve', 'UANA', { responseUrl })).status).toBe(200)
    expect(s.oversight.ballots).toHaveLength(1)
    expect(asked).toEqual([])
    expect(s.events).toContainEqual(
      expect.objectContaining({
        type: 'slack.failed',
        what: 'note',
        error: expect.objectContaining({ detail: { reason: 'FOREIGN_URL' } })
      })
    )
  })

  it.each(['https://hooks.slack.com/actions/T1/1/secret', 'https://hooks.slack-gov.com/actions/T1/1/secret'])(
    '%s is asked for, follows no redirect, and is in no error and no event',
    async (responseUrl) => {
      const asked: { url: string; init: RequestInit }[] = []
      const spy = async (url: string, init: RequestInit): Promise<Response> => {
        asked.push({ url, init })
        throw new TypeError(`could not fetch ${url}`)
      }
      await using s = await endpoint({ fetch: spy })
      await s.act((await s.invite()).message, 'approve', 'UANA', { responseUrl })
      expect(asked).toMatchObject([{ url: responseUrl, init: { redirect: 'error' } }])
      expect(asked[0]?.init.headers).not.toHaveProperty('authorization')
      expect(inspect(s.events, { depth: 20 })).not.toContain('secret')
      expect(s.events.at(-1)).toMatchObject({ type: 'slack.failed', what: 'note' })
    }
  )

  it.each([{ status: 404 }, { silent: true }] as const)(
    'that answers with %s costs a note, and no vote',
    async (mishap) => {
      await using s = await endpoint()
      const { message } = await s.invite()
      s.server.next('response_url', mishap)
      const [end] = await s.drive(s.handler(s.signed(s.server.click(message, 'oversight.approve', 'UANA'))))
      expect(end).toMatchObject({ value: { status: 200 } })
      if ('silent' in mishap) {
        while (s.server.replies.length === 0) await new Promise((resolve) => setImmediate(resolve))
        await s.platform.clock.advance(5_100)
      }
      await Promise.all(s.pending)
      expect(s.events.at(-1)).toMatchObject({ type: 'slack.failed', what: 'note' })
      expect(s.oversight.ballots).toHaveLength(1)
    }
  )
})

describe('the options of the endpoint', () => {
  it.each([
    { options: { signingSecrets: [] }, path: 'signingSecrets' },
    { options: { signingSecrets: ['short'] }, path: 'signingSecrets.0' },
    { options: { oversight: {} }, path: 'oversight' },
    { options: { people: new Map() }, path: 'people' },
    { options: { workspace: undefined }, path: 'workspace' },
    { options: { signingSecret: 'x' }, path: 'signingSecret' }
  ])('are refused at $path, without the value', ({ options, path }) => {
    const sound = {
      signingSecrets: [SIGNING_SECRET],
      oversight: fakeOversight(() => 0),
      people: () => 'ana',
      workspace: () => undefined
    }
    expect(() => slackInteractivity({ ...sound, ...options } as never)).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })

  it('hold secrets that no inspection of the handler shows', async () => {
    await using s = await endpoint()
    await s.send(s.signed({}, { secret: 'another-signing-secret-0' }))
    expect(inspect([s.handler, s.events], { depth: 20, showHidden: true })).not.toContain(SIGNING_SECRET)
  })
})
