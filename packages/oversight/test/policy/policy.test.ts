import { type ApprovalPolicy, defineAction, type Tier } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { channel, raiseDetail, stage, twoTiers } from '../stage.ts'

const tier: Tier = { approvers: ['ana'], channels: ['pager'], waitMs: 1_000 }

const refused = (definition: object): unknown => {
  try {
    defineAction({ name: 'a.b', detail: raiseDetail, policy: twoTiers, ...definition })
  } catch (error) {
    return error
  }
  throw new Error('was not refused')
}

describe('the definition of an action', () => {
  it.each<[string, unknown, string]>([
    ['no tiers', { ...twoTiers, tiers: [] }, 'policy.tiers'],
    ['more tiers than its bound', { ...twoTiers, tiers: Array(17).fill(tier) }, 'policy.tiers'],
    ['tiers without anyone', { ...twoTiers, tiers: [{ ...tier, approvers: [] }] }, 'policy.tiers'],
    ['a wait of NaN', { ...twoTiers, tiers: [{ ...tier, waitMs: Number.NaN }] }, 'policy.tiers.0.waitMs'],
    [
      'an endless wait',
      { ...twoTiers, tiers: [{ ...tier, waitMs: Number.POSITIVE_INFINITY }] },
      'policy.tiers.0.waitMs'
    ],
    ['a negative wait', { ...twoTiers, tiers: [tier, { ...tier, waitMs: -1 }] }, 'policy.tiers.1.waitMs'],
    ['a wait of nothing', { ...twoTiers, tiers: [{ ...tier, waitMs: 0 }] }, 'policy.tiers.0.waitMs'],
    ['half a millisecond', { ...twoTiers, tiers: [{ ...tier, waitMs: 0.5 }] }, 'policy.tiers.0.waitMs'],
    ['a wait beyond a year', { ...twoTiers, tiers: [{ ...tier, waitMs: 4e10 }] }, 'policy.tiers.0.waitMs'],
    ['a wait in words', { ...twoTiers, tiers: [{ ...tier, waitMs: '2s' }] }, 'policy.tiers.0.waitMs'],
    [
      'an approver named twice',
      { ...twoTiers, tiers: [{ ...tier, approvers: ['ana', 'bo', 'ana'] }] },
      'policy.tiers.0.approvers.2'
    ],
    [
      'an approver with a tab',
      { ...twoTiers, tiers: [{ ...tier, approvers: ['a\tb'] }] },
      'policy.tiers.0.approvers.0'
    ],
    [
      'too many approvers',
      { ...twoTiers, tiers: [{ ...tier, approvers: Array.from({ length: 51 }, (_, n) => `a${n}`) }] },
      'policy.tiers.0.approvers'
    ],
    ['approvers without a channel', { ...twoTiers, tiers: [{ ...tier, channels: [] }] }, 'policy.tiers.0.channels'],
    [
      'a misspelled option',
      { ...twoTiers, tiers: [{ ...tier, skipIfUnreachabel: true }] },
      'policy.tiers.0.skipIfUnreachabel'
    ],
    ['no final action', { tiers: [tier] }, 'policy.onExhausted'],
    ['a final action that approves', { tiers: [tier], onExhausted: 'auto-approve' }, 'policy.onExhausted'],
    ['a strategy that is not there', { ...twoTiers, strategy: 'dice' }, 'policy.strategy'],
    ['a deadline of NaN', { ...twoTiers, deadlineMs: Number.NaN }, 'policy.deadlineMs']
  ])('is refused with the path for %s', (_, policy, path) => {
    expect(refused({ policy })).toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { subject: 'defineAction', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
    })
  })

  it.each([
    ['no name', { name: '' }, 'name'],
    ['a name in capitals', { name: 'Payments.Refund' }, 'name'],
    ['a name that ends in a dot', { name: 'payments.' }, 'name'],
    ['no schema', { detail: {} }, 'detail'],
    [
      'a schema of another version',
      { detail: { '~standard': { version: 2, vendor: 'x', validate: () => {} } } },
      'detail'
    ],
    ['an unknown option', { danger: 'high' }, 'danger'],
    ['an unknown risk', { risk: 'huge' }, 'risk']
  ])('is refused with the path for %s', (_, changed, path) => {
    expect(refused(changed)).toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: expect.arrayContaining([expect.objectContaining({ path })]) }
    })
  })

  it('takes the largest policy that its bounds allow, and a request under it goes on record', async () => {
    const longest = (prefix: string, n: number): string => `${prefix}${n}`.padEnd(128, '"')
    const approvers = Array.from({ length: 50 }, (_, n) => longest('approver-', n))
    const channels = Array.from({ length: 8 }, (_, n) => longest('channel-', n))
    const tiers = Array.from({ length: 16 }, () => ({ approvers, channels, waitMs: 366 * 86_400_000 }))
    const policy: ApprovalPolicy = {
      tiers,
      onExhausted: 'queue',
      strategy: 'first-wins',
      deadlineMs: 5,
      identical: 'separate'
    }
    await using s = await stage(policy, { channels: Object.fromEntries(channels.map((name) => [name, channel()])) })
    expect(s.raise.policy).toEqual(policy)
    const request = await s.open()
    const reason = '\u0001'.repeat(2_000)
    const decided = await s.oversight.decide(request.id, {
      approver: longest('approver-', 49),
      decision: 'deny',
      reason
    })
    expect(decided).toMatchObject({ outcome: 'recorded', verdict: { outcome: 'denied', reason } })
    expect(await s.story()).toHaveLength(3)
  })
})

describe('the construction of oversight', () => {
  it.each<[string, object, string]>([
    ['no store', { store: {} }, 'store'],
    ['no actions', { actions: [] }, 'actions'],
    ['an action that is none', { actions: [{}] }, 'actions.0'],
    [
      'an action that was not defined',
      { actions: [{ name: 'a', detail: raiseDetail, policy: { tiers: [] } }] },
      'actions.0'
    ],
    [
      'a channel that a policy names and nobody gave',
      { channels: { pager: channel() } },
      'actions.0.policy.tiers.1.channels.0'
    ],
    [
      'a channel that every object has',
      { channels: Object.create({ pager: channel(), desk: channel() }) },
      'actions.0.policy.tiers.0.channels.0'
    ],
    ['a channel that cannot deliver', { channels: { pager: channel(), desk: {} } }, 'channels.desk'],
    ['a directory without find', { directory: {} }, 'directory'],
    ['an observer that is none', { observe: 'log' }, 'observe'],
    ['a poll of nothing', { pollMs: 0 }, 'pollMs'],
    ['a lease of NaN', { executionLeaseMs: Number.NaN }, 'executionLeaseMs'],
    ['a lease that no renewal could keep', { executionLeaseMs: 99 }, 'executionLeaseMs'],
    ['an unknown option', { leaseMs: 1_000 }, 'leaseMs']
  ])('is refused with the path for %s', async (_, changed, path) => {
    await using s = await stage()
    expect(() => s.another(changed)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: expect.objectContaining({ issues: expect.arrayContaining([expect.objectContaining({ path })]) })
      })
    )
  })

  it('is refused for two actions of one name', async () => {
    await using s = await stage()
    expect(() => s.another({ actions: [s.raise, s.raise] })).toThrow(/actions\.1\.name: is defined twice/)
  })

  it('is not disturbed by an observer that throws', async () => {
    await using s = await stage()
    const noisy = s.another({
      observe: () => {
        throw new Error('the log is full')
      }
    })
    const request = await noisy.open(s.raise, {
      idempotencyKey: 'k',
      tenant: 'acme',
      requestedBy: { agent: 'a' },
      summary: 's',
      detail: { limitMebibytes: 1 }
    })
    expect(await noisy.decide(request.id, { approver: 'ana', decision: 'approve' })).toMatchObject({
      outcome: 'recorded'
    })
  })
})
