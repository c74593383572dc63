import { type BreakerPermit, type BreakerWindow, createCircuitBreaker } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'

const BREAK_MS = 100
const BREAK_MAX_MS = 400
const LEASE_MS = 150
const PROBES = 2
const SLICES = 10

interface Call {
  readonly at: number
  readonly failed: boolean
  readonly slow: boolean
}

interface Leave {
  readonly generation: number
  readonly probe: boolean
  readonly leaseEndsAt: number
  reported: boolean
}

/** The breaker's rules over plain lists, with no thought of speed: every call is kept, and every answer counted anew. */
class ReferenceBreaker {
  state = 'closed'
  now = 0
  calls: Call[] = []
  generation = 0
  breaks = 0
  breakMs = 0
  openedAt = 0
  closedAt = Number.NEGATIVE_INFINITY
  probes: Leave[] = []
  bad = 0
  good = 0
  readonly window: BreakerWindow

  constructor(window: BreakerWindow) {
    this.window = window
  }

  recent(): Call[] {
    const { window } = this
    if (window.kind === 'count') return this.calls.slice(-window.size)
    if (window.kind === 'consecutive') return this.calls.slice(this.calls.findLastIndex((call) => !call.failed) + 1)
    const slice = window.samplingMs / SLICES
    return this.calls.filter(({ at }) => Math.floor(this.now / slice) - Math.floor(at / slice) < SLICES)
  }

  exceeds(): boolean {
    const { window } = this
    const recent = this.recent()
    const failures = recent.filter((call) => call.failed).length
    if (window.kind === 'consecutive') return failures >= window.failures
    const { minimumThroughput = 0, failureRatio = 1, slowCallRatio = Number.POSITIVE_INFINITY } = window
    const slow = recent.filter((call) => call.slow).length
    const some = failures + slow > 0 && recent.length >= minimumThroughput
    return some && (failures / recent.length >= failureRatio || slow / recent.length >= slowCallRatio)
  }

  enter(state: string): void {
    this.state = state
    this.generation += 1
    this.probes = []
    this.bad = 0
    this.good = 0
  }

  open(): void {
    const calm = this.breaks === 0 || (this.state === 'closed' && this.now - this.closedAt >= this.breakMs)
    this.breaks = calm ? 1 : this.breaks + 1
    this.breakMs = Math.min(BREAK_MAX_MS, BREAK_MS * 2 ** (this.breaks - 1))
    this.openedAt = this.now
    this.enter('open')
  }

  close(): void {
    this.enter('closed')
    this.calls = []
    this.closedAt = this.now
  }

  look(): string {
    if (this.state === 'open' && this.now >= this.openedAt + this.breakMs) this.enter('half-open')
    return this.state
  }

  acquire(): Leave | undefined {
    const state = this.look()
    if (state === 'open' || state === 'forced-open') return undefined
    const probe = state === 'half-open'
    if (probe) {
      this.probes = this.probes.filter(({ leaseEndsAt }) => this.now < leaseEndsAt)
      if (this.probes.length + this.bad + this.good >= PROBES) return undefined
    }
    const leave = { generation: this.generation, probe, leaseEndsAt: this.now + LEASE_MS, reported: false }
    if (probe) this.probes.push(leave)
    return leave
  }

  report(leave: Leave, end: 'succeed' | 'fail' | 'release', slow: boolean): void {
    if (leave.generation !== this.generation) return
    if (leave.probe) {
      if (!this.probes.includes(leave) || this.now >= leave.leaseEndsAt) return
      this.probes = this.probes.filter((one) => one !== leave)
      if (end === 'release') return
      if (end === 'fail' || slow) this.bad += 1
      else this.good += 1
      if (this.bad > 0) this.open()
      else if (this.good === PROBES) {
        this.close()
      }
      return
    }
    if (end === 'release' || this.state === 'disabled') return
    this.calls.push({ at: this.now, failed: end === 'fail', slow })
    if (this.state === 'closed' && this.exceeds()) this.open()
  }
}

const windows: BreakerWindow[] = [
  { kind: 'consecutive', failures: 3 },
  { kind: 'count', size: 5, minimumThroughput: 3, failureRatio: 0.5, slowCallMs: 10, slowCallRatio: 0.75 },
  { kind: 'time', samplingMs: 200, minimumThroughput: 3, failureRatio: 0.6, slowCallMs: 10, slowCallRatio: 1 }
]

const step = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ do: 'acquire' } as const) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('report' as const),
      which: fc.nat(20),
      end: fc.constantFrom('succeed', 'fail', 'fail', 'release'),
      slow: fc.boolean()
    })
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(130) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('trip', 'reset', 'forced-open', 'metrics-only', 'disabled') })
  }
)

describe('circuit breaker against a reference over lists', () => {
  test.prop([fc.constantFrom(...windows), fc.array(step, { maxLength: 120, size: 'max' })], {
    numRuns: Math.ceil(300 * inject('scale'))
  })(
    'lets the same calls through and stands the same after every step',
    (window, steps) => {
      const reference = new ReferenceBreaker(window)
      const { random, clock } = testPlatform()
      const platform = { random, clock: { ...clock, monotonic: () => reference.now, now: () => reference.now } }
      const breaker = createCircuitBreaker({
        name: 'model',
        window,
        breakMs: BREAK_MS,
        breakMaxMs: BREAK_MAX_MS,
        probes: PROBES,
        probeLeaseMs: LEASE_MS,
        platform
      })
      const held: { readonly permit: BreakerPermit; readonly leave: Leave }[] = []
      for (const one of steps) {
        if (one.do === 'pass') {
          reference.now += one.ms
        } else if (one.do === 'acquire') {
          const permit = breaker.acquire()
          const leave = reference.acquire()
          expect(permit.outcome).toBe(leave === undefined ? 'rejected' : 'permitted')
          if (permit.outcome === 'rejected') expect(permit.retryAfterMs).toBeGreaterThan(0)
          else if (leave !== undefined) {
            expect(permit.probe).toBe(leave.probe)
            held.push({ permit, leave })
          }
        } else if (one.do === 'report') {
          // Reported permits stay in the list when they are probes or of the past: a second report must do nothing.
          const taken = held[one.which % Math.max(1, held.length)]
          if (taken === undefined) continue
          if (taken.leave.reported && !taken.leave.probe && taken.leave.generation === reference.generation) continue
          taken.leave.reported = true
          const durationMs = one.slow && window.kind !== 'consecutive' ? 10 : 9.9
          if (one.end === 'release') breaker.release(taken.permit)
          else if (one.end === 'fail') breaker.fail(taken.permit, durationMs)
          else breaker.succeed(taken.permit, durationMs)
          reference.report(taken.leave, one.end, durationMs === 10)
        } else if (one.do === 'trip') {
          breaker.trip()
          if (reference.state !== 'open' || reference.now >= reference.openedAt + reference.breakMs) reference.open()
        } else if (one.do === 'reset') {
          breaker.reset()
          reference.breaks = 0
          reference.close()
        } else {
          breaker.switchTo(one.do)
          reference.calls = []
          reference.enter(one.do)
        }
        expect(breaker.stateAt(reference.now)).toBe(
          reference.state === 'open' && reference.now >= reference.openedAt + reference.breakMs
            ? 'half-open'
            : reference.state
        )
        if (reference.state === 'closed') {
          const recent = reference.recent()
          expect(breaker.stats().window.calls).toBe(recent.length)
          expect(breaker.stats().window.failures).toBe(recent.filter((call) => call.failed).length)
        }
      }
    },
    600_000
  )
})
