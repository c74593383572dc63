import { createTokenBucket } from '@enablement/core'
import { type SlackBucket, type SlackLimits, slackChannel } from '@enablement/oversight/slack'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { digestOf, invitationOf, noticeOf, signal } from './slack-bench.ts'
import { type AnyBlock, messageFault, TOKEN } from './slack-server.ts'

const unlimited = (): SlackLimits => {
  const bucket: SlackBucket = createTokenBucket({ perSecond: 1e9, burst: 1e9 })
  return { 'chat.postMessage': bucket, 'chat.update': bucket, 'conversations.open': bucket, 'views.open': bucket }
}

interface Sent {
  readonly text: string
  readonly blocks: readonly AnyBlock[]
  readonly [argument: string]: unknown
}

/** A channel whose messages are kept instead of sent. */
function recording() {
  const sent: Sent[] = []
  const channel = slackChannel({
    token: TOKEN,
    limits: unlimited(),
    overLimit: 'postpone',
    inspect: () => Promise.reject(new Error('not asked')),
    fetch: async (_, init) => {
      sent.push(JSON.parse(init.body as string) as Sent)
      return Response.json({ ok: true, channel: 'DANA', ts: '1.000001' })
    }
  })
  return { channel, sent }
}

const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom(
    '<!channel>',
    '<!here|here>',
    '<@U123>',
    '<https://attacker.example|Open in inbox>',
    '*Approved* by the CFO',
    '```',
    '&lt;!everyone&gt;',
    '@everyone #general',
    '\u202eevorppA',
    'a\u200bb\u0000c\ud800d',
    '',
    ' ',
    '\u{e0041}\u{e007f}'
  ),
  fc
    .tuple(fc.constantFrom('<', '&', 'x', '\n', '\u{1f600}'), fc.integer({ min: 1, max: 5_000 }))
    .map(([c, n]) => c.repeat(n))
)

const channelId = { id: 'ana', name: 'Ana', address: 'DANA', alternatives: [] }

/** Every text object of a message, with what holds it. */
const textsOf = (value: unknown): { readonly type: string; readonly text: string }[] => {
  if (Array.isArray(value)) return value.flatMap(textsOf)
  if (typeof value !== 'object' || value === null) return []
  const { type, text } = value as { readonly type?: unknown; readonly text?: unknown }
  const own = typeof type === 'string' && typeof text === 'string' ? [{ type, text }] : []
  return [...own, ...Object.values(value).flatMap(textsOf)]
}

const DATE = /<!date\^\d+\^\{date_short_pretty\} \{time\}\|[^<>]*>/g
const UNSHOWN = /(?![\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u

function expectHarmless(sent: Sent | undefined): void {
  if (sent === undefined) throw new Error('nothing was sent')
  expect(messageFault(sent)).toBeUndefined()
  expect(sent).toMatchObject({ mrkdwn: false, parse: 'none', link_names: false })
  const texts = [...textsOf(sent.blocks), { type: 'plain_text', text: sent.text }]
  for (const { type, text } of texts) {
    expect(text.replace(type === 'mrkdwn' ? DATE : '', '')).not.toMatch(/[<>]|&(?!(?:amp|lt|gt);)/)
    expect(text).not.toMatch(UNSHOWN)
  }
  // Markup is ours alone.
  const mrkdwn = texts.filter(({ type }) => type === 'mrkdwn').map(({ text }) => text)
  for (const text of mrkdwn) {
    expect(text.replace(DATE, '')).toMatch(/^(:\w+: )?(\*[\w ]+\*:? ?)?[\w ,.']*$/)
  }
}

const numRuns = Math.ceil(60 * inject('scale'))

describe('the text of a message', () => {
  test.prop([fc.array(hostile, { minLength: 8, maxLength: 8 }), fc.dictionary(hostile, hostile, { maxKeys: 5 })], {
    numRuns
  })(
    'is escaped, cut and without what cannot be seen, whoever wrote it',
    async ([
      action = '',
      summary = '',
      agent = '',
      onBehalfOf = '',
      reason = '',
      name = '',
      by = '',
      because = ''
    ], excerpt) => {
      const { channel, sent } = recording()
      const invitation = invitationOf({
        action,
        summary,
        excerpt,
        requestedBy: { agent, onBehalfOf },
        context: { outcome: 'unavailable', reason },
        approver: { ...channelId, name }
      })
      await channel.deliver(invitation, { signal })
      await channel.deliver({ ...invitation, kind: 'reminder', receipt: 'DANA:1.000001' }, { signal })
      const verdict = { outcome: 'denied', requestId: 'r', by, decidedAt: 1, reason: because } as const
      await channel.update?.(noticeOf(invitation, 'DANA:1.000001', verdict), { signal })
      const twenty = Array.from({ length: 20 }, (_, at) => ({
        ...invitation,
        requestId: `${invitation.requestId}${at}`
      }))
      await channel.digest?.(digestOf(twenty, 3), { signal })
      expect(sent).toHaveLength(4)
      for (const message of sent) expectHarmless(message)
    }
  )

  it.each([
    ['Refund <b>12 & 3</b>', 'Refund &lt;b&gt;12 &amp; 3&lt;/b&gt;'],
    ['one\r\ntwo\u2028three', 'one\ntwo\nthree'],
    ['evil\u202etxet', 'evil\ufffdtxet'],
    ['\u{1f469}\u200d\u{1f4bb} works', '\u{1f469}\u200d\u{1f4bb} works']
  ])('shows %j as %j', async (summary, text) => {
    const { channel, sent } = recording()
    await channel.deliver(invitationOf({ summary, approver: channelId }), { signal })
    expect(sent[0]?.blocks[1]?.text?.text).toBe(text)
  })

  it('is cut between characters, with a sign that it was, and says so of an excerpt', async () => {
    const { channel, sent } = recording()
    const excerpt = { note: '&'.repeat(1_000) }
    await channel.deliver(invitationOf({ summary: '\u{1f600}'.repeat(1_500), excerpt, approver: channelId }), {
      signal
    })
    const [, summary, shown, captions] = sent[0]?.blocks ?? []
    expect(summary?.text?.text).toMatch(/^(\u{1f600})+…$/u)
    expect(shown?.text?.text).toMatch(/^\{\n {2}"note": "(&amp;)+…$/)
    expect(JSON.stringify(captions)).toContain('*Cut*')
  })
})
