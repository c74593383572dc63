import type { CoreError } from '@enablement/core'
import {
  createFaultPlan,
  type FaultKind,
  type FaultPlan,
  type FaultPoint,
  type FaultRule,
  type Strike,
  testPlatform
} from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const KINDS: readonly FaultKind[] = ['latency', 'error', 'reset', 'hang', 'drop', 'duplicate', 'slice', 'partition']
const target = { what: 'a test', request: KINDS, reply: KINDS }
const at = (...names: string[]): FaultPoint => ({ names, leg: 'request', target })
const nothing: Strike = { delayMs: 0, end: undefined, duplicate: false, slice: undefined }

const planOf = (faults: readonly FaultRule[], seed = 1): FaultPlan =>
  createFaultPlan({ platform: testPlatform({ seed }), faults })

function refusalOf(call: () => unknown): CoreError {
  try {
    call()
  } catch (error) {
    return error as CoreError
  }
  throw new Error('was not refused')
}

describe('a fault plan', () => {
  it('strikes nothing unless told to', () => {
    expect(planOf([]).strike(at('x'))).toEqual(nothing)
  })

  it('strikes from the first millisecond of a rule up to and not including its last', async () => {
    const platform = testPlatform()
    await platform.clock.advance(1_000)
    const plan = createFaultPlan({ platform, faults: [{ kind: 'reset', fromMs: 100, untilMs: 200 }] })
    const struck: boolean[] = []
    for (const passMs of [0, 99, 1, 99, 1]) {
      await platform.clock.advance(passMs)
      struck.push(plan.strike(at('x')).end !== undefined)
    }
    expect(struck).toEqual([false, false, true, true, false])
  })

  it('strikes the share of calls that a rule says, the same ones for the same seed', () => {
    const struck = (seed: number): string => {
      const plan = planOf([{ kind: 'reset', ratio: 0.25 }], seed)
      return Array.from({ length: 4_000 }, () => (plan.strike(at('x')).end === undefined ? '.' : 'x')).join('')
    }
    expect(struck(3)).toBe(struck(3))
    expect(struck(3)).not.toBe(struck(4))
    expect(struck(3).split('x').length / 4_000).toBeCloseTo(0.25, 1)
  })

  it('strikes as often as a rule says, and only where one of its names stands', () => {
    const plan = planOf([{ kind: 'hang', times: 2, only: ['b', 'c'] }])
    const struck = ['a', 'b', 'a', 'c', 'b'].map((name) => plan.strike(at(name, 'z')).end?.kind)
    expect(struck).toEqual([undefined, 'hang', undefined, 'hang', undefined])
  })

  it('loses requests on their way there and replies on their way back', () => {
    const plan = planOf([{ kind: 'drop', lose: 'reply' }])
    expect(plan.strike(at('x')).end).toBeUndefined()
    expect(plan.strike({ ...at('x'), leg: 'reply' }).end?.kind).toBe('drop')
  })

  it('adds delays up, keeps jitter within its bounds, and takes the first end', () => {
    const plan = planOf([
      { kind: 'latency', latencyMs: 10, jitterMs: 4 },
      { kind: 'latency', latencyMs: 100 },
      { kind: 'duplicate' },
      { kind: 'error', code: 'EIO' },
      { kind: 'reset' },
      { kind: 'slice', sliceMaxBytes: 3 }
    ])
    const strikes = Array.from({ length: 200 }, () => plan.strike(at('x')))
    expect(strikes[0]).toMatchObject({ end: { kind: 'error' }, duplicate: true, slice: { sliceMaxBytes: 3 } })
    for (const { delayMs } of strikes) expect(Math.abs(delayMs - 110)).toBeLessThanOrEqual(4)
    expect(new Set(strikes.map(({ delayMs }) => delayMs)).size).toBeGreaterThan(100)
  })

  it('uses up no rule that could not show behind another one', () => {
    const plan = planOf([
      { kind: 'error', code: 'EIO', times: 1 },
      { kind: 'reset', times: 1 },
      { kind: 'slice', sliceMaxBytes: 1, times: 1 },
      { kind: 'slice', sliceMaxBytes: 2, times: 1 }
    ])
    const struck = Array.from({ length: 3 }, () => plan.strike(at('x')))
    expect(struck.map(({ end }) => end?.kind)).toEqual(['error', 'reset', undefined])
    expect(struck.map(({ slice }) => slice?.sliceMaxBytes)).toEqual([1, 2, undefined])
  })

  it('draws nothing behind a partition, wherever it stands among the rules', () => {
    const plan = planOf([{ kind: 'reset', times: 1 }])
    const heal = plan.add({ kind: 'partition' })
    for (let count = 0; count < 3; count++) expect(plan.strike(at('x')).end?.kind).toBe('partition')
    heal()
    expect(plan.strike(at('x')).end?.kind).toBe('reset')
    expect(plan.strike(at('x')).end).toBeUndefined()
  })

  it('takes a rule back, and all of them', () => {
    const plan = planOf([{ kind: 'duplicate' }])
    const heal = plan.add({ kind: 'partition' })
    expect(plan.strike(at('x'))).toEqual({ ...nothing, end: { kind: 'partition' } })
    heal()
    heal()
    expect(plan.strike(at('x'))).toEqual({ ...nothing, duplicate: true })
    plan.clear()
    expect(plan.strike(at('x'))).toEqual(nothing)
  })

  it('refuses a fault that what it strikes cannot have, when it would strike', () => {
    const plan = planOf([{ kind: 'slice', sliceMaxBytes: 1, only: ['y'] }])
    const point = (name: string): FaultPoint => ({
      names: [name],
      leg: 'request',
      target: { what: 'a test', request: ['hang'], reply: [] }
    })
    expect(plan.strike(point('x'))).toEqual(nothing)
    const refusal = refusalOf(() => plan.strike(point('y')))
    expect(refusal.code).toBe('INVALID_OPTIONS')
    const { target: only } = point('x')
    const early = refusalOf(() =>
      createFaultPlan({ platform: testPlatform(), target: only, faults: [{ kind: 'slice', sliceMaxBytes: 1 }] })
    )
    expect(early.message).toBe(refusal.message)
    expect(refusal.message).toContain('a test has no such fault: slice')
  })

  it('has a thousand rules at most (pitfall 15)', () => {
    const plan = planOf([])
    for (let count = 0; count < 1_000; count++) plan.add({ kind: 'reset' })
    const refusal = refusalOf(() => plan.add({ kind: 'reset' }))
    expect(refusal.is('OVERLOADED') && refusal.detail).toEqual({ what: 'fault plan', waiting: 1_000, limit: 1_000 })
  })

  it.each([
    [{ kind: 'delay' }, 'kind'],
    [{ kind: 'latency', latencyMs: -1 }, 'latencyMs'],
    [{ kind: 'latency', latencyMs: Number.NaN }, 'latencyMs'],
    [{ kind: 'latency', latencyMs: 1, jitterMs: Number.POSITIVE_INFINITY }, 'jitterMs'],
    [{ kind: 'error', code: '' }, 'code'],
    [{ kind: 'drop', lose: 'both' }, 'lose'],
    [{ kind: 'slice', sliceMaxBytes: 0 }, 'sliceMaxBytes'],
    [{ kind: 'reset', ratio: 0 }, 'ratio'],
    [{ kind: 'reset', ratio: 1.1 }, 'ratio'],
    [{ kind: 'reset', times: 0 }, 'times'],
    [{ kind: 'reset', fromMs: 5, untilMs: 5 }, 'untilMs'],
    [{ kind: 'reset', only: [] }, 'only'],
    [{ kind: 'reset', untill: 5 }, 'untill']
  ])('refuses the rule %o', (rule, path) => {
    const refusal = refusalOf(() => planOf([rule as FaultRule]))
    expect(refusal.is('INVALID_OPTIONS') && refusal.detail.issues.map((issue) => issue.path)).toEqual([path])
  })
})
