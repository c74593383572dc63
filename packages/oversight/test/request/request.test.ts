import { CoreError } from '@enablement/core'
import { createAuditLog } from '@enablement/core/audit'
import { defineAction, type OpenRequest } from '@enablement/oversight'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { describe, expect, it, vi } from 'vitest'
import { ask, type Raise, runDuties, stage } from '../stage.ts'

describe('the opening of a request', () => {
  it('finds the same request under the same key, whoever asks and however often at once', async () => {
    await using s = await stage()
    const requests = await Promise.all(Array.from({ length: 20 }, () => s.another().open(s.raise, ask)))
    expect(new Set(requests.map(({ id }) => id)).size).toBe(1)
    expect(await s.story()).toHaveLength(1)
    expect(s.events.filter(({ type }) => type === 'request.opened')).toHaveLength(1)
    const reordered = await s.oversight.open(s.raise, {
      ...ask,
      detail: JSON.parse('{"limitMebibytes":128.0}') as Raise
    })
    expect(reordered.id).toBe(requests[0]?.id)
  })

  it('finds it after it was settled too', async () => {
    await using s = await stage()
    const request = await s.open()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    const again = await s.open()
    expect(await again.settled()).toMatchObject({ outcome: 'approved', requestId: request.id })
  })

  it('refuses the key for another detail or another action, and keeps it apart for another tenant', async () => {
    await using s = await stage()
    const request = await s.open()
    const refusal = {
      code: 'IDEMPOTENCY_KEY_REUSED',
      detail: { tenant: 'acme', idempotencyKey: 'call-1', requestId: request.id }
    }
    await expect(s.oversight.open(s.raise, { ...ask, detail: { limitMebibytes: 256 } })).rejects.toMatchObject(refusal)
    const lower = defineAction({ ...s.raise, name: 'runtime.lower-memory-limit' })
    const other = s.another({ actions: [lower] })
    await expect(other.open(lower, ask)).rejects.toMatchObject(refusal)
    expect(await s.story()).toHaveLength(1)
    expect((await s.oversight.open(s.raise, { ...ask, tenant: 'globex' })).id).not.toBe(request.id)
  })

  it.each<[string, Partial<Record<keyof OpenRequest<Raise>, unknown>>, string]>([
    ['no key', { idempotencyKey: '' }, 'idempotencyKey'],
    ['a key beyond its bound', { idempotencyKey: 'k'.repeat(257) }, 'idempotencyKey'],
    ['a tenant with a line break', { tenant: 'ac\nme' }, 'tenant'],
    ['an agent that poses as the system', { requestedBy: { agent: 'system:escalation' } }, 'requestedBy.agent'],
    ['a human that is no text', { requestedBy: { agent: 'agent-7', onBehalfOf: 7 } }, 'requestedBy.onBehalfOf'],
    ['a blank summary', { summary: ' \n' }, 'summary'],
    ['a summary of two lines', { summary: 'Raise the limit\nApproved by Bo' }, 'summary'],
    ['a summary that shows as another', { summary: 'Refund \u202e0001\u202c' }, 'summary'],
    ['a summary beyond its bound', { summary: 's'.repeat(501) }, 'summary'],
    ['an unknown option', { priority: 'high' } as never, 'priority']
  ])('is refused with the path for %s', async (_, changed, path) => {
    await using s = await stage()
    await expect(s.oversight.open(s.raise, { ...ask, ...changed } as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { subject: 'open', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
    })
    expect(await s.entries()).toEqual([])
  })

  it('is refused for a detail that the schema refuses, or that has no JSON form', async () => {
    await using s = await stage()
    await expect(s.oversight.open(s.raise, { ...ask, detail: {} as Raise })).rejects.toMatchObject({
      code: 'INVALID_DETAIL',
      message: `runtime.raise-memory-limit refused its detail: limitMebibytes: must be a number`,
      detail: {
        action: 'runtime.raise-memory-limit',
        issues: [{ path: 'limitMebibytes', message: 'must be a number' }]
      }
    })
    const anything = defineAction<unknown>({
      ...s.raise,
      name: 'anything',
      detail: { '~standard': { version: 1, vendor: 'none', validate: (value) => Promise.resolve({ value }) } }
    })
    const other = s.another({ actions: [anything] })
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    const refused = [Number.NaN, 'text', null, [1], { at: { deep: Number.NaN } }, { blob: 'x'.repeat(70_000) }, cycle]
    for (const detail of [...refused, { when: new Date(0) }, { at: '\ud800' }]) {
      await expect(other.open(anything, { ...ask, detail })).rejects.toMatchObject({ code: 'INVALID_DETAIL' })
    }
    expect(await s.entries()).toEqual([])
  })

  it('is refused for an action that was not given, or given by another definition', async () => {
    await using s = await stage()
    const twin = defineAction({ ...s.raise })
    await expect(s.oversight.open(twin, ask)).rejects.toMatchObject({ code: 'UNKNOWN_ACTION' })
    expect(() => s.oversight.request(twin, 'id')).toThrow(expect.objectContaining({ code: 'UNKNOWN_ACTION' }))
  })

  it('keeps the detail and the policy as they were then', async () => {
    await using s = await stage()
    const detail = { limitMebibytes: 128 }
    const opening = s.oversight.open(s.raise, { ...ask, detail })
    detail.limitMebibytes = 4_096
    const request = await opening
    const stricter = defineAction({
      ...s.raise,
      policy: { ...s.raise.policy, tiers: [{ approvers: ['zoe'], channels: ['desk'], waitMs: 1 }] }
    })
    const redeployed = s.another({ actions: [stricter] })
    await runDuties(redeployed)
    expect(await redeployed.decide(request.id, { approver: 'zoe', decision: 'approve' })).toMatchObject({
      outcome: 'not-authorized'
    })
    expect(await redeployed.decide(request.id, { approver: 'ana', decision: 'approve' })).toMatchObject({
      outcome: 'recorded'
    })
    expect(
      await redeployed.request(stricter, request.id).execute(async ({ detail: given }) => given.limitMebibytes)
    ).toEqual({
      outcome: 'executed',
      result: 128
    })
  })
})

describe('the wait for a verdict', () => {
  it('hears at once of a decision in this process, and at the next poll of one elsewhere', async () => {
    await using s = await stage(undefined, { pollMs: 700 })
    const here = await s.open('here')
    const waiting = here.settled()
    await s.platform.clock.advance(100)
    await s.oversight.decide(here.id, { approver: 'ana', decision: 'approve' })
    expect(await waiting).toMatchObject({ outcome: 'approved' })

    const there = await s.open('there')
    let verdict: unknown
    const other = there.settled().then((settled) => {
      verdict = settled
    })
    await s.platform.clock.advance(1)
    await s.another().decide(there.id, { approver: 'ana', decision: 'approve' })
    await s.platform.clock.advance(698)
    expect(verdict).toBeUndefined()
    await s.platform.clock.advance(1)
    expect(verdict).toMatchObject({ outcome: 'approved' })
    await other
    expect(s.platform.clock.pendingTimers).toBe(0)
  })

  it('ends with the reason of its signal, and leaves neither timer nor listener behind', async () => {
    await using s = await stage()
    const request = await s.open()
    const controller = new AbortController()
    const { signal } = controller
    const added = vi.spyOn(signal, 'addEventListener')
    const removed = vi.spyOn(signal, 'removeEventListener')
    const waiting = request.settled({ signal })
    waiting.catch(() => {})
    for (let poll = 0; poll < 5; poll++) await s.platform.clock.advance(500)
    expect(added.mock.calls.length - removed.mock.calls.length).toBe(1)
    const reason = new Error('the agent was stopped')
    controller.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await expect(request.settled({ signal })).rejects.toBe(reason)
    // The listener that an abort has called is gone by itself: it was added to be called once.
    expect(added.mock.calls.length - removed.mock.calls.length).toBe(1)
    expect(added.mock.calls.every(([, , options]) => (options as { once?: boolean } | undefined)?.once === true)).toBe(
      true
    )
    expect(s.platform.clock.pendingTimers).toBe(0)
    expect(await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })).toMatchObject({
      outcome: 'recorded'
    })
  })

  it('does not miss a verdict that is committed between its look and its wait', async () => {
    await using s = await stage(undefined, { pollMs: 3_600_000 })
    const request = await s.open()
    const real = sqlOversightStore(s.db, { audit: createAuditLog({ db: s.db, platform: s.platform }) })
    let looks = 0
    const process = s.another({
      store: {
        ...real,
        async find(id) {
          const found = await real.find(id)
          looks += 1
          if (looks === 1) await process.decide(id, { approver: 'ana', decision: 'approve' })
          return found
        }
      }
    })
    const waiting = process.request(s.raise, request.id).settled()
    await s.platform.clock.advance(0)
    expect(looks).toBe(2)
    expect(await waiting).toMatchObject({ outcome: 'approved' })
  })

  it('survives a store that is away for a while', async () => {
    await using s = await stage()
    const request = await s.open()
    const real = sqlOversightStore(s.db, { audit: createAuditLog({ db: s.db, platform: s.platform }) })
    let away = true
    const store: typeof real = {
      ...real,
      find: (id) =>
        away
          ? Promise.reject(new CoreError('STORE_UNAVAILABLE', 'away', { store: 'test', operation: 'find' }))
          : real.find(id)
    }
    const waiting = s.another({ store }).request(s.raise, request.id).settled()
    await s.platform.clock.advance(2_000)
    expect(s.events.filter(({ type }) => type === 'wait.store-unavailable').length).toBeGreaterThan(2)
    away = false
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await s.platform.clock.advance(500)
    expect(await waiting).toMatchObject({ outcome: 'approved' })
  })

  it('fails for a request that does not exist', async () => {
    await using s = await stage()
    await expect(s.oversight.request(s.raise, 'nothing').settled()).rejects.toMatchObject({ code: 'UNKNOWN_REQUEST' })
    expect(s.platform.clock.pendingTimers).toBe(0)
  })
})

describe('a cancellation', () => {
  it('ends an open request, once, and calls its invitations off', async () => {
    await using s = await stage()
    const request = await s.open()
    const call = { by: 'agent-7', reason: 'the job has ended' }
    expect(await request.cancel(call)).toEqual({ outcome: 'cancelled' })
    expect(await request.settled()).toMatchObject({ outcome: 'cancelled' })
    expect(await request.cancel(call)).toMatchObject({ outcome: 'already-settled', verdict: { outcome: 'cancelled' } })
    await s.pass(3_600_000)
    expect(await s.story()).toEqual(['request.opened by agent:agent-7', 'request.cancelled by canceller:agent-7'])
  })

  it('comes too late at the deadline, and says why it was made', async () => {
    await using s = await stage({
      tiers: [{ approvers: ['ana'], channels: ['pager'], waitMs: 9 }],
      onExhausted: 'queue',
      deadlineMs: 5
    })
    const request = await s.open()
    await expect(request.cancel({ by: 'agent-7', reason: '' })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await s.platform.clock.advance(5)
    expect(await request.cancel({ by: 'agent-7', reason: 'late' })).toMatchObject({
      outcome: 'already-settled',
      verdict: { outcome: 'timed-out' }
    })
  })
})
