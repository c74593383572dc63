import { CoreError, isSuiteError, sleep } from '@enablement/core'
import { createAuditLog } from '@enablement/core/audit'
import { testPlatform } from '@enablement/core/testing'
import { defineAction, type ExecutionClaim, noEffect, OversightError } from '@enablement/oversight'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { describe, expect, it } from 'vitest'
import { type Raise, runDuties, stage } from '../stage.ts'

async function approved(options: Parameters<typeof stage>[1] = {}) {
  const s = await stage(undefined, options)
  const request = await s.open()
  await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
  return { s, request, [Symbol.asyncDispose]: () => s[Symbol.asyncDispose]() }
}

/** An effect that a test lets end. */
function pendingEffect() {
  let end: (result: number) => void = () => {}
  let fail: (error: unknown) => void = () => {}
  const ended = new Promise<number>((resolve, reject) => {
    end = resolve
    fail = reject
  })
  const claims: ExecutionClaim<Raise>[] = []
  return {
    claims,
    end: (result: number) => end(result),
    fail: (error: unknown) => fail(error),
    run: (claim: ExecutionClaim<Raise>) => {
      claims.push(claim)
      return ended
    }
  }
}

describe('the execution of an approved request', () => {
  it.each(['pending', 'denied', 'cancelled', 'timed-out'] as const)('does not begin while it is %s', async (status) => {
    await using s = await stage({
      tiers: [{ approvers: ['ana'], channels: ['pager'], waitMs: 9_000 }],
      onExhausted: 'deny',
      deadlineMs: 5_000
    })
    const request = await s.open()
    if (status === 'denied') await s.oversight.decide(request.id, { approver: 'ana', decision: 'deny', reason: 'no' })
    if (status === 'cancelled') await request.cancel({ by: 'agent-7', reason: 'no longer needed' })
    if (status === 'timed-out') await s.pass(5_000)
    let runs = 0
    expect(
      await request.execute(async () => {
        runs += 1
        return null
      })
    ).toEqual({ outcome: 'not-approved', status })
    expect(runs).toBe(0)
  })

  it('gives the effect what was approved, a key of its own and a fence', async () => {
    await using a = await approved()
    let seen: unknown
    await a.request.execute(async (claim) => {
      seen = { ...claim, signal: claim.signal.aborted }
      return null
    })
    expect(seen).toEqual({
      requestId: a.request.id,
      detail: { limitMebibytes: 128 },
      idempotencyKey: a.request.id,
      fence: 1,
      signal: false
    })
  })

  it('runs once for 8 callers at the same time; the others hear that it is busy', async () => {
    await using a = await approved()
    const effect = pendingEffect()
    const executions = Array.from({ length: 8 }, () =>
      a.s.another().request(a.s.raise, a.request.id).execute(effect.run)
    )
    await a.s.platform.clock.advance(0)
    effect.end(5)
    const outcomes = (await Promise.all(executions)).map(({ outcome }) => outcome)
    expect(outcomes.sort()).toEqual([...Array(7).fill('busy'), 'executed'])
    expect(effect.claims).toHaveLength(1)
    expect(await a.request.execute(effect.run)).toEqual({ outcome: 'replayed', result: 5 })
  })

  it('keeps its lease for as long as the effect runs, and leaves no timer behind', async () => {
    await using a = await approved({ executionLeaseMs: 3_000 })
    const effect = pendingEffect()
    const execution = a.request.execute(effect.run)
    for (let second = 0; second < 20; second++) await a.s.pass(1_000)
    expect(await a.request.execute(effect.run)).toMatchObject({ outcome: 'busy' })
    effect.end(7)
    expect(await execution).toEqual({ outcome: 'executed', result: 7 })
    expect(a.s.platform.clock.pendingTimers).toBe(0)
  })

  it('is in doubt, and not run again, once its executor is lost', async () => {
    await using a = await approved({ executionLeaseMs: 3_000 })
    const lost = pendingEffect()
    // A process that is suspended: its own clock stands still, so it neither renews nor notices.
    const suspended = a.s.another({ platform: testPlatform() }).request(a.s.raise, a.request.id).execute(lost.run)
    await a.s.platform.clock.advance(0)
    expect(lost.claims).toHaveLength(1)
    await a.s.platform.clock.advance(2_999)
    expect(await a.request.execute(lost.run)).toMatchObject({ outcome: 'busy' })
    await a.s.pass(1)
    const since = a.s.platform.clock.now()
    expect(a.s.events.at(-1)).toMatchObject({ type: 'execution.in-doubt', because: 'the lease ran out', fence: 1 })
    expect(await a.request.execute(lost.run)).toEqual({ outcome: 'in-doubt', since })
    expect(lost.claims).toHaveLength(1)

    lost.end(9)
    expect(await suspended, 'the one who knows resolves the doubt').toEqual({ outcome: 'executed', result: 9 })
    expect(await a.request.execute(lost.run)).toEqual({ outcome: 'replayed', result: 9 })
  })

  it('is declared in doubt by a claim as well, before any duty has looked', async () => {
    await using a = await approved({ executionLeaseMs: 3_000 })
    const lost = pendingEffect()
    void a.s.another({ platform: testPlatform() }).request(a.s.raise, a.request.id).execute(lost.run)
    await a.s.platform.clock.advance(3_000)
    expect(await a.request.execute(lost.run)).toMatchObject({ outcome: 'in-doubt' })
    expect(await a.s.story()).toContain('execution.in-doubt by system:execution')
  })

  it('tells the effect when its lease is lost', async () => {
    const slow = testPlatform()
    await using a = await approved({ executionLeaseMs: 3_000 })
    const effect = pendingEffect()
    void a.s.another({ platform: slow }).request(a.s.raise, a.request.id).execute(effect.run)
    await a.s.platform.clock.advance(0)
    await a.s.pass(3_000)
    expect(effect.claims[0]?.signal.aborted).toBe(false)
    await slow.clock.advance(1_000)
    expect(effect.claims[0]?.signal.reason).toMatchObject({
      code: 'LEASE_LOST',
      detail: { requestId: a.request.id, fence: 1 }
    })
    expect(slow.clock.pendingTimers).toBe(0)
  })

  it('tells the effect when the store has been away for as long as the lease', async () => {
    await using a = await approved({ executionLeaseMs: 3_000 })
    let away = false
    const real = sqlOversightStore(a.s.db, { audit: createAuditLog({ db: a.s.db, platform: a.s.platform }) })
    const flaky: typeof real = {
      ...real,
      change: (id, step) => {
        if (!away) return real.change(id, step)
        throw new CoreError('STORE_UNAVAILABLE', 'away', { store: 'test', operation: 'change' })
      }
    }
    const effect = pendingEffect()
    const execution = a.s.another({ store: flaky }).request(a.s.raise, a.request.id).execute(effect.run)
    await a.s.platform.clock.advance(0)
    away = true
    await a.s.platform.clock.advance(2_999)
    expect(effect.claims[0]?.signal.aborted).toBe(false)
    await a.s.platform.clock.advance(1)
    expect(isSuiteError(effect.claims[0]?.signal.reason, 'LEASE_LOST')).toBe(true)
    effect.end(1)
    await a.s.platform.clock.advance(0)
    away = false
    await a.s.platform.clock.advance(10_000)
    expect(await execution, 'the report is tried again').toEqual({ outcome: 'executed', result: 1 })
  })

  it('tells the effect when no renewal has been answered for as long as the lease', async () => {
    await using a = await approved({ executionLeaseMs: 3_000 })
    let silent = false
    const real = sqlOversightStore(a.s.db, { audit: createAuditLog({ db: a.s.db, platform: a.s.platform }) })
    const hanging: typeof real = {
      ...real,
      change: (id, step) => (silent ? new Promise(() => {}) : real.change(id, step))
    }
    const effect = pendingEffect()
    void a.s.another({ store: hanging }).request(a.s.raise, a.request.id).execute(effect.run)
    await a.s.platform.clock.advance(0)
    silent = true
    await a.s.platform.clock.advance(2_999)
    expect(effect.claims[0]?.signal.aborted).toBe(false)
    await a.s.platform.clock.advance(1)
    expect(effect.claims[0]?.signal.reason).toMatchObject({ code: 'LEASE_LOST' })
    expect(a.s.platform.clock.pendingTimers).toBe(0)
  })

  it('counts the lease from the call that claimed it, however late the reply comes', async () => {
    await using a = await approved({ executionLeaseMs: 3_000 })
    const real = sqlOversightStore(a.s.db, { audit: createAuditLog({ db: a.s.db, platform: a.s.platform }) })
    let claims = 0
    const slow: typeof real = {
      ...real,
      async change(id, step) {
        claims += 1
        if (claims > 1) throw new CoreError('STORE_UNAVAILABLE', 'away', { store: 'test', operation: 'change' })
        const answer = await real.change(id, step)
        await sleep(a.s.platform.clock, 2_000)
        return answer
      }
    }
    const effect = pendingEffect()
    void a.s.another({ store: slow }).request(a.s.raise, a.request.id).execute(effect.run)
    await a.s.platform.clock.advance(2_999)
    expect(effect.claims[0]?.signal.aborted).toBe(false)
    await a.s.platform.clock.advance(1)
    expect(effect.claims[0]?.signal.reason).toMatchObject({ code: 'LEASE_LOST' })
  })

  it.each(['the claim', 'the result'])('runs once when the reply to the commit of %s is lost', async (what) => {
    await using a = await approved()
    const real = sqlOversightStore(a.s.db, { audit: createAuditLog({ db: a.s.db, platform: a.s.platform }) })
    let losing = what === 'the claim'
    const lossy: typeof real = {
      ...real,
      async change(id, step) {
        const answer = await real.change(id, step)
        if (!losing) return answer
        losing = false
        throw new CoreError('COMMIT_UNKNOWN', 'the reply was lost', { store: 'test' })
      }
    }
    let runs = 0
    const execution = a.s
      .another({ store: lossy })
      .request(a.s.raise, a.request.id)
      .execute(async () => {
        runs += 1
        losing = what === 'the result'
        return runs
      })
    await a.s.platform.clock.advance(100)
    expect(await execution).toEqual({ outcome: 'executed', result: 1 })
    expect(runs).toBe(1)
    expect((await a.s.story()).slice(-2)).toEqual([
      'execution.started by system:execution',
      'execution.executed by system:execution'
    ])
  })

  it('is in doubt when the effect throws, and says with what', async () => {
    await using a = await approved()
    const cause = new Error('socket hang up')
    const execution = await a.request.execute(() => Promise.reject(cause))
    expect(execution).toEqual({ outcome: 'in-doubt', since: a.s.platform.clock.now(), cause })
    const again = await a.request.execute(async () => 1)
    expect(again).toEqual({ outcome: 'in-doubt', since: a.s.platform.clock.now() })
    expect(JSON.stringify(await a.s.entries())).not.toContain('socket hang up')
  })

  it('may be tried again, under a higher fence, when the effect says that it had none', async () => {
    await using a = await approved()
    const failure = noEffect('card declined')
    const thrown = await a.request.execute(() => Promise.reject(failure)).catch((error: unknown) => error)
    expect(thrown).toBeInstanceOf(OversightError)
    expect(thrown).toMatchObject({
      code: 'NO_EFFECT',
      detail: { reason: 'card declined', requestId: a.request.id },
      cause: failure
    })
    let fence = 0
    expect(
      await a.request.execute(async (claim) => {
        fence = claim.fence
        return 'paid'
      })
    ).toEqual({ outcome: 'executed', result: 'paid' })
    expect(fence).toBe(2)
    expect((await a.s.story()).slice(-4)).toEqual([
      'execution.started by system:execution',
      'execution.released by system:execution',
      'execution.started by system:execution',
      'execution.executed by system:execution'
    ])
  })

  it('is in doubt when the effect within its effect had none: what came before it may have happened', async () => {
    await using a = await approved()
    const inner = await a.s.open('call-2')
    await a.s.oversight.decide(inner.id, { approver: 'ana', decision: 'approve' })
    const failure = noEffect('card declined')
    const outer = await a.request.execute(() => inner.execute(() => Promise.reject(failure)) as Promise<never>)
    expect(outer).toMatchObject({ outcome: 'in-doubt', cause: { detail: { requestId: inner.id } } })
    expect(await inner.execute(async () => 'paid')).toEqual({ outcome: 'executed', result: 'paid' })
  })

  it('keeps the beginning of a reason that is too long for the record', async () => {
    await using a = await approved()
    const failure = new OversightError('NO_EFFECT', 'none', { reason: `\ud83d${'x'.repeat(100_000)}` })
    await expect(a.request.execute(() => Promise.reject(failure))).rejects.toMatchObject({ cause: failure })
    expect((await a.s.entries()).at(-1)?.detail).toEqual({ fence: 1, reason: `\ufffd${'x'.repeat(999)}` })
    expect(noEffect('x'.repeat(5_000)).detail.reason).toHaveLength(1_000)
  })

  it('keeps null for an effect that returns nothing, and is in doubt for one that returns no JSON', async () => {
    await using a = await approved()
    expect(await a.request.execute(async () => undefined as never)).toEqual({ outcome: 'executed', result: null })
    expect(await a.request.execute(async () => 1)).toEqual({ outcome: 'replayed', result: null })

    await using b = await approved()
    const execution = await b.request.execute(async () => Number.NaN)
    expect(execution).toMatchObject({ outcome: 'in-doubt', cause: { code: 'NOT_JSON' } })
    await using c = await approved()
    const huge = await c.request.execute(async () => 'x'.repeat(300_000))
    expect(huge).toMatchObject({ outcome: 'in-doubt', cause: { code: 'NOT_JSON' } })
  })

  it.each([
    ['the detail', 'matter', '$.detail.limitMebibytes', 4_096],
    ['the hash of the request', 'matter', '$.argumentHash', 'f00d'],
    ['the hash of the vote', 'course', '$.votes[0].argumentHash', 'f00d'],
    ['the vote away', 'course', '$.votes', '[]']
  ])('is refused when someone altered %s after the approval', async (_, column, path, value) => {
    await using a = await approved()
    const given = value === '[]' ? 'json(?)' : '?'
    await a.s.db.run(function* () {
      yield {
        text: `update oversight_requests set ${column} = json_set(${column}, ?, ${given})`,
        values: [path, value]
      }
    })
    let runs = 0
    await expect(
      a.request.execute(async () => {
        runs += 1
        return null
      })
    ).rejects.toMatchObject({ code: 'ARGUMENTS_ALTERED', detail: { requestId: a.request.id } })
    expect(runs).toBe(0)
  })

  it('is refused by a process that finds another policy than the votes were for', async () => {
    await using a = await approved()
    await a.s.db.run(function* () {
      yield { text: "update oversight_policies set policy = json_set(policy, '$.approvalTtlMs', 9999999)", values: [] }
    })
    const elsewhere = a.s.another().request(a.s.raise, a.request.id)
    await expect(elsewhere.execute(async () => 1)).rejects.toMatchObject({ code: 'ARGUMENTS_ALTERED' })
  })

  it('is refused for a request of another action, and for one that does not exist', async () => {
    await using a = await approved()
    const refund = defineAction({ ...a.s.raise, name: 'payments.refund' })
    const other = a.s.another({ actions: [a.s.raise, refund] })
    await expect(other.request(refund, a.request.id).execute(async () => 1)).rejects.toMatchObject({
      code: 'WRONG_ACTION',
      detail: { expected: 'payments.refund', found: 'runtime.raise-memory-limit' }
    })
    await expect(a.s.oversight.request(a.s.raise, 'nothing').execute(async () => 1)).rejects.toMatchObject({
      code: 'UNKNOWN_REQUEST'
    })
    await runDuties(other)
  })
})
