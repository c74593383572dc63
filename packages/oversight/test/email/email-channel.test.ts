import { inspect } from 'node:util'
import { type EmailChannelOptions, emailChannel, memoryAddressHealth } from '@enablement/oversight/email'
import { describe, expect, it } from 'vitest'
import { ana, emailStage, idOf, invitation, read, SECRET, signal } from './stage.ts'

const FIRST = ana.address
const SECOND = ana.alternatives[0]

describe('an invitation by e-mail', () => {
  it('is delivered to the first address, under a message id that follows from its own', async () => {
    await using stage = await emailStage()
    const outcome = await stage.deliver()
    const mail = await read(stage.smtp.taken[0])
    expect(stage.smtp.tried).toEqual([FIRST])
    expect(outcome).toEqual({ outcome: 'delivered', receipt: `${mail.messageId} ${FIRST} ${invitation.id}` })
    expect(mail.messageId).toMatch(/^<oversight\.[0-9a-f]{32}@example\.net>$/)
    await stage.deliver({ attempt: 2 })
    expect((await read(stage.smtp.taken[1])).messageId).toBe(mail.messageId)
    await stage.deliver({ id: idOf(1) })
    expect((await read(stage.smtp.taken[2])).messageId).not.toBe(mail.messageId)
    expect(stage.events[0]).toEqual({ type: 'email.accepted', id: invitation.id, address: FIRST })
  })

  it('is sent from a return path of its own, and asks programs not to answer', async () => {
    await using stage = await emailStage()
    await stage.deliver()
    const [taken] = stage.smtp.taken
    const reading = stage.returnPath.read(taken?.from ?? '')
    expect(reading).toMatchObject({ outcome: 'ours', kind: 'invitation', id: invitation.id })
    expect(reading.outcome === 'ours' && reading.sentTo(FIRST)).toBe(true)
    const { headers } = await read(taken)
    const header = (name: string) => headers.find(({ key }) => key === name)?.value
    expect(header('auto-submitted')).toBe('auto-generated')
    expect(header('x-auto-response-suppress')).toBe('All')
    expect(header('date')).toBe('Thu, 01 Jan 2026 00:00:00 +0000')
    expect(header('from')).toBe('Approvals <approvals@example.net>')
    expect(header('x-mailer')).toBeUndefined()
  })

  it('is sent from the sender where bounces are not wanted', async () => {
    await using stage = await emailStage({}, { returnPath: 'none' })
    await stage.deliver()
    expect(stage.smtp.taken[0]?.from).toBe('approvals@example.net')
  })

  it('goes to the next address at once when the first one bounces hard, and counts that', async () => {
    await using stage = await emailStage({
      to: (address) => (address === FIRST ? '550 5.1.1 no such user' : undefined)
    })
    expect(await stage.deliver()).toMatchObject({ outcome: 'delivered', receipt: expect.stringContaining(SECOND) })
    expect(stage.smtp.tried).toEqual([FIRST, SECOND])
    expect(await stage.health.standing(FIRST)).toEqual({ outcome: 'usable', hardBounces: 1 })
    expect(await stage.health.standing(SECOND)).toEqual({ outcome: 'usable', hardBounces: 0 })
    expect(stage.events).toContainEqual({
      type: 'email.refused',
      id: invitation.id,
      address: FIRST,
      finding: 'hard',
      code: '550 5.1.1'
    })
  })

  it('never tries an address again that bounced hard, when the next one wants another attempt', async () => {
    await using stage = await emailStage({ to: (address) => (address === FIRST ? '550 5.1.1 no' : '450 4.2.1 busy') })
    expect(await stage.deliver()).toMatchObject({ outcome: 'retry' })
    expect(await stage.deliver({ attempt: 2 })).toMatchObject({ outcome: 'retry' })
    stage.smtp.script = {}
    expect(await stage.deliver({ attempt: 3 })).toMatchObject({ outcome: 'delivered' })
    expect(stage.smtp.tried).toEqual([FIRST, SECOND, SECOND, SECOND])
    expect(await stage.health.standing(FIRST)).toEqual({ outcome: 'usable', hardBounces: 1 })
  })

  it('is tried three times with growing waits after soft failures, then goes to the next address, then is unreachable', async () => {
    await using stage = await emailStage({ to: () => '452 4.2.2 mailbox full' })
    const waits: number[] = []
    const outcomes: string[] = []
    for (let attempt = 1; attempt <= (stage.channel.attemptsMax ?? 0); attempt++) {
      const outcome = await stage.deliver({ attempt })
      outcomes.push(outcome.outcome)
      if (outcome.outcome === 'retry') waits.push(outcome.afterMs ?? 0)
      else break
    }
    expect(stage.smtp.tried).toEqual([FIRST, FIRST, FIRST, SECOND, SECOND, SECOND])
    expect(outcomes).toEqual(['retry', 'retry', 'retry', 'retry', 'unreachable'])
    for (const [at, minimumMs] of [60_000, 120_000, 60_000, 120_000].entries()) {
      expect(waits[at]).toBeGreaterThanOrEqual(minimumMs)
      expect(waits[at]).toBeLessThanOrEqual(minimumMs * 1.1)
    }
    expect(await stage.health.standing(FIRST)).toEqual({ outcome: 'usable', hardBounces: 0 })
  })

  it('has attempts enough for three addresses that fail softly', async () => {
    await using stage = await emailStage({ to: () => '451 4.3.0 not now' })
    const approver = { ...ana, alternatives: ['b@example.org', 'c@example.org', 'd@example.org'] }
    let attempt = 1
    while ((await stage.deliver({ approver, attempt })).outcome === 'retry') attempt += 1
    expect(attempt).toBe(stage.channel.attemptsMax)
    expect(new Set(stage.smtp.tried)).toEqual(new Set([FIRST, 'b@example.org', 'c@example.org']))
    expect(stage.smtp.tried).toHaveLength(9)
  })

  it('waits for minutes when it is greylisted, and gets through', async () => {
    const platformAt = { now: () => 0 }
    let first: number | undefined
    await using stage = await emailStage({
      to() {
        first ??= platformAt.now()
        return platformAt.now() < first + 300_000 ? '451 4.7.1 greylisted, come back in 300 seconds' : undefined
      }
    })
    platformAt.now = () => stage.platform.clock.now()
    const refused = await stage.deliver()
    expect(refused).toMatchObject({ outcome: 'retry', reason: 'refused for now: 451 4.7.1' })
    await stage.platform.clock.advance(refused.outcome === 'retry' ? (refused.afterMs ?? 0) : 0)
    expect(await stage.deliver({ attempt: 2 })).toMatchObject({ outcome: 'delivered' })
    expect(stage.smtp.tried).toEqual([FIRST, FIRST])
  })

  it('leaves out an address that three mails could not reach, until it is reinstated', async () => {
    await using stage = await emailStage({ to: (address) => (address === FIRST ? '550 no such user' : undefined) })
    for (const number of [1, 2, 3, 4]) {
      expect(await stage.deliver({ id: idOf(number) })).toMatchObject({ outcome: 'delivered' })
    }
    expect(stage.smtp.tried.filter((address) => address === FIRST)).toHaveLength(3)
    expect(stage.events.filter(({ type }) => type === 'email.address-invalid')).toEqual([
      { type: 'email.address-invalid', address: FIRST, until: stage.platform.clock.now() + 180 * 86_400_000 }
    ])
    await stage.health.reinstate(FIRST)
    stage.smtp.script = {}
    expect(await stage.deliver({ id: idOf(5) })).toMatchObject({ receipt: expect.stringContaining(FIRST) })
  })

  it('counts one mail once, however often it is attempted', async () => {
    await using stage = await emailStage({ to: () => '550 5.1.1 no such user' })
    for (let attempt = 1; attempt <= 4; attempt++) {
      expect(await stage.deliver({ attempt })).toMatchObject({ outcome: 'unreachable' })
    }
    expect(stage.smtp.tried).toEqual([FIRST, SECOND])
    expect(await stage.health.standing(FIRST)).toEqual({ outcome: 'usable', hardBounces: 1 })
  })

  it('holds nothing against an address that policy keeps it from, and reports that', async () => {
    await using stage = await emailStage({ to: (address) => (address === FIRST ? '550 5.7.1 blocked' : undefined) })
    for (const number of [1, 2, 3, 4]) await stage.deliver({ id: idOf(number) })
    expect(stage.smtp.tried.filter((address) => address === FIRST)).toHaveLength(4)
    expect(await stage.health.standing(FIRST)).toEqual({ outcome: 'usable', hardBounces: 0 })
    expect(stage.events).toContainEqual({
      type: 'email.refused',
      id: idOf(1),
      address: FIRST,
      finding: 'sender',
      code: '550 5.7.1'
    })
  })

  it('goes to the next address when the message is refused at the first', async () => {
    await using stage = await emailStage({ message: ({ to }) => (to === FIRST ? '550 looks like spam' : undefined) })
    expect(await stage.deliver()).toMatchObject({ outcome: 'delivered', receipt: expect.stringContaining(SECOND) })
    expect(await stage.health.standing(FIRST)).toEqual({ outcome: 'usable', hardBounces: 0 })
  })

  it('is soft about a mailbox that has no room for the message', async () => {
    await using stage = await emailStage({ message: () => '552 exceeded storage allocation' })
    expect(await stage.deliver()).toMatchObject({ outcome: 'retry', reason: 'refused for now: 552' })
  })

  it('is unreachable at once when the server refuses the sender, and no address is to blame', async () => {
    await using stage = await emailStage({ from: () => '550 5.1.1 sender unknown' })
    expect(await stage.deliver()).toEqual({
      outcome: 'unreachable',
      reason: 'the mail server refused to serve: 550 5.1.1'
    })
    expect(stage.smtp.tried).toEqual([])
    expect(stage.events).toEqual([
      { type: 'email.refused', id: invitation.id, address: undefined, finding: 'sender', code: '550 5.1.1' }
    ])
    expect(await stage.health.standing(FIRST)).toEqual({ outcome: 'usable', hardBounces: 0 })
    stage.smtp.script = { from: () => '421 4.7.0 too many connections' }
    expect(await stage.deliver()).toMatchObject({ outcome: 'retry', afterMs: expect.any(Number) })
    const { softFailures } = await stage.health.trace({ address: FIRST, messageId: invitation.id })
    expect(softFailures).toBe(0)
  })

  it('is tried again, and counts against nobody, when the connection drops in the middle of the message', async () => {
    await using stage = await emailStage({ onMessage: 'drop' })
    expect(await stage.deliver()).toMatchObject({
      outcome: 'retry',
      reason: expect.stringMatching(/^the mail server did not answer: E(CONNECTION|SOCKET)$/)
    })
    stage.smtp.script = {}
    expect(await stage.deliver({ attempt: 2 })).toMatchObject({ outcome: 'delivered' })
    const trace = await stage.health.trace({ address: FIRST, messageId: invitation.id })
    expect(trace).toEqual({ standing: { outcome: 'usable', hardBounces: 0 }, softFailures: 0, ended: false })
  })

  it('is tried again when there is no server', async () => {
    await using stage = await emailStage({}, { smtp: { client: { port: 1 } } })
    expect(await stage.deliver()).toEqual({ outcome: 'retry', reason: 'the mail server did not answer: ESOCKET' })
    expect(stage.events).toEqual([{ type: 'email.unsent', id: invitation.id, code: 'ESOCKET' }])
  })

  it('stops waiting for a server that stalls when its time is up, and leaves no listener behind', async () => {
    await using stage = await emailStage()
    const controller = new AbortController()
    const reason = new Error('time is up')
    const { addEventListener, removeEventListener } = controller.signal
    const listeners = new Set<unknown>()
    Object.assign(controller.signal, {
      addEventListener: (type: 'abort', listener: () => void, options: object) => {
        listeners.add(listener)
        addEventListener.call(controller.signal, type, listener, options)
      },
      removeEventListener: (type: 'abort', listener: () => void) => {
        listeners.delete(listener)
        removeEventListener.call(controller.signal, type, listener)
      }
    })
    await stage.channel.deliver(invitation, { signal: controller.signal })
    expect(listeners.size).toBe(0)
    stage.smtp.script = { onMessage: 'stall' }
    const delivery = stage.channel.deliver(invitation, { signal: controller.signal })
    while (stage.smtp.tried.length === 1) await new Promise((resolve) => setImmediate(resolve))
    controller.abort(reason)
    await expect(delivery).rejects.toBe(reason)
    const late = stage.channel.deliver(invitation, { signal: controller.signal })
    await expect(late).rejects.toBe(reason)
  })

  it('goes only to what is an address, each one once', async () => {
    await using stage = await emailStage({ to: () => '550 no' })
    const approver = {
      ...ana,
      address: 'ana@example.com\r\nBcc: eve@example.com',
      alternatives: [FIRST, 'ANA@EXAMPLE.COM']
    }
    await stage.deliver({ approver })
    expect(stage.smtp.tried).toEqual([FIRST])
    expect(stage.events[0]).toEqual({ type: 'email.address-malformed', approver: 'ana' })
    stage.smtp.script = {}
    expect(await stage.deliver({ id: idOf(1), approver: { ...ana, address: 'Ana@EXAMPLE.com' } })).toMatchObject({
      receipt: expect.stringMatching(/ ana@example\.com /)
    })
    expect(await stage.deliver({ approver: { ...approver, alternatives: [] } })).toEqual({
      outcome: 'unreachable',
      reason: 'no mail address'
    })
  })

  it('is delivered, and says so, when only the success cannot be remembered', async () => {
    const health = memoryAddressHealth()
    await using stage = await emailStage(
      {},
      { health: { ...health, record: () => Promise.reject(new TypeError('postgres://user:hunter2@db')) } }
    )
    expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' })
    expect(stage.events.at(-1)).toEqual({ type: 'email.success-unrecorded', address: FIRST, code: 'unknown' })
  })

  it.for(['trace', 'enter'] as const)(
    'throws what the %s of address health throws, before anything is sent',
    async (call) => {
      const failure = new Error('the store is down')
      const health = { ...memoryAddressHealth(), [call]: () => Promise.reject(failure) }
      await using stage = await emailStage({}, { health })
      await expect(stage.deliver()).rejects.toBe(failure)
      expect(stage.smtp.tried).toEqual([])
    }
  )

  it('is entered with its request before it is handed over, where mails can come back', async () => {
    await using stage = await emailStage({ to: (address) => (address === FIRST ? '550 5.1.1 no' : undefined) })
    const invitations = [{ requestId: invitation.requestId, invitationId: invitation.id }]
    const delivered = await stage.deliver()
    expect(await stage.health.entries(invitation.id)).toEqual(
      [SECOND, FIRST].map((address) => ({ address, invitations }))
    )
    const receipt = delivered.outcome === 'delivered' ? delivered.receipt : undefined
    await stage.deliver({ id: idOf(1), kind: 'reminder', receipt })
    expect(await stage.health.entries(idOf(1))).toEqual([{ address: SECOND, invitations }])
    await stage.deliver({ id: idOf(2), kind: 'reminder', receipt: '<a@b> ana@example.com x' })
    expect(await stage.health.entries(idOf(2))).toEqual([])
    await using without = await emailStage({}, { returnPath: 'none' })
    await without.deliver()
    expect(await without.health.entries(invitation.id)).toEqual([])
  })

  it('does not go where anything in it came back from, in this mail or in another', async () => {
    await using stage = await emailStage()
    await stage.health.record({ address: FIRST, messageId: invitation.id }, 'refused')
    expect(await stage.deliver()).toMatchObject({ outcome: 'delivered', receipt: expect.stringContaining(SECOND) })
    const digest = { id: idOf(9), tenant: 'acme', approver: ana, more: 0 }
    const invitations = [invitation, { ...invitation, id: idOf(3), requestId: 'r3' }]
    await stage.channel.digest?.({ ...digest, invitations }, { signal })
    expect(stage.smtp.tried).toEqual([SECOND, SECOND])
    expect(await stage.health.entries(idOf(9))).toEqual([
      {
        address: SECOND,
        invitations: invitations.map(({ id, requestId }) => ({ requestId, invitationId: id }))
      }
    ])
  })

  it('takes a rejection for one when the transport resolves with it', async () => {
    const response = {
      accepted: [],
      rejected: [FIRST],
      rejectedErrors: [{ command: 'RCPT TO', response: '550 5.1.1 no' }]
    }
    await using stage = await emailStage({}, { transport: { sendMail: async () => response } })
    expect(await stage.deliver()).toMatchObject({
      outcome: 'unreachable',
      reason: '550 5.1.1 (hard), 550 5.1.1 (hard)'
    })
    await using silent = await emailStage({}, { transport: { sendMail: async () => ({ rejected: [FIRST] }) } })
    expect(await silent.deliver()).toEqual({ outcome: 'retry', reason: 'the mail server did not answer: unknown' })
  })

  it('tells nobody a password', async () => {
    const secret = 'hunter2-hunter2'
    const auth = { user: 'mailer', pass: secret }
    await using stage = await emailStage(
      {},
      {
        smtp: {
          server: {
            authOptional: false,
            allowInsecureAuth: true,
            onAuth: ({ password }, _, answer) => answer(new Error(`wrong password ${password}`))
          },
          client: { auth }
        }
      }
    )
    const outcome = await stage.deliver()
    expect(outcome).toEqual({ outcome: 'unreachable', reason: 'the mail server refused to serve: 535' })
    expect(stage.events).toMatchObject([{ type: 'email.refused', address: undefined, finding: 'sender', code: '535' }])
    expect(JSON.stringify(stage.events) + inspect(outcome)).not.toContain(secret)
    expect(inspect(stage.channel, { depth: 10, showHidden: true })).not.toContain(secret)
    expect(inspect(stage.channel, { depth: 10, showHidden: true })).not.toContain(SECRET)
  })
})

describe('the reachability of an approver by e-mail', () => {
  it('is that of any of the addresses', async () => {
    await using stage = await emailStage({ to: () => '550 5.1.1 no' })
    const reachability = () => stage.channel.reachability?.(ana, { signal })
    expect(await reachability()).toEqual({ outcome: 'reachable' })
    for (const messageId of ['1', '2', '3']) await stage.health.record({ address: FIRST, messageId }, 'hard')
    expect(await reachability()).toEqual({ outcome: 'reachable' })
    for (const messageId of ['1', '2', '3']) await stage.health.record({ address: SECOND, messageId }, 'hard')
    expect(await reachability()).toEqual({ outcome: 'unreachable', reason: 'every address has bounced too often' })
    const nobody = { ...ana, address: 'ana', alternatives: [] }
    expect(await stage.channel.reachability?.(nobody, { signal })).toEqual({
      outcome: 'unreachable',
      reason: 'no mail address'
    })
  })
})

describe('a channel by e-mail', () => {
  const options: EmailChannelOptions = {
    transport: { sendMail: async () => ({}) },
    from: { name: 'Approvals', address: 'approvals@example.net' },
    health: memoryAddressHealth(),
    returnPath: 'none',
    verdicts: 'none'
  }

  it('refuses options that are wrong, with the path', () => {
    for (const [path, changes] of [
      ['transport', { transport: {} }],
      ['transport', { transport: undefined }],
      ['from.address', { from: { name: 'x', address: 'approvals' } }],
      ['from.name', { from: { address: 'approvals@example.net' } }],
      ['health', { health: {} }],
      ['returnPath', { returnPath: 'somewhere' }],
      ['returnPath', { returnPath: undefined }],
      ['verdicts', { verdicts: 'yes' }],
      ['verdicts', { verdicts: undefined }],
      ['timeZone', { timeZone: 'Europe/Atlantis' }],
      ['waits.softMs', { waits: { softMs: 0 } }],
      ['waits.softMs', { waits: { softMs: Number.NaN } }],
      ['waits.greylistedMs', { waits: { greylistedMs: Number.POSITIVE_INFINITY } }],
      ['linksOf', { linksOf: 'https://example.com' }],
      ['links', { links: {} }]
    ] as const) {
      expect(() => emailChannel({ ...options, ...(changes as object) })).toThrow(
        expect.objectContaining({
          code: 'INVALID_OPTIONS',
          detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] })
        })
      )
    }
  })

  it('tells nobody how it ended unless it is told to', () => {
    expect(emailChannel(options).update).toBeUndefined()
    expect(emailChannel({ ...options, verdicts: 'mail' }).update).toBeTypeOf('function')
  })
})
