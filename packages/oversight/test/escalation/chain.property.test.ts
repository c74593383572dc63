import type { ApprovalPolicy, Tier } from '@enablement/oversight'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'
import { askedIn, channel, runDuties, stage } from '../stage.ts'

const people = ['ana', 'bo', 'cy', 'di', 'uma']

const tier: fc.Arbitrary<Tier> = fc.record({
  approvers: fc.uniqueArray(fc.constantFrom(...people), { maxLength: 3 }),
  channels: fc.uniqueArray(fc.constantFrom('pager', 'desk'), { minLength: 1 }),
  waitMs: fc.constantFrom(1, 500, 2_000),
  skipIfUnreachable: fc.boolean()
})

const policy: fc.Arbitrary<ApprovalPolicy> = fc
  .record({
    tiers: fc.array(tier, { minLength: 1, maxLength: 4 }),
    onExhausted: fc.constantFrom('deny' as const, 'queue' as const)
  })
  .filter(({ tiers }) => tiers.some(({ approvers }) => approvers.length > 0))

/** What happens next: time passes, workers look (several at once, or one duty alone), or someone votes. */
const happening = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 499, 500, 2_000, 9_000) })
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('work' as const), workers: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('escalate' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('vote' as const), approver: fc.constantFrom(...people) }) }
)

type Happening = typeof happening extends fc.Arbitrary<infer Of> ? Of : never

async function play(rules: ApprovalPolicy, unreachable: readonly string[], happenings: readonly Happening[]) {
  const channels = { pager: channel(unreachable), desk: channel(unreachable) }
  await using s = await stage(rules, { channels })
  const { id } = await s.open()
  const signal = new AbortController().signal
  for (const next of happenings) {
    if (next.kind === 'wait') await s.platform.clock.advance(next.ms)
    if (next.kind === 'work') await Promise.all(Array.from({ length: next.workers }, () => runDuties(s.another())))
    if (next.kind === 'escalate') await s.another().duties[0]?.run({ signal })
    if (next.kind === 'vote') await s.oversight.decide(id, { approver: next.approver, decision: 'approve' })
  }
  const story = await s.story()
  const entries = await s.entries()
  return { story, entries, delivered: [...channels.pager.delivered, ...channels.desk.delivered] }
}

describe('a chain of tiers, whatever happens', () => {
  test.prop([policy, fc.uniqueArray(fc.constantFrom(...people)), fc.array(happening, { maxLength: 14 })], {
    numRuns: Math.ceil(30 * inject('scale'))
  })(
    'asks each tier at most once and in order, ends at most once, and does the same when the same happens again',
    async (rules, unreachable, happenings) => {
      const { story, entries, delivered } = await play(rules, unreachable, happenings)
      const seen = entries
        .map((entry) => (entry.action === 'tier.skipped' ? entry.detail : askedIn(entry)))
        .filter((found) => found !== undefined)
      expect(seen.map(({ tier }) => tier)).toEqual(seen.map((_, index) => index))
      const ends = entries.filter(({ action }) => /^request\.(approved|denied|timed-out|cancelled)$/.test(action))
      expect(ends.length).toBeLessThanOrEqual(1)
      expect(entries.filter(({ action }) => action === 'request.queued').length).toBeLessThanOrEqual(1)
      expect(new Set(delivered.map(({ id }) => id)).size).toBe(delivered.length)
      expect(delivered.map(({ approver }) => approver.id)).not.toContain('uma')

      const again = await play(rules, unreachable, happenings)
      expect(again.story.toSorted()).toEqual(story.toSorted())
    },
    600_000
  )
})
