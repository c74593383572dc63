import type { Quorum, QuorumThreshold, Seat, Tally, Vote, VoteStrategy } from '@enablement/oversight'

/**
 * What the strategies mean, by enumeration: a vote is decided when whatever the silent ones might still say (approve,
 * deny, nothing) leads to the same end. Slow and plain; it knows nothing of windows.
 */

interface Person {
  readonly names: ReadonlySet<string>
  readonly seats: readonly (Seat & { readonly tier: number })[]
  readonly vote: Vote | undefined
}

type Outcome = Tally['outcome']

/** Merges whoever shares a name until nobody does. */
function peopleOf(tiers: readonly (readonly Seat[])[], votes: readonly Vote[]): readonly Person[] {
  const seats = tiers.flatMap((tier, index) => tier.map((one) => ({ ...one, tier: index })))
  const cast = votes.filter(({ approver }) => seats.some((one) => one.approver === approver))
  let groups = [...seats, ...cast].map(({ approver, principal }) => new Set([approver, principal]))
  for (let merged = true; merged; ) {
    merged = false
    for (const [at, group] of groups.entries()) {
      const other = groups.findIndex((names, index) => index > at && [...names].some((name) => group.has(name)))
      if (other < 0) continue
      for (const name of groups[other] ?? []) group.add(name)
      groups = groups.filter((_, index) => index !== other)
      merged = true
      break
    }
  }
  return groups.map((names) => ({
    names,
    seats: seats.filter(({ approver }) => names.has(approver)),
    vote: cast.find(({ approver }) => names.has(approver))
  }))
}

/** The first vote of each person: what is left when repetitions are taken out. */
export function firstVotes(tiers: readonly (readonly Seat[])[], votes: readonly Vote[]): readonly Vote[] {
  const people = peopleOf(tiers, votes)
  return votes.filter((vote) => people.some((one) => one.vote === vote))
}

const rolesOf = ({ seats, vote }: Person): readonly string[] =>
  seats.flatMap(({ roles }) => roles).filter((role) => vote === undefined || vote.roles.includes(role))

const authorityOf = ({ seats, vote }: Person): number =>
  Math.min(Math.max(...seats.map(({ authority }) => authority)), vote?.authority ?? Number.POSITIVE_INFINITY)

const saying = (people: readonly Person[], decision: 'approve' | 'deny'): readonly Person[] =>
  people.filter(({ vote }) => vote?.decision === decision)

const counted = (people: readonly Person[], { role }: QuorumThreshold): readonly Person[] =>
  people.filter((one) => role === undefined || rolesOf(one).includes(role))

/** What it would come to if nobody said anything any more. */
function endOf(strategy: VoteStrategy, people: readonly Person[]): 'approve' | 'deny' | 'nothing' {
  const kind = typeof strategy === 'string' ? strategy : strategy.kind
  const approvals = saying(people, 'approve')
  const denials = saying(people, 'deny')
  switch (kind) {
    case 'any-approve':
      return approvals.length > 0 ? 'approve' : denials.length === people.length ? 'deny' : 'nothing'
    case 'all-approve': {
      if (denials.length > 0) return 'deny'
      const tiers = new Set(people.flatMap(({ seats }) => seats.map(({ tier }) => tier)))
      const isWhole = (tier: number): boolean =>
        people.every((one) => approvals.includes(one) || !one.seats.some((held) => held.tier === tier))
      return [...tiers].some(isWhole) ? 'approve' : 'nothing'
    }
    case 'highest-authority': {
      const voted = [...approvals, ...denials]
      const top = Math.max(...voted.map(authorityOf))
      const highest = voted.filter((one) => authorityOf(one) === top)
      if (highest.length === 0) return 'nothing'
      return highest.every((one) => approvals.includes(one)) ? 'approve' : 'deny'
    }
    case 'quorum': {
      const isMet = (one: QuorumThreshold): boolean => counted(approvals, one).length >= one.approve
      const isDenied = (one: QuorumThreshold): boolean => counted(denials, one).length >= (one.deny ?? 1_000)
      const { anyOf } = strategy as Quorum
      if (anyOf.every((thresholds) => thresholds.some(isDenied))) return 'deny'
      return anyOf.some((thresholds) => thresholds.every(isMet) && !thresholds.some(isDenied)) ? 'approve' : 'nothing'
    }
    default:
      throw new Error(`${kind} goes by the order of the votes`)
  }
}

/** Everything that the silent ones might still say. */
function* continuationsOf(people: readonly Person[]): Generator<readonly Person[]> {
  const at = people.findIndex(({ vote }) => vote === undefined)
  const silent = people[at]
  if (silent === undefined) {
    yield people
    return
  }
  for (const decision of ['approve', 'deny', 'nothing'] as const) {
    const [first] = silent.seats
    if (first === undefined) return
    // Whoever says nothing is marked by a vote that is neither.
    const vote = {
      ...(first as unknown as Vote),
      decision: decision as 'approve',
      roles: silent.seats.flatMap(({ roles }) => roles),
      authority: Math.max(...silent.seats.map(({ authority }) => authority))
    }
    yield* continuationsOf(people.with(at, { ...silent, vote }))
  }
}

/** What the votes have come to, given whether anybody else may be asked and whether this is the last look. */
export function specified(
  strategy: VoteStrategy,
  tiers: readonly (readonly Seat[])[],
  votes: readonly Vote[],
  { moreTiers, exhausted }: { readonly moreTiers: boolean; readonly exhausted: boolean }
): Outcome {
  const people = peopleOf(tiers, votes)
  const ends = new Set([...continuationsOf(people)].map((complete) => endOf(strategy, complete)))
  const isDenied = saying(people, 'deny').length > 0
  if (ends.size === 1 && ends.has('approve')) return 'approve'
  const kind = typeof strategy === 'string' ? strategy : strategy.kind
  // Those who are asked later could still bring these about.
  const hopes = moreTiers && !exhausted && (kind === 'any-approve' || kind === 'quorum')
  if (isDenied && !ends.has('approve') && !hopes) return 'deny'
  if (!exhausted) return 'open'
  const end = endOf(strategy, people)
  if (end === 'approve') return 'approve'
  return kind === 'highest-authority' && end === 'deny' ? 'deny' : 'open'
}

/** Whether some alternative is met that no silent person could still undo. For all-approve: whether nobody is silent. */
function isSafe(strategy: VoteStrategy, people: readonly Person[]): boolean {
  if (typeof strategy === 'string' || strategy.kind !== 'quorum') {
    return endOf(strategy, people) === 'approve' && people.every(({ vote }) => vote !== undefined)
  }
  const ends = [...continuationsOf(people)]
  return strategy.anyOf.some((thresholds) =>
    ends.every((complete) => endOf({ kind: 'quorum', anyOf: [thresholds] }, complete) === 'approve')
  )
}

/**
 * What a strategy with objections has come to by `until`, found by looking at every millisecond: denied as soon as
 * nothing else is possible, approved as soon as that is safe, or has been so for `objectionMs` on end. No two votes may
 * be of one millisecond.
 */
export function watched(
  strategy: VoteStrategy & { readonly objectionMs?: number },
  tiers: readonly (readonly Seat[])[],
  votes: readonly Vote[],
  until: number
): Outcome {
  const { objectionMs = 0 } = strategy
  let approvedFor = 0
  for (let at = 0; at <= until; at++) {
    if (approvedFor > 0 && approvedFor >= objectionMs) return 'approve'
    const people = peopleOf(
      tiers,
      votes.filter(({ votedAt }) => votedAt <= at)
    )
    if (
      specified(
        strategy,
        tiers,
        votes.filter(({ votedAt }) => votedAt <= at),
        LAST_TIER
      ) === 'deny'
    )
      return 'deny'
    if (isSafe(strategy, people)) return 'approve'
    approvedFor = endOf(strategy, people) === 'approve' ? approvedFor + 1 : 0
  }
  return 'open'
}

const LAST_TIER = { moreTiers: false, exhausted: false }
