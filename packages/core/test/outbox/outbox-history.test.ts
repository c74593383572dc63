import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { shareOf } from '../testing/share.ts'
import { faultsIn, type Incident, type Plan, play } from './history.ts'
import { type Rewrite, rewriting } from './rewriting.ts'

const scale = inject('scale')

function plans(kinds: readonly Incident['kind'][]): fc.Arbitrary<Plan> {
  return fc.record({
    seed: fc.integer({ min: 0, max: 1_000_000 }),
    onDead: fc.constantFrom('hold', 'continue'),
    incidents: fc.array(
      fc.record({
        afterMs: fc.oneof(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 100, max: 900 })),
        kind: fc.oneof({ weight: 2, arbitrary: fc.constant('put' as const) }, fc.constantFrom(...kinds)),
        at: fc.integer({ min: 0, max: 3 }),
        amount: fc.integer({ min: 1, max: 4_000 })
      }),
      { minLength: 4, maxLength: 16 }
    )
  })
}

/** A plan that fails is short enough to read, and playing it again and again to shorten it takes minutes. */
const runs = { numRuns: Math.ceil(5 * scale), endOnFailure: true }

describe('the history of an outbox', () => {
  test.prop([plans(['kill', 'cut', 'lose-replies'])], runs)(
    'loses nothing, lets nothing overtake and repeats under the same id, one attempt at a time, although workers die and replies are lost',
    async (plan) => {
      expect(faultsIn(await play(plan), plan.onDead, true)).toEqual([])
    },
    600_000
  )

  test.prop([plans(['kill', 'store-clock'])], runs)(
    "loses nothing and lets nothing overtake although the store's clock jumps ahead",
    async (plan) => {
      expect(faultsIn(await play(plan), plan.onDead, false)).toEqual([])
    },
    600_000
  )
})

const replacing =
  (from: string, to: string): Rewrite =>
  (text) =>
    text.replaceAll(from, to)

/** Outboxes that are wrong in one point, and what shows it. */
const broken: readonly (readonly [string, Rewrite, string])[] = [
  [
    'makes nothing due that waited',
    replacing('where next_due_at is null', 'where 1 = 0 and next_due_at is null'),
    'waits'
  ],
  ['takes the last message of a key for the first', replacing('min(m.sequence)', 'max(m.sequence)'), 'overtook'],
  [
    'takes dead messages for gone that hold their key',
    replacing("state = 'dead', in_line = cast(? as bigint)", "state = 'dead', in_line = 0 * cast(? as bigint)"),
    'overtook'
  ],
  [
    'does not see that a message is under way',
    replacing(
      'next_due_at = (select enablement_virtual_now()) + ?, attempts',
      'next_due_at = (select enablement_virtual_now()) + 0 * ?, attempts'
    ),
    'on its way'
  ],
  [
    'does not extend leases',
    replacing('next_due_at = case when next_due_at >', 'unanswered = case when next_due_at < 0 and next_due_at >'),
    'on its way'
  ],
  [
    'gives the same fence again',
    replacing(
      'fence = case when fence >= (select enablement_virtual_now()) * 1000 then fence + 1 else (select enablement_virtual_now()) * 1000 end',
      'fence = 1'
    ),
    'under fence'
  ],
  [
    'forgets messages that failed',
    replacing('attempts = attempts - given.c', "attempts = attempts - given.c, in_line = 0, state = 'delivered'"),
    'was lost'
  ],
  ['forgets dead messages', replacing("set state = 'dead'", "set state = 'delivered'"), 'was lost'],
  [
    'gives a message another id when it is claimed again',
    replacing('attempts = attempts + 1, unanswered', "id = id || 'x', attempts = attempts + 1, unanswered"),
    'two ids'
  ]
]

describe('an outbox that', () => {
  it.each(shareOf(broken))('%s is found out', async (_name, rewrite, fault) => {
    const seen: string[] = []
    for (const plan of fc.sample(plans(['kill', 'cut', 'lose-replies']), { numRuns: 30, seed: 7 })) {
      const faults = faultsIn(await play(plan, (db) => rewriting(db, rewrite)), plan.onDead, true)
      seen.push(...faults)
      if (faults.some((one) => one.includes(fault))) return
    }
    expect(seen).toContain(fault)
  })
})
