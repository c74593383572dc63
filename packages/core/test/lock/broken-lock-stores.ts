import { type LeaseClaim, type LockStore, memoryLockStore } from '@enablement/core/lock'

interface Lease {
  readonly owner: string
  readonly fence: number
  readonly expiresAt: number
}

/** What a lock store decides; each broken one gets one of these wrong. */
interface Decisions {
  keyOf(name: string): string
  lasts(lease: Lease, now: number): boolean
  /** What may happen between reading a lease and writing it. */
  gap: (() => Promise<void>) | undefined
  isOwn(lease: Lease, owner: string): boolean
  fenceAgain(lease: Lease, now: number): number
  fenceAfter(last: Lease | undefined, now: number): number
  claimedAgainUntil(lease: Lease, wanted: number): number
  afterBusy(lease: Lease, wanted: number): Lease
  mayExtend(lease: Lease, owner: string, now: number): boolean
  extendedUntil(lease: Lease, wanted: number): number
  mayRelease(lease: Lease, owner: string, now: number): boolean
  afterRelease(lease: Lease): Lease | undefined
  refuse(claim: LeaseClaim): Promise<unknown>
  heeds(signal: AbortSignal): void
}

const right: Decisions = {
  keyOf: (name) => name,
  lasts: (lease, now) => lease.expiresAt > now,
  gap: undefined,
  isOwn: (lease, owner) => lease.owner === owner,
  fenceAgain: (lease) => lease.fence,
  fenceAfter: (last, now) => Math.max((last?.fence ?? 0) + 1, now * 1_000),
  claimedAgainUntil: (lease, wanted) => Math.max(lease.expiresAt, wanted),
  afterBusy: (lease) => lease,
  mayExtend: (lease, owner, now) => lease.owner === owner && lease.expiresAt > now,
  extendedUntil: (lease, wanted) => Math.max(lease.expiresAt, wanted),
  mayRelease: (lease, owner) => lease.owner === owner,
  afterRelease: (lease) => ({ ...lease, expiresAt: 0 }),
  // The memory store's own rule, on a store that holds nothing else.
  refuse: (claim) => memoryLockStore().acquire(claim),
  heeds: (signal) => signal.throwIfAborted()
}

function storeThat(changed: Partial<Decisions>): (clock: { now(): number }) => LockStore {
  const decide: Decisions = { ...right, ...changed }
  return (clock) => {
    const leases = new Map<string, Lease>()
    return {
      supports: { durable: 'none', shared: false },
      async acquire(claim, { signal } = {}) {
        if (signal !== undefined) decide.heeds(signal)
        await decide.refuse(claim)
        const { owner, ttlMs } = claim
        const name = decide.keyOf(claim.name)
        const now = clock.now()
        const wanted = now + ttlMs
        const last = leases.get(name)
        if (decide.gap !== undefined) await decide.gap()
        if (last !== undefined && decide.lasts(last, now)) {
          if (!decide.isOwn(last, owner)) {
            leases.set(name, decide.afterBusy(last, wanted))
            return { outcome: 'busy', until: last.expiresAt, remainingMs: last.expiresAt - now }
          }
          const fence = decide.fenceAgain(last, now)
          leases.set(name, { owner, fence, expiresAt: decide.claimedAgainUntil(last, wanted) })
          return { outcome: 'granted', fence }
        }
        const fence = decide.fenceAfter(last, now)
        leases.set(name, { owner, fence, expiresAt: wanted })
        return { outcome: 'granted', fence }
      },
      async extend(claim) {
        await decide.refuse(claim)
        const name = decide.keyOf(claim.name)
        const now = clock.now()
        const last = leases.get(name)
        if (last === undefined || !decide.mayExtend(last, claim.owner, now)) return 'lost'
        leases.set(name, { ...last, expiresAt: decide.extendedUntil(last, now + claim.ttlMs) })
        return 'extended'
      },
      async release(owned) {
        const name = decide.keyOf(owned.name)
        const last = leases.get(name)
        if (last === undefined || !decide.mayRelease(last, owned.owner, clock.now())) return 'lost'
        const left = decide.afterRelease(last)
        if (left === undefined) leases.delete(name)
        else leases.set(name, left)
        return 'released'
      }
    }
  }
}

/** The same store with nothing wrong: it passes, so what the others fail by is what is wrong with them. */
export const soundLockStore = storeThat({})

let fences = 0

/** Stores that are wrong in one place each, as stores in the field have been. */
export const brokenLockStores: readonly {
  readonly name: string
  readonly make: (clock: { now(): number }) => LockStore
}[] = [
  { name: 'extends for anybody', make: storeThat({ mayExtend: (lease, _, now) => lease.expiresAt > now }) },
  { name: 'releases for anybody', make: storeThat({ mayRelease: () => true }) },
  { name: 'revives an expired lease', make: storeThat({ mayExtend: (lease, owner) => lease.owner === owner }) },
  { name: 'shortens a lease when it extends it', make: storeThat({ extendedUntil: (_, wanted) => wanted }) },
  { name: 'ignores the new end when it extends', make: storeThat({ extendedUntil: (lease) => lease.expiresAt }) },
  { name: 'shortens a lease that is claimed again', make: storeThat({ claimedAgainUntil: (_, wanted) => wanted }) },
  {
    name: 'does not renew a lease that is claimed again',
    make: storeThat({ claimedAgainUntil: (lease) => lease.expiresAt })
  },
  { name: 'turns its own owner away', make: storeThat({ isOwn: () => false }) },
  { name: 'grants to everybody', make: storeThat({ isOwn: () => true }) },
  {
    name: 'gives its owner another fence when it asks again',
    make: storeThat({ fenceAgain: (lease) => lease.fence + 1 })
  },
  { name: 'gives the same fence again', make: storeThat({ fenceAfter: (last, now) => last?.fence ?? now * 1_000 }) },
  { name: 'counts fences from one', make: storeThat({ fenceAfter: (last) => (last?.fence ?? 0) + 1 }) },
  { name: 'takes its fences from the clock alone', make: storeThat({ fenceAfter: (_, now) => now * 1_000 }) },
  {
    name: 'gives fences in any order',
    make: storeThat({
      fenceAfter: (_, now) => {
        fences += 1
        return now * 1_000 + (fences % 2)
      }
    })
  },
  { name: 'forgets the fence of a released lock', make: storeThat({ afterRelease: () => undefined }) },
  { name: 'does not free what is released', make: storeThat({ afterRelease: (lease) => lease }) },
  {
    name: 'forgets who released',
    make: storeThat({ afterRelease: (lease) => ({ ...lease, owner: '', expiresAt: 0 }) })
  },
  {
    name: 'calls a late release lost',
    make: storeThat({ mayRelease: (lease, owner, now) => lease.owner === owner && lease.expiresAt > now })
  },
  { name: 'keeps a lease a millisecond too long', make: storeThat({ lasts: (lease, now) => lease.expiresAt >= now }) },
  { name: 'ends a lease a millisecond early', make: storeThat({ lasts: (lease, now) => lease.expiresAt > now + 1 }) },
  { name: 'never ends a lease', make: storeThat({ lasts: (lease) => lease.expiresAt > 0 }) },
  {
    name: 'lets a claim that it turned away prolong the lease',
    make: storeThat({ afterBusy: (lease, wanted) => ({ ...lease, expiresAt: Math.max(lease.expiresAt, wanted) }) })
  },
  {
    name: 'reads and writes in two steps',
    make: storeThat({ gap: () => new Promise((resolve) => setImmediate(resolve)) })
  },
  { name: 'folds names to lower case', make: storeThat({ keyOf: (name) => name.toLowerCase() }) },
  { name: 'trims names', make: storeThat({ keyOf: (name) => name.trim() }) },
  { name: 'normalizes names', make: storeThat({ keyOf: (name) => name.normalize('NFC') }) },
  { name: 'has one lock', make: storeThat({ keyOf: () => 'lock' }) },
  { name: 'takes any claim', make: storeThat({ refuse: async () => {} }) },
  { name: 'takes a lock for a caller who has left', make: storeThat({ heeds: () => {} }) }
]
