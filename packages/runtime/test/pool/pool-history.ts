import type { PoolCommand, PoolExchange, PoolRules, PoolStateStore } from '@enablement/runtime'
import { fc } from '@fast-check/vitest'
import { expect } from 'vitest'

/** What members of a pool say, one after the other; some of it twice, and some of it nonsense. */
export interface Step {
  readonly member: number
  readonly passMs: number
  readonly kind: PoolExchange['kind'] | 'again'
  readonly ready: number
  readonly starting: number
  readonly closing: number
  readonly wanted: number
  readonly commands: readonly PoolCommand[]
}

const MEMBERS = ['member-a', 'member-b', 'member-c']
const claim = fc.constantFrom(...'0123456789'.split('').map((digit) => `claim-${digit}`))
const draft = {
  claim,
  tenant: fc.constantFrom('acme', 'beta:{}', 'gamma,%'),
  priority: fc.nat(3),
  creditMs: fc.constantFrom(0, 0, 700),
  preemptible: fc.boolean(),
  shieldMs: fc.constantFrom(0, 0, 500)
}
const command: fc.Arbitrary<PoolCommand> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('enter' as const), ...draft }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constantFrom('end' as const, 'end', 'keep', 'use', 'go-cold'), claim })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('adopt' as const),
      ...draft,
      cold: fc.boolean(),
      // In the past of both clocks, and never the same twice.
      fence: fc.integer({ min: 1, max: 1_000_000_000 })
    })
  }
)

export const history: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    member: fc.nat(MEMBERS.length - 1),
    passMs: fc.constantFrom(0, 0, 1, 400, 3_000),
    kind: fc.constantFrom('stay' as const, 'stay', 'stay', 'stay', 'stay', 'join', 'leave', 'again'),
    ready: fc.nat(2),
    starting: fc.nat(1),
    closing: fc.nat(1),
    wanted: fc.nat(2),
    commands: fc.array(command, { maxLength: 4 })
  }),
  { maxLength: 25 }
)

const RULES: PoolRules = {
  capacity: 4,
  coldMax: 1,
  tenantMax: 3,
  queueMax: 4,
  agingMs: 1_000,
  preemptionsPerMinute: 3,
  cooldownMs: 600
}

/** Holds a store to another, answer by answer. Fences are compared by their order: the clocks differ. */
export async function expectAlike(
  steps: readonly Step[],
  pool: string,
  subjects: readonly { readonly store: PoolStateStore; pass(durationMs: number): void }[]
): Promise<void> {
  const last = new Map<string, PoolExchange>()
  for (const { member: at, passMs, kind, ready, starting, closing, wanted, commands } of steps) {
    const member = MEMBERS[at] as string
    const before = last.get(member)
    if (kind === 'again' && before === undefined) continue
    const exchange: PoolExchange =
      kind === 'again'
        ? (before as PoolExchange)
        : {
            member,
            sequence: (before?.sequence ?? 0) + 1,
            leaseMs: 5_000,
            kind,
            rules: RULES,
            stock: { ready, starting, closing },
            wanted,
            commands
          }
    last.set(member, exchange)
    const answers = []
    for (const subject of subjects) {
      subject.pass(passMs)
      const view = await subject.store.exchange(pool, exchange)
      answers.push(
        view.outcome === 'lapsed' ? view : { ...view, held: view.held.map(({ claim: of, state }) => ({ of, state })) }
      )
    }
    for (const answer of answers.slice(1)) expect(answer).toEqual(answers[0])
  }
}
