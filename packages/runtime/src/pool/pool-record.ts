import type {
  ClaimDraft,
  HeldClaim,
  PoolCommand,
  PoolExchange,
  PoolRules,
  PoolView,
  WaitingClaim
} from './pool-state-store.ts'

/** A process of the pool. */
interface MemberRow {
  leaseEndsAt: number
  leaseMs: number
  sequence: number
  ready: number
  starting: number
  closing: number
  /** How much of `ready` and `starting` it has to give up. */
  recalled: number
}

/** A claim that waits. */
interface QueueRow extends Omit<ClaimDraft, 'claim' | 'creditMs'> {
  readonly member: string
  /** When it came, less its credit. */
  readonly since: number
  /** The order of those that came in one millisecond. */
  readonly arrival: number
}

/** A claim that was granted. */
interface ClaimRow {
  readonly member: string
  readonly tenant: string
  readonly priority: number
  /** How long it had waited. */
  readonly waitedMs: number
  readonly preemptible: boolean
  readonly fence: number
  state: HeldClaim['state']
  /** Not preempted before. */
  shieldedUntil: number
  usedAt: number
  /** Of one that is wanted: the claim that gets its place. */
  wantedBy: string
}

/** All that a pool's processes share. The Redis script keeps the same, row for row. */
export interface PoolRecord {
  fence: number
  readonly members: Map<string, MemberRow>
  readonly queue: Map<string, QueueRow>
  readonly claims: Map<string, ClaimRow>
  /** When the preemptions of the last minute were ordered. */
  preemptedAt: number[]
  /** Members that something was granted to, or is wanted of, since this was last emptied. No part of what stores keep. */
  readonly concerned: Set<string>
}

export function emptyPoolRecord(): PoolRecord {
  return { fence: 0, members: new Map(), queue: new Map(), claims: new Map(), preemptedAt: [], concerned: new Set() }
}

const MINUTE_MS = 60_000

/** Carries an exchange out on the record, at `now` of the store's clock (epoch milliseconds). The whole step of a store. */
export function exchangeOn(record: PoolRecord, exchange: PoolExchange, now: number): PoolView {
  const { member, sequence, kind, leaseMs, stock, rules } = exchange
  // Of a clock that was set back: a lease never lasts for longer than its length.
  for (const row of record.members.values()) row.leaseEndsAt = Math.min(row.leaseEndsAt, now + row.leaseMs)
  const gone = [...record.members].filter(([id, { leaseEndsAt }]) => id !== member && leaseEndsAt <= now)
  for (const id of gone.map(([id]) => id).sort()) drop(record, id, rules, now)
  let row = record.members.get(member)
  const isResent = row !== undefined && sequence <= row.sequence
  if (kind !== 'stay' && !isResent) {
    drop(record, member, rules, now)
    row = undefined
  }
  if (kind === 'join' && !isResent) {
    row = { leaseEndsAt: 0, leaseMs, sequence: 0, ready: 0, starting: 0, closing: 0, recalled: 0 }
    record.members.set(member, row)
  }
  if (row === undefined) {
    // What it left behind goes to others.
    match(record, rules, now)
    return { outcome: 'lapsed' }
  }
  Object.assign(row, { leaseEndsAt: now + leaseMs, leaseMs })
  if (!isResent) {
    Object.assign(row, stock, { sequence, recalled: 0 })
    for (const command of exchange.commands) carryOut(record, member, command, rules, now)
  }
  const isEverybodyProvided = match(record, rules, now)
  if (!isResent && isEverybodyProvided) {
    row.starting += Math.min(exchange.wanted, Math.max(0, rules.capacity - placesTaken(record)))
  }
  return viewOf(record, member, row, rules, now)
}

function carryOut(record: PoolRecord, member: string, command: PoolCommand, rules: PoolRules, now: number): void {
  const { type, claim } = command
  if (type === 'enter') {
    if (record.queue.has(claim) || record.claims.has(claim)) return
    // What can be granted at once need not wait.
    const free = freePlaces(record, member, rules)
    if (record.queue.size >= rules.queueMax + free) return
    if (countOf(record.queue, command.tenant) >= rules.tenantMax) return
    const { tenant, priority, creditMs, preemptible, shieldMs } = command
    const arrival = nextFence(record, now)
    const since = now - creditMs
    record.queue.set(claim, { member, tenant, priority, since, arrival, preemptible, shieldMs })
    return
  }
  if (type === 'adopt') {
    const { tenant, priority, creditMs, preemptible, shieldMs, fence, cold } = command
    record.fence = Math.max(record.fence, fence)
    record.queue.delete(claim)
    record.claims.set(claim, {
      member,
      tenant,
      priority,
      waitedMs: creditMs,
      preemptible,
      fence,
      state: cold ? 'cold' : 'held',
      shieldedUntil: now + shieldMs,
      usedAt: now,
      wantedBy: ''
    })
    return
  }
  const waiting = record.queue.get(claim)
  if (waiting?.member === member) {
    if (type === 'end') record.queue.delete(claim)
    if (type === 'go-cold' && hasRoomBeyond(record, waiting.tenant, rules)) grant(record, claim, waiting, 'cold', now)
    return
  }
  const held = record.claims.get(claim)
  if (held?.member !== member) return
  if (type === 'end') end(record, claim, held, rules, now)
  else if (type === 'use') held.usedAt = now
  else if (type === 'keep' && held.state === 'wanted') {
    Object.assign(held, { state: 'held', wantedBy: '', shieldedUntil: now + rules.cooldownMs })
  }
}

/** Grants what can be granted and orders what has to make way. Says whether every claim that waits is seen to. */
function match(record: PoolRecord, rules: PoolRules, now: number): boolean {
  const { members, queue, claims } = record
  record.preemptedAt = record.preemptedAt.filter((at) => at > now - MINUTE_MS && at <= now)
  let taken = placesTaken(record)
  let coming = 0
  for (const { recalled, closing } of members.values()) coming += recalled + closing
  const tenants = claimsByTenant(record)
  const served = new Set<string>()
  for (const { wantedBy } of claims.values()) {
    if (queue.has(wantedBy)) served.add(wantedBy)
    else if (wantedBy !== '') coming += 1
  }
  let isEverybodyProvided = true
  for (const [claim, row] of inOrder(record, rules)) {
    const ofTenant = tenants.get(row.tenant) ?? 0
    if (ofTenant >= rules.tenantMax) continue
    const own = members.get(row.member) as MemberRow
    const hasStock = own.ready + own.starting > own.recalled
    if (hasStock || taken < rules.capacity) {
      if (!hasStock) taken += 1
      else if (own.ready > 0) own.ready -= 1
      else own.starting -= 1
      tenants.set(row.tenant, ofTenant + 1)
      grant(record, claim, row, 'held', now)
    } else if (served.has(claim)) {
      // The place of the claim that makes way for it is its own.
    } else if (coming > 0) {
      coming -= 1
    } else if (!recall(record) && !preempt(record, claim, row, rules, now)) {
      isEverybodyProvided = false
    }
  }
  return isEverybodyProvided
}

/** By priority and waiting; see `PoolStateStore`. */
function inOrder({ queue }: PoolRecord, { agingMs }: PoolRules): [string, QueueRow][] {
  const rank = ({ since, priority }: QueueRow): number => since - priority * agingMs
  return [...queue].sort(([, one], [, other]) => rank(one) - rank(other) || one.arrival - other.arrival)
}

/** Wants one sandbox back from the member that has most to spare. */
function recall({ members, concerned }: PoolRecord): boolean {
  let most: MemberRow | undefined
  let spareMost = 0
  let idMost = ''
  for (const [id, row] of members) {
    const spare = row.ready + row.starting - row.recalled
    if (spare > spareMost || (spare === spareMost && spare > 0 && id < idMost)) {
      most = row
      spareMost = spare
      idMost = id
    }
  }
  if (most === undefined) return false
  most.recalled += 1
  concerned.add(idMost)
  return true
}

/**
 * Wants the place of a claim of strictly lower priority: of those of the lowest standing (priority and what it had
 * waited) the one that has been idle for longest. Priorities are compared as they were given, not aged: or a claim that
 * was put back in the queue would grow until it takes its place back, and so in turn.
 */
function preempt(record: PoolRecord, claim: string, wanting: QueueRow, rules: PoolRules, now: number): boolean {
  if (record.preemptedAt.length >= rules.preemptionsPerMinute) return false
  const standing = ({ priority, waitedMs }: ClaimRow): number => priority * rules.agingMs + waitedMs
  let victim: ClaimRow | undefined
  for (const row of record.claims.values()) {
    if (row.state !== 'held' || !row.preemptible || row.priority >= wanting.priority || row.shieldedUntil > now)
      continue
    if (
      victim === undefined ||
      (standing(row) - standing(victim) || row.usedAt - victim.usedAt || row.fence - victim.fence) < 0
    ) {
      victim = row
    }
  }
  if (victim === undefined) return false
  victim.state = 'wanted'
  victim.wantedBy = claim
  record.concerned.add(victim.member)
  record.preemptedAt.push(now)
  return true
}

function grant(record: PoolRecord, claim: string, row: QueueRow, state: 'held' | 'cold', now: number): void {
  const { member, tenant, priority, since, preemptible, shieldMs } = row
  record.queue.delete(claim)
  record.concerned.add(member)
  record.claims.set(claim, {
    member,
    tenant,
    priority,
    waitedMs: Math.max(0, now - since),
    preemptible,
    fence: nextFence(record, now),
    state,
    shieldedUntil: now + shieldMs,
    usedAt: now,
    wantedBy: ''
  })
}

/** Ends a claim. One that was wanted leaves its place to the claim that it was wanted for. */
function end(record: PoolRecord, claim: string, row: ClaimRow, rules: PoolRules, now: number): void {
  record.claims.delete(claim)
  const heir = record.queue.get(row.wantedBy)
  if (heir === undefined || countOf(record.claims, heir.tenant) >= rules.tenantMax) return
  grant(record, row.wantedBy, heir, 'held', now)
}

/** Gives up a member and all that it has. */
function drop(record: PoolRecord, member: string, rules: PoolRules, now: number): void {
  record.members.delete(member)
  for (const [claim, row] of record.queue) if (row.member === member) record.queue.delete(claim)
  for (const [claim, row] of byFence(record)) if (row.member === member) end(record, claim, row, rules, now)
}

/** Adopted claims come late and have low fences. */
function byFence({ claims }: PoolRecord): [string, ClaimRow][] {
  return [...claims].sort(([, one], [, other]) => one.fence - other.fence)
}

function claimsByTenant({ claims }: PoolRecord): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { tenant } of claims.values()) counts.set(tenant, (counts.get(tenant) ?? 0) + 1)
  return counts
}

function placesTaken({ members, claims }: PoolRecord): number {
  let taken = 0
  for (const { ready, starting, closing } of members.values()) taken += ready + starting + closing
  for (const { state } of claims.values()) if (state !== 'cold') taken += 1
  return taken
}

/** Sandboxes of the member that nobody has, and room for more. */
function freePlaces(record: PoolRecord, member: string, { capacity }: PoolRules): number {
  const { ready = 0, starting = 0, recalled = 0 } = record.members.get(member) ?? {}
  return Math.max(0, ready + starting - recalled) + Math.max(0, capacity - placesTaken(record))
}

function hasRoomBeyond({ claims }: PoolRecord, tenant: string, { coldMax, tenantMax }: PoolRules): boolean {
  let cold = 0
  for (const { state } of claims.values()) if (state === 'cold') cold += 1
  return cold < coldMax && countOf(claims, tenant) < tenantMax
}

function countOf(rows: ReadonlyMap<string, { readonly tenant: string }>, tenant: string): number {
  let count = 0
  for (const row of rows.values()) if (row.tenant === tenant) count += 1
  return count
}

function nextFence(record: PoolRecord, now: number): number {
  record.fence = Math.max(record.fence + 1, now * 1_000)
  return record.fence
}

function viewOf(record: PoolRecord, member: string, row: MemberRow, rules: PoolRules, now: number): PoolView {
  const { members, queue, claims } = record
  const waiting: WaitingClaim[] = []
  const tenants = claimsByTenant(record)
  let ahead = 0
  let oldestWaitMs = 0
  for (const [claim, entry] of inOrder(record, rules)) {
    const isCapped = (tenants.get(entry.tenant) ?? 0) >= rules.tenantMax
    oldestWaitMs = Math.max(oldestWaitMs, now - entry.since)
    if (entry.member === member) waiting.push({ claim, position: ahead + 1, isCapped })
    if (!isCapped) ahead += 1
  }
  const held: HeldClaim[] = []
  let cold = 0
  for (const [claim, { member: holder, fence, state }] of byFence(record)) {
    if (state === 'cold') cold += 1
    if (holder === member) held.push({ claim, fence, state })
  }
  let stock = 0
  for (const { ready, starting } of members.values()) stock += ready + starting
  const { ready, starting, recalled } = row
  const pool = { members: members.size, stock, held: claims.size - cold, cold, queued: queue.size, oldestWaitMs }
  return { outcome: 'exchanged', ready, starting, recalled, waiting, held, pool }
}
