import type { ApprovalPolicy, OversightOptions } from '@enablement/oversight'
import { defineAction } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ACTION, ask, channel, type Raise, raiseDetail, stage } from '../stage.ts'

const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs: 1_000 }]
const acknowledge = 'I accept that this runs although nobody decided'
const auto: ApprovalPolicy = { tiers, onExhausted: { autoApprove: { acknowledge, riskMax: 'medium' } } }

/** Everything that an approval without anyone needs, but for what is changed. */
async function exhausted(changed: {
  readonly autoApproval?: OversightOptions['autoApproval']
  readonly reversible?: boolean
  readonly risk?: 'low' | 'high'
  readonly unreachable?: boolean
  readonly denial?: boolean
}) {
  const { autoApproval = 'allowed', reversible = true, risk = 'low', unreachable = false, denial = false } = changed
  const policy: ApprovalPolicy = denial
    ? { ...auto, tiers: [{ ...tiers[0], approvers: ['ana', 'bo'] } as never], strategy: 'any-approve' }
    : auto
  const action = defineAction<Raise>({ name: ACTION, detail: raiseDetail, policy, reversible, risk: 'low' })
  const alerts: string[] = []
  const s = await stage({ tiers, onExhausted: 'deny' })
  const oversight = s.another({
    actions: [action],
    autoApproval,
    alertOps: async ({ reason }) => void alerts.push(reason),
    channels: { pager: channel(unreachable ? ['ana'] : []), desk: channel() }
  })
  const request = await oversight.open(action, { ...ask, risk })
  const run = async (): Promise<void> => {
    const { signal } = new AbortController()
    for (const duty of [...oversight.duties, ...oversight.duties]) await duty.run({ signal })
  }
  await run()
  if (denial) await oversight.decide(request.id, { approver: 'bo', decision: 'deny', reason: 'no' })
  await s.platform.clock.advance(1_000)
  await run()
  return { s, alerts, verdict: await request.settled(), [Symbol.asyncDispose]: () => s[Symbol.asyncDispose]() }
}

describe('an approval without anyone', () => {
  it('is given by the system, on record, and told of, when all that it needs is there', async () => {
    await using e = await exhausted({})
    expect(e.verdict).toMatchObject({ outcome: 'approved', by: 'system:auto-approval' })
    expect(e.alerts).toEqual(['auto-approved'])
    expect(await e.s.story()).toContain('request.approved by system:auto-approval')
  })

  it.each([
    ['the risk is more than it allows', { risk: 'high' }],
    ['nobody was reached', { unreachable: true }],
    ['the switch is off', { autoApproval: () => false }],
    ['somebody has denied', { denial: true }]
  ] as const)('is a denial when %s', async (_, changed) => {
    await using e = await exhausted(changed)
    expect(e.verdict).toMatchObject({ outcome: 'denied', by: 'system:escalation' })
  })

  it.each([
    ['it is not allowed', { autoApproval: 'forbidden' }, {}],
    ['there is nobody to tell', {}, {}],
    ['the action cannot be undone', { autoApproval: 'allowed', alertOps: async () => {} }, { reversible: false }],
    ['its risk is more', { autoApproval: 'allowed', alertOps: async () => {} }, { reversible: true, risk: 'critical' }]
  ] as const)('cannot be had where %s', async (_, options, changed) => {
    const action = defineAction<Raise>({ name: ACTION, detail: raiseDetail, policy: auto, ...changed })
    await expect(stage({ tiers, onExhausted: 'deny' }, { ...options, actions: [action] })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
  })

  it('has to be acknowledged word for word', () => {
    const onExhausted = { autoApprove: { acknowledge: 'ok', riskMax: 'low' } } as never
    expect(() => defineAction<Raise>({ name: ACTION, detail: raiseDetail, policy: { tiers, onExhausted } })).toThrow(
      'onExhausted'
    )
  })
})

describe('a chain that ends with an alert', () => {
  it('tells those who run the place, once, and holds the request', async () => {
    const alerts: object[] = []
    let failures = 2
    await using s = await stage(
      { tiers, onExhausted: 'alert-ops', deadlineMs: 90_000 },
      {
        alertOps: async (alert) => {
          if (failures-- > 0) throw new Error('the pager is away')
          alerts.push(alert)
        }
      }
    )
    const request = await s.open()
    await s.pass(0)
    await s.pass(1_000)
    for (let second = 0; second < 20; second++) await s.pass(1_000)
    expect(alerts).toMatchObject([{ reason: 'exhausted', requestId: request.id, action: ACTION, risk: 'medium' }])
    await s.pass(600_000)
    expect((await s.oversight.inspect(request.id)).status).toBe('pending')
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    expect(await request.settled()).toMatchObject({ outcome: 'approved' })
  })

  it('needs someone to tell', async () => {
    await expect(stage({ tiers, onExhausted: 'alert-ops' })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
  })
})

describe('a chain without anybody in it', () => {
  it.each(['deny', 'queue'] as const)('is told of at once, where it ends with %s', async (onExhausted) => {
    const alerts: string[] = []
    await using s = await stage(
      { tiers: [{ approvers: ['uma'], channels: ['pager'], waitMs: 1_000 }], onExhausted },
      { alertOps: async ({ reason }) => void alerts.push(reason) }
    )
    await s.open()
    await s.pass(0)
    expect(alerts).toEqual(['nobody-asked'])
  })
})
