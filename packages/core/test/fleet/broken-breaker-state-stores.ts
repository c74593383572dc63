import { type BreakerStateStore, memoryBreakerStateStore, type SharedStanding } from '@enablement/core/fleet'

interface Breaker {
  readonly generation: number
  readonly open: boolean
  readonly breaks: number
  readonly breakMs: number
  readonly since: number
  readonly leftMs: number
  readonly owner: string
  readonly claimedAt: number
  readonly leaseMs: number
}

/** What a store of shared breakers decides; each broken one gets one of these wrong. */
interface Decisions {
  keyOf(name: string): string
  left(since: number, spanMs: number, now: number): number
  next(generation: number, now: number): number
  isKnown(known: number, generation: number): boolean
  /** What may happen between reading a breaker and writing it. */
  gap: (() => Promise<void>) | undefined
  mayOpen(breaker: Breaker): boolean
  mayClaim(breaker: Breaker, now: number): boolean
  isOwn(breaker: Breaker, owner: string): boolean
  claimGeneration(breaker: Breaker, now: number): number
  renewedAt(breaker: Breaker, now: number): number
  afterOpen(breaker: Breaker): Breaker
  breaksAfterReset(breaker: Breaker): number
  checks(name: string): Promise<unknown>
}

const left = (since: number, spanMs: number, now: number): number =>
  now < since ? 0 : Math.max(0, since + spanMs - now)

const right: Decisions = {
  keyOf: (name) => name,
  left,
  next: (generation, now) => Math.max(generation + 1, now * 1_000),
  isKnown: (known, generation) => known === generation,
  gap: undefined,
  mayOpen: () => true,
  mayClaim: (breaker, now) => left(breaker.since, breaker.leftMs, now) === 0,
  isOwn: (breaker, owner) => breaker.owner === owner,
  claimGeneration: (breaker, now) => Math.max(breaker.generation + 1, now * 1_000),
  renewedAt: (_, now) => now,
  afterOpen: (breaker) => ({ ...breaker, owner: '', claimedAt: 0, leaseMs: 0 }),
  breaksAfterReset: () => 0,
  checks: async () => {}
}

const unknown: Breaker = {
  generation: 0,
  open: false,
  breaks: 0,
  breakMs: 0,
  since: 0,
  leftMs: 0,
  owner: '',
  claimedAt: 0,
  leaseMs: 0
}

function storeThat(changed: Partial<Decisions>): (clock: { now(): number }) => BreakerStateStore {
  const decide: Decisions = { ...right, ...changed }
  // The memory store's own rules for what is no break and no claim, on a store that holds nothing else.
  const rules = memoryBreakerStateStore()
  return (clock) => {
    const breakers = new Map<string, Breaker>()
    const standing = (breaker: Breaker): SharedStanding => {
      const now = clock.now()
      const { generation, open, breaks, breakMs, since, leftMs, claimedAt, leaseMs } = breaker
      if (!open) {
        return {
          generation,
          breaks,
          breakMs,
          state: 'closed',
          closedForMs: generation === 0 ? 0 : Math.max(0, now - since)
        }
      }
      const breakLeftMs = decide.left(since, leftMs, now)
      return {
        generation,
        breaks,
        breakMs,
        state: 'open',
        breakLeftMs,
        probeLeftMs: decide.left(claimedAt, leaseMs, now)
      }
    }
    const change = async (name: string, step: (breaker: Breaker, now: number) => Breaker | undefined) => {
      await decide.checks(name)
      const key = decide.keyOf(name)
      const before = breakers.get(key) ?? unknown
      if (decide.gap !== undefined) await decide.gap()
      const after = step(before, clock.now())
      if (after !== undefined) breakers.set(key, after)
      return { done: after !== undefined, standing: standing(after ?? before) }
    }
    const closed = (breaker: Breaker, now: number): Breaker => ({
      ...breaker,
      generation: decide.next(breaker.generation, now),
      open: false,
      since: now,
      leftMs: 0,
      owner: '',
      claimedAt: 0,
      leaseMs: 0
    })
    return {
      supports: { durable: 'none', shared: false },
      async read(name) {
        await rules.read(name)
        return standing(breakers.get(decide.keyOf(name)) ?? unknown)
      },
      async open(name, next) {
        await rules.open(name, { ...next })
        const { generation, breaks, breakMs, breakLeftMs } = next
        const answer = await change(name, (breaker, now) => {
          if (!decide.isKnown(generation, breaker.generation) || !decide.mayOpen(breaker)) return undefined
          const opened = { ...breaker, open: true, breaks, breakMs, since: now, leftMs: breakLeftMs }
          return decide.afterOpen({ ...opened, generation: decide.next(breaker.generation, now) })
        })
        return answer.standing
      },
      async claimProbe(name, claim) {
        await rules.claimProbe(name, claim)
        const { owner, leaseMs, generation } = claim
        const answer = await change(name, (breaker, now) => {
          if (!breaker.open || !decide.mayClaim(breaker, now)) return undefined
          if (decide.left(breaker.claimedAt, breaker.leaseMs, now) > 0) {
            if (!decide.isOwn(breaker, owner)) return undefined
            return { ...breaker, claimedAt: decide.renewedAt(breaker, now), leaseMs }
          }
          if (!decide.isKnown(generation, breaker.generation)) return undefined
          return { ...breaker, generation: decide.claimGeneration(breaker, now), owner, claimedAt: now, leaseMs }
        })
        return { outcome: answer.done ? 'granted' : 'refused', standing: answer.standing }
      },
      async close(name, known) {
        await rules.close(name, { generation: known.generation })
        const answer = await change(name, (breaker, now) =>
          breaker.open && decide.isKnown(known.generation, breaker.generation) ? closed(breaker, now) : undefined
        )
        return answer.standing
      },
      async reset(name) {
        await rules.reset(name)
        const answer = await change(name, (breaker, now) =>
          breaker.generation === 0
            ? undefined
            : { ...closed(breaker, now), breaks: decide.breaksAfterReset(breaker), breakMs: 0 }
        )
        return answer.standing
      }
    }
  }
}

/** The same store with nothing wrong: it passes, so what the others fail by is what is wrong with them. */
export const soundBreakerStateStore = storeThat({})

/** Stores that are wrong in one place each, with the clause that catches them. */
export const brokenBreakerStateStores: readonly {
  readonly name: string
  readonly caughtBy: string
  readonly make: (clock: { now(): number }) => BreakerStateStore
}[] = [
  {
    name: 'gives the probe to everybody',
    caughtBy: 'gives the probe to one owner, under a new generation, until its lease ends',
    make: storeThat({ isOwn: () => true })
  },
  {
    name: 'reads and writes in two steps',
    caughtBy: 'gives exactly one of eight that claim at once the probe',
    make: storeThat({ gap: () => new Promise((resolve) => setImmediate(resolve)) })
  },
  {
    name: 'gives a probe during a break',
    caughtBy: 'gives no probe during a break, and says what is left of it',
    make: storeThat({ mayClaim: () => true })
  },
  {
    name: 'gives a probe a millisecond late',
    caughtBy: 'gives no probe during a break, and says what is left of it',
    make: storeThat({ mayClaim: (breaker, now) => now > breaker.since + breaker.leftMs })
  },
  {
    name: 'lets a probe change things whose place another has taken',
    caughtBy: 'changes nothing for a probe whose place another has taken',
    make: storeThat({ claimGeneration: (breaker) => breaker.generation })
  },
  {
    name: 'opens on evidence of any generation',
    caughtBy: 'opens nothing on evidence from before the breaker closed',
    make: storeThat({ isKnown: () => true })
  },
  {
    name: 'never takes a probe back',
    caughtBy: 'gives the probe to one owner, under a new generation, until its lease ends',
    make: storeThat({ left: (since, spanMs, now) => (spanMs === 3_000 ? 1 : left(since, spanMs, now)) })
  },
  {
    name: 'does not renew the lease of its owner',
    caughtBy: 'gives its owner the same probe again, with its whole lease, also to a claim that is sent twice',
    make: storeThat({ renewedAt: (breaker) => breaker.claimedAt })
  },
  {
    name: 'turns its own owner away',
    caughtBy: 'gives its owner the same probe again, with its whole lease, also to a claim that is sent twice',
    make: storeThat({ isOwn: () => false })
  },
  {
    name: 'keeps a claim over the break that its failure opened',
    caughtBy: 'opens anew when the probe failed, with a break of its own, and nobody probes during it',
    make: storeThat({ afterOpen: (breaker) => breaker })
  },
  {
    name: 'stays as it is when the probe failed',
    caughtBy: 'opens anew when the probe failed, with a break of its own, and nobody probes during it',
    make: storeThat({ mayOpen: (breaker) => !breaker.open })
  },
  {
    name: 'counts generations from one',
    caughtBy:
      'gives generations of at least its clock in microseconds, so that they grow when it has forgotten the breaker',
    make: storeThat({ next: (generation) => generation + 1 })
  },
  {
    name: 'takes its generations from the clock alone',
    caughtBy: 'gives generations that grow when its clock is set back',
    make: storeThat({ next: (_, now) => now * 1_000 })
  },
  {
    name: 'prolongs a break when its clock is set back',
    caughtBy: 'ends breaks and leases when its clock is set back to before they began, rather than prolong them',
    make: storeThat({ left: (since, spanMs, now) => Math.max(0, since + spanMs - now) })
  },
  {
    name: 'remembers the breaks before a reset',
    caughtBy: 'closes whatever stands by a reset, and forgets how often it broke',
    make: storeThat({ breaksAfterReset: (breaker) => breaker.breaks })
  },
  {
    name: 'folds names to lower case',
    caughtBy: 'keeps breakers apart, whatever their names',
    make: storeThat({ keyOf: (name) => name.toLowerCase() })
  }
]
