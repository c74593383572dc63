import { parseOptions } from '@enablement/core'
import { isIdentifier } from '../event/identifier.ts'
import { MeteringError } from '../metering-error.ts'
import { checkAmount, isAmount } from './amount.ts'
import type { Charge } from './charge.ts'
import { askWithin, type Enforcement, type QuotaIdentity } from './enforcement.ts'
import { type HoldHandle, holdHandle, type QuotaHold } from './hold-handle.ts'
import type { LeasedUnits } from './leased-units.ts'
import type { LocalSpends } from './local-spends.ts'
import { callSchema, holdSchema } from './quota-options.ts'
import type { ConsumeOutcome, HoldOutcome, RemainingOutcome, Unavailable, WithHoldOutcome } from './quota-outcome.ts'
import type { HoldAnswer, SpendAnswer } from './quota-store.ts'
import { refusedOf } from './refusal.ts'
import type { RuleBook } from './rule-book.ts'
import { type Resolve, SpendBatch, type Spender, TENANT_WAITING_MAX, WAITING_MAX } from './spend-lane.ts'
import type { Down } from './store-gate.ts'

export interface ConsumeOptions {
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

export interface HoldOptions extends ConsumeOptions {
  /** How long the units are held unless extended, in milliseconds; up to 31 days. */
  readonly ttlMs: number
}

/** The last promise made by `promised`: a function per promise is one closure less than an executor that captures. */
let captured: Resolve
const capture = (resolve: (value: never) => void): void => {
  captured = resolve
}

/** One quota's way to its lane, its lease and its holds. */
export class BoundQuota implements Spender {
  readonly tenant: string
  readonly scope: string
  readonly idempotencyMs: number
  readonly identity: QuotaIdentity
  readonly units: LeasedUnits
  readonly #shared: Enforcement
  readonly #local: LocalSpends
  readonly #book: RuleBook
  /** Where the next spend goes; undefined when there is none, or it is full or sent. */
  #open: SpendBatch | undefined
  #openLast: SpendBatch | undefined

  constructor(shared: Enforcement, identity: QuotaIdentity, local: LocalSpends, units: LeasedUnits) {
    this.tenant = identity.subject.tenant
    this.scope = identity.scope
    this.idempotencyMs = shared.idempotencyMs
    this.identity = identity
    this.units = units
    this.#shared = shared
    this.#local = local
    this.#book = identity.book
  }

  consume(amount: number, options: ConsumeOptions | undefined): Promise<ConsumeOutcome> {
    let key: string | undefined
    let signal: AbortSignal | undefined
    try {
      this.#shared.checkOpen()
      if (!isAmount(amount)) checkAmount(amount)
      if (options !== undefined) {
        key = options.idempotencyKey
        signal = options.signal
        // Checked by hand, being on the hot path; the schema is asked only to say what is wrong.
        if (key !== undefined && !isIdentifier(key)) parseOptions(callSchema, 'quota.consume', options)
        signal?.throwIfAborted()
      }
    } catch (error) {
      return Promise.reject(error)
    }
    if (key !== undefined && this.#local.size > 0) {
      const local = this.#locally(amount, key)
      if (local !== undefined) return Promise.resolve(local)
    }
    if (signal !== undefined) return this.#consumeUntil(signal, amount, key)
    const promise = new Promise<ConsumeOutcome>(capture)
    this.#enqueue(amount, key, captured, false)
    return promise
  }

  #consumeUntil(signal: AbortSignal, amount: number, key: string | undefined): Promise<ConsumeOutcome> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: ConsumeOutcome): void => {
        signal.removeEventListener('abort', onAbort)
        resolve(outcome)
      }
      let batch: SpendBatch | undefined
      const onAbort = (): void => {
        if (batch !== undefined && !batch.sent) {
          batch.resolves[at] = undefined
          batch.withdrawn = true
        }
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      batch = this.#enqueue(amount, key, settle, false)
      const at = batch === undefined ? -1 : batch.amounts.length - 1
    })
  }

  /** The batch that the spend is in; undefined when it was answered at once. */
  #enqueue(amount: number, key: string | undefined, resolve: Resolve, last: boolean): SpendBatch | undefined {
    const { lanes } = this.#shared
    let batch = last ? this.#openLast : this.#open
    const begins = batch === undefined || batch.sent || batch.amounts.length === lanes.batchMax
    if (lanes.waiting >= WAITING_MAX || (begins && lanes.waitingOf(this.tenant) >= TENANT_WAITING_MAX)) {
      resolve(this.#unavailable(amount, key, OVERLOADED) as never)
      return undefined
    }
    if (batch === undefined || begins) {
      batch = new SpendBatch(this, last, amount, key, resolve)
      if (last) this.#openLast = batch
      else this.#open = batch
      lanes.add(batch)
    } else batch.add(amount, key, resolve)
    lanes.count(batch)
    return batch
  }

  chargesFor(batch: SpendBatch): readonly Charge[] | undefined {
    // Let go: a quota that is seldom asked for would keep its last batch for as long as that, past many collections.
    if (batch === this.#open) this.#open = undefined
    if (batch === this.#openLast) this.#openLast = undefined
    const rules = this.#book.at(this.#shared.storeNow())
    if (rules.outcome === 'unknown-limit') {
      for (const resolve of batch.resolves) resolve?.(rules as never)
      return undefined
    }
    if (rules.holdsOnly !== undefined) throw holdsOnly(rules.holdsOnly)
    batch.charges = rules.charges
    return rules.charges
  }

  answered(batch: SpendBatch, answers: readonly SpendAnswer[], elapsedMs: number): void {
    const { report } = this.#shared
    const { amounts, resolves } = batch
    for (let at = 0; at < answers.length; at++) {
      const answer = answers[at] as SpendAnswer
      if (answer.outcome === 'consumed') {
        if (report !== undefined) {
          const { remaining, replayed } = answer
          const amount = amounts[at] as number
          const { subject } = this.identity
          report({ type: 'quota.consumed', ...subject, amount, remaining, replayed, elapsedMs })
        }
        resolves[at]?.(answer as never)
      } else this.#answeredNo(batch, at, answer, elapsedMs)
    }
  }

  #answeredNo(batch: SpendBatch, at: number, answer: Exclude<SpendAnswer, { outcome: 'consumed' }>, elapsedMs: number) {
    const { report, storeSaid } = this.#shared
    const { subject } = this.identity
    const amount = batch.amounts[at] as number
    const key = batch.keys?.[at]
    const resolve = batch.resolves[at] as Resolve
    if (answer.outcome === 'elsewhere') {
      storeSaid(answer.now)
      if (batch.last) resolve(this.#unavailable(amount, key, ELSEWHERE) as never)
      else this.#enqueue(amount, key, resolve, true)
    } else if (answer.outcome === 'conflict') {
      report?.({ type: 'quota.conflicted', ...subject, amount, firstAmount: answer.firstAmount })
      resolve({ outcome: 'conflict', requested: amount, firstAmount: answer.firstAmount } as never)
    } else if (!batch.last && this.units.left > 0 && amount <= answer.remaining + this.units.left) {
      // What is missing is leased to this very process, which does not refuse what it has.
      void this.units.giveBack().then(() => this.#enqueue(amount, key, resolve, true))
    } else {
      const refused = refusedOf(answer, batch.charges, amount)
      this.units.refused(amount, answer.retryAt)
      if (report !== undefined) {
        const { level, remaining, retryAt } = refused
        report({ type: 'quota.refused', ...subject, amount, level, remaining, retryAt, elapsedMs })
      }
      resolve(refused as never)
    }
  }

  unanswered(batch: SpendBatch, down: Down): void {
    for (let at = 0; at < batch.amounts.length; at++) {
      batch.resolves[at]?.(this.#unavailable(batch.amounts[at] as number, batch.keys?.[at], down) as never)
    }
  }

  /** What the posture says about a spend that the store did not decide. */
  #unavailable(amount: number, key: string | undefined, { reason, error }: Down): ConsumeOutcome {
    const { posture, backlog, report, newKey } = this.#shared
    const { subject } = this.identity
    if (posture === 'lease-only') {
      const spent = this.#fromLease(amount, key)
      if (spent !== undefined) return spent
    }
    const allowed = posture === 'allow'
    if (allowed) backlog.spend(this.identity, amount, key ?? newKey())
    const why = { allowed, reason, ...(error === undefined ? {} : { error }) }
    report?.({ type: 'quota.unavailable', ...subject, amount, ...why })
    return { outcome: 'unavailable', ...why }
  }

  #fromLease(amount: number, key: string | undefined): ConsumeOutcome | undefined {
    if (key !== undefined) {
      const before = this.#locally(amount, key)
      if (before !== undefined) return before
      if (!this.#local.mayAdd()) return undefined
    }
    if (!this.units.draw(amount)) return undefined
    if (key !== undefined) this.#local.add(this.tenant, this.scope, key, amount)
    const { left } = this.units
    this.#shared.report?.({ type: 'quota.consumed-from-lease', ...this.identity.subject, amount, leased: left })
    return { outcome: 'consumed', remaining: left, resetsAt: null, replayed: false }
  }

  #locally(amount: number, key: string): ConsumeOutcome | undefined {
    const first = this.#local.find(this.tenant, this.scope, key)
    if (first === undefined) return undefined
    if (first !== amount) return { outcome: 'conflict', requested: amount, firstAmount: first }
    return { outcome: 'consumed', remaining: this.units.left, resetsAt: null, replayed: true }
  }

  async hold(amount: number, options: HoldOptions): Promise<HoldOutcome> {
    return (await this.#hold(amount, options)).outcome
  }

  /** The outcome, with the handle where there is a hold. */
  async #hold(
    amount: number,
    options: HoldOptions
  ): Promise<{ readonly outcome: HoldOutcome; readonly handle?: HoldHandle }> {
    this.#shared.checkOpen()
    checkAmount(amount)
    const { ttlMs, idempotencyKey: key = this.#shared.newKey() } = parseOptions(holdSchema, 'quota.hold', options)
    const { signal } = options
    signal?.throwIfAborted()
    const { store, idempotencyMs: keepMs, posture, report, clock } = this.#shared
    const { scope, identity } = this
    let charges: readonly Charge[] = []
    const ask = () =>
      askWithin<HoldAnswer>(
        this.#shared,
        identity,
        'hold units of a quota',
        (current) => {
          charges = current
          const onExpiry = 'returned'
          const request = { scope, key, charges, amount, amountMin: amount, ttlMs, onExpiry, keepMs } as const
          return store.hold(this.tenant, request, signal === undefined ? {} : { signal })
        },
        signal
      )
    let asked = await ask()
    const missing = (): boolean =>
      asked.outcome === 'answered' &&
      asked.value.outcome === 'refused' &&
      this.units.left > 0 &&
      amount <= asked.value.remaining + this.units.left
    if (missing()) {
      await this.units.giveBack()
      asked = await ask()
    }
    if (asked.outcome === 'unknown-limit') return { outcome: asked }
    const handleOf = (held: { readonly amount: number; readonly expiresAt: number }, unmade: boolean): HoldHandle =>
      holdHandle(this.#shared, identity, { key, charges, ...held, unmade }, () => this.units.replenished())
    const answer = asked.outcome === 'down' ? asked : asked.value
    if (answer.outcome === 'down' || answer.outcome === 'elsewhere') {
      const { reason, error } = answer.outcome === 'down' ? answer : ELSEWHERE
      const allowed = posture === 'allow'
      const why: Omit<Unavailable, 'outcome'> = { allowed, reason, ...(error === undefined ? {} : { error }) }
      report?.({ type: 'quota.unavailable', ...identity.subject, amount, ...why })
      if (!allowed) return { outcome: { outcome: 'unavailable', ...why } }
      const handle = handleOf({ amount, expiresAt: clock.now() + ttlMs }, true)
      return { outcome: { outcome: 'unavailable', ...why, hold: handle.hold }, handle }
    }
    if (answer.outcome === 'refused') {
      const refused = refusedOf(answer, charges, amount)
      const { level, remaining, retryAt } = refused
      report?.({ type: 'quota.refused', ...identity.subject, amount, level, remaining, retryAt, elapsedMs: 0 })
      return { outcome: refused }
    }
    if (answer.outcome === 'conflict') return { outcome: { ...answer, requested: amount } }
    if (answer.outcome === 'settled') return { outcome: answer }
    const handle = handleOf(answer, false)
    return { outcome: { outcome: 'held', hold: handle.hold, replayed: answer.replayed }, handle }
  }

  async withHold<T>(
    amount: number,
    options: HoldOptions,
    work: (hold: QuotaHold) => T | PromiseLike<T>
  ): Promise<WithHoldOutcome<T>> {
    const { outcome, handle } = await this.#hold(amount, options)
    if (handle === undefined) return outcome as Exclude<HoldOutcome, { readonly outcome: 'held' }>
    let value: T
    try {
      value = await work(handle.hold)
    } catch (error) {
      // The work's own error matters more than that of a release, which the store makes up for when the hold expires.
      await (handle.end() ?? handle.hold.release()).catch(() => undefined)
      throw error
    }
    return { outcome: 'done', value, end: await (handle.end() ?? handle.hold.release()) }
  }

  async remaining(options: { readonly signal?: AbortSignal } = {}): Promise<RemainingOutcome> {
    this.#shared.checkOpen()
    const { store, posture } = this.#shared
    const { signal } = options
    const asked = await askWithin(
      this.#shared,
      this.identity,
      'read a quota',
      (charges) => store.read(this.tenant, charges, signal === undefined ? {} : { signal }),
      signal
    )
    if (asked.outcome === 'unknown-limit') return asked
    if (asked.outcome === 'down' || 'outcome' in asked.value) {
      const { reason, error } = asked.outcome === 'down' ? asked : ELSEWHERE
      const allowed = posture === 'allow'
      return { outcome: 'unavailable', allowed, reason, ...(error === undefined ? {} : { error }) }
    }
    const levels = asked.value
    const leased = this.units.left
    const remaining = Math.min(...levels.map((level) => level.remaining)) + leased
    return { outcome: 'known', remaining, leased, levels }
  }
}

const OVERLOADED: Down = { outcome: 'down', reason: 'overloaded' }

/** The store is between two windows of the caller's clock twice: one of the two clocks is being set. */
const ELSEWHERE: Down = { outcome: 'down', reason: 'store-failed' }

function holdsOnly(limit: string): MeteringError<'HOLDS_ONLY'> {
  const message = `limit ${limit} counts what is in use at the same time: hold it, for what is consumed never comes back`
  return new MeteringError('HOLDS_ONLY', message, { limit })
}
