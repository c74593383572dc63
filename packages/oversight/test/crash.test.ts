import { CoreError, isSuiteError } from '@enablement/core'
import { pgliteDatabase } from '@enablement/core/postgres'
import type { SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import {
  type CrashingDatabase,
  crashPoints,
  createFaultPlan,
  type FaultPlan,
  type FaultRule,
  SimulatedCrash,
  testPlatform,
  unlessCrashed,
  withFaults
} from '@enablement/core/testing'
import { type ApprovalPolicy, defineAction } from '@enablement/oversight'
import { emptyPglite } from '@enablement/services/pglite'
import { describe, expect, inject, it } from 'vitest'
import { ACTION, ask, channel, raiseDetail, runDuties, type ScriptedChannel, type Stage, stage } from './stage.ts'

/** The second tier has the time that a lost delivery takes to go out again. */
const patient: ApprovalPolicy = {
  tiers: [
    { approvers: ['ana'], channels: ['pager'], waitMs: 2_000 },
    { approvers: ['bo'], channels: ['desk'], waitMs: 120_000 }
  ],
  onExhausted: 'deny'
}
/** Nothing falls due by itself in the minute that a dead process takes to be replaced. */
const calm: ApprovalPolicy = {
  tiers: [{ approvers: ['ana', 'bo'], channels: [['pager', 'desk']], waitMs: 3_600_000 }],
  onExhausted: 'deny',
  strategy: 'all-approve'
}

/** The process does this until it dies, and a process that is started again does it from the start. */
type Script = (s: Stage, db: SqlDatabase, ran: () => void) => Promise<unknown>

/** What is there in the end: what the log says, how often the effect ran, and all else that the stage knows. */
type Check = (lines: readonly string[], ran: number, crashed: boolean, s: Stage) => void | Promise<void>

/** Who does not answer a page; everyone can be reached at a desk. */
interface Channels {
  readonly pager: ScriptedChannel
  readonly desk: ScriptedChannel
}

const onSqlite = (): SqlDatabase => sqliteDatabase({ path: ':memory:' })
const onPglite = async (): Promise<SqlDatabase> => pgliteDatabase(await emptyPglite())

/** Lets a process die at every point of `script` in turn, restarts it, and looks at what the store holds in the end. */
async function survive(
  script: Script,
  check: Check,
  {
    policy = patient,
    open = onSqlite,
    stride = 1,
    channels = () => ({ pager: channel(['ana']), desk: channel() })
  }: {
    readonly policy?: ApprovalPolicy
    readonly open?: () => SqlDatabase | Promise<SqlDatabase>
    /** Of so many points one is tried. */
    readonly stride?: number
    readonly channels?: () => Channels
  } = {}
): Promise<number> {
  for (let at = 0; ; at += stride) {
    await using s = await stage(policy, { disk: await open(), channels: { ...channels() } })
    const dying = crashPoints(s.db, { at })
    let ran = 0
    const run = (): void => {
      ran += 1
    }
    const crashed = await script(s, dying, run).then(
      () => undefined,
      (error: unknown) => error
    )
    if (crashed !== undefined) {
      expect(crashed).toBeInstanceOf(SimulatedCrash)
      // A dead executor's lease has to run out before anyone may judge what it did.
      await s.platform.clock.advance(60_000)
      await runDuties(s.oversight)
      await script(s, s.db, run).catch(unlessCrashed)
      await runDuties(s.oversight)
    }
    await check(await s.story(), ran, crashed !== undefined, s)
    if (dying.crashed === undefined) return at
  }
}

/** A process that is dead no longer waits for its store, although its timers are on the clock of all. */
async function untilDead<T>(s: Stage, work: Promise<T>, db: SqlDatabase): Promise<T> {
  let ended = false
  const done = work.finally(() => {
    ended = true
  })
  done.catch(() => undefined)
  while (!ended) {
    const crash = 'crashed' in db ? (db as CrashingDatabase).crashed : undefined
    if (crash !== undefined) throw new SimulatedCrash(crash)
    await s.platform.clock.advance(1)
  }
  return done
}

const count = (lines: readonly string[], action: string): number =>
  lines.filter((line) => line.startsWith(`${action} `)).length

describe('a process that dies', () => {
  it('at any point of opening leaves one request, asked once, or none', async () => {
    const points = await survive(
      (s, db) => s.another({}, db).open(s.raise, ask),
      (lines) => {
        expect(count(lines, 'request.opened')).toBe(1)
        // Where the process died after the commit, a minute without a worker has passed since: the chain went on.
        expect(count(lines, 'tier.asked')).toBeLessThanOrEqual(1)
      }
    )
    expect(points).toBeGreaterThan(5)
  })

  it('at any point of an escalation leaves each tier asked once', async () => {
    const points = await survive(
      async (s, db) => {
        await s.open()
        await s.pass(0)
        await s.platform.clock.advance(2_000)
        await untilDead(s, runDuties(s.another({}, db)), db)
      },
      (lines) => {
        expect(count(lines, 'request.opened')).toBe(1)
        expect(count(lines, 'tier.asked')).toBe(1)
        expect(count(lines, 'invitation.delivered')).toBe(1)
      }
    )
    expect(points).toBeGreaterThan(15)
  })

  it('at any point of deciding leaves one verdict, with one record', async () => {
    const points = await survive(
      async (s, db) => {
        const { id } = await s.open()
        const ballot = { approver: 'ana', decision: 'approve', idempotencyKey: 'click-1' } as const
        const decided = await s.another({}, db).decide(id, ballot)
        expect(decided).toMatchObject({ outcome: 'recorded', verdict: { outcome: 'approved' } })
      },
      (lines) => {
        expect(count(lines, 'request.approved')).toBe(1)
      }
    )
    expect(points).toBeGreaterThan(6)
  })

  it('at any point of executing leaves the effect run at most once, or in doubt', async () => {
    let doubts = 0
    const points = await survive(
      async (s, db, ran) => {
        const request = await s.open()
        await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve', idempotencyKey: 'click-1' })
        const execution = await s
          .another({}, db)
          .request(s.raise, request.id)
          .execute(async () => {
            ran()
            return 1
          })
        expect(['executed', 'replayed', 'in-doubt']).toContain(execution.outcome)
        if (execution.outcome === 'in-doubt') doubts += 1
      },
      (lines, ran, crashed) => {
        expect(ran).toBeLessThanOrEqual(1)
        expect(count(lines, 'request.approved')).toBe(1)
        expect(count(lines, 'execution.started')).toBe(1)
        expect(count(lines, 'execution.executed') + count(lines, 'execution.in-doubt')).toBe(1)
        if (!crashed) expect(ran).toBe(1)
      }
    )
    expect(points).toBeGreaterThan(9)
    expect(doubts, 'some of the points are in the middle of the effect').toBeGreaterThan(0)
  })

  it('at any point of opening what is open already leaves one request, coalesced once', async () => {
    const points = await survive(
      async (s, db) => {
        const first = await s.open('call-1')
        const second = await s.another({}, db).open(s.raise, { ...ask, idempotencyKey: 'call-2' })
        expect(second.id).toBe(first.id)
      },
      (lines) => {
        expect(count(lines, 'request.opened')).toBe(1)
        expect(count(lines, 'request.coalesced')).toBe(1)
      },
      { policy: { ...calm, identical: 'coalesce' } }
    )
    expect(points).toBeGreaterThan(6)
  })

  it('at any point of an edit leaves one version more, on which everyone is asked once', async () => {
    const points = await survive(
      async (s, db) => {
        const { id } = await s.open()
        await runDuties(s.oversight)
        const { argumentHash } = await s.oversight.inspect(id)
        const edited = await s
          .another({}, db)
          .edit(id, { by: 'ana', detail: { limitMebibytes: 96 }, reason: 'enough', argumentHash })
        expect(['edited', 'unchanged']).toContain(edited.outcome)
      },
      async (lines, _ran, _crashed, s) => {
        expect(count(lines, 'request.edited')).toBe(1)
        const [request] = (await s.oversight.list({ tenant: ask.tenant })).requests
        expect(request).toMatchObject({ version: 2, detail: { limitMebibytes: 96 } })
        expect(request?.edits).toHaveLength(1)
        await runDuties(s.oversight)
        expect(count(await s.story(), 'invitation.delivered')).toBe(4)
      },
      { policy: calm }
    )
    expect(points).toBeGreaterThan(6)
  })

  it.each([
    ['a comment', 'request.commented'],
    ['a view', 'request.viewed'],
    ['a revocation', 'request.revoked'],
    ['a cancellation', 'request.cancelled'],
    ['a word on an execution in doubt', 'execution.executed']
  ] as const)('at any point of %s leaves it on record once', async (_what, action) => {
    const by = { by: 'ana', reason: 'as agreed' }
    const points = await survive(
      async (s, db) => {
        const request = await s.open()
        const { id } = request
        const dying = s.another({}, db)
        const approve = async (): Promise<void> => {
          for (const approver of ['ana', 'bo']) {
            await s.oversight.decide(id, { approver, decision: 'approve', idempotencyKey: approver })
          }
        }
        switch (action) {
          case 'request.commented':
            return dying.comment(id, { by: 'ana', text: 'see the ticket', idempotencyKey: 'note-1' })
          case 'request.viewed':
            return dying.viewed(id, { by: 'ana' })
          case 'request.cancelled':
            return dying.request(s.raise, id).cancel(by)
          case 'request.revoked':
            await approve()
            await dying.revoke(id, by)
            return expect(await request.execute(async () => 1)).toMatchObject({ outcome: 'not-approved' })
          case 'execution.executed':
            await approve()
            await request.execute(() => Promise.reject(new Error('the line went dead')))
            return dying.resolve(id, { ...by, outcome: 'executed', result: 1 })
        }
      },
      (lines) => expect(count(lines, action)).toBe(1),
      { policy: calm }
    )
    expect(points).toBeGreaterThan(4)
  })

  it('at any point of a delivery that goes on to another channel leaves each approver invited once, or twice at most', async () => {
    const reached: ScriptedChannel[] = []
    const points = await survive(
      async (s, db) => {
        await s.open()
        await untilDead(s, runDuties(s.another({}, db)), db)
      },
      async (lines, _ran, crashed, s) => {
        // What a dead process had claimed goes out when its lease has ended.
        for (let round = 0; round < 3; round++) await s.pass(30_000)
        expect(count(lines, 'request.opened')).toBe(1)
        expect(count(lines, 'tier.asked')).toBe(0)
        const told = await s.story()
        expect(count(told, 'invitation.unreachable')).toBe(1)
        expect(count(told, 'invitation.delivered')).toBe(2)
        const delivered = reached.at(-1)?.delivered ?? []
        const ids = new Set(delivered.map(({ id }) => id))
        expect(ids.size).toBe(1)
        expect(delivered.length).toBeLessThanOrEqual(crashed ? 2 : 1)
      },
      {
        policy: calm,
        channels: () => {
          const desk = channel()
          reached.push(desk)
          return { pager: channel(['ana']), desk }
        }
      }
    )
    expect(points).toBeGreaterThan(15)
  })

  it('at any point of using a standing grant leaves it used once, for one request', async () => {
    const terms = {
      tenant: ask.tenant,
      action: ACTION,
      riskMax: 'medium',
      issuedBy: 'ana',
      reason: 'routine',
      ttlMs: 600_000
    }
    const points = await survive(
      async (s, db) => {
        const { grants } = await s.oversight.grants.list({ tenant: ask.tenant })
        if (grants.length === 0) await s.oversight.grants.issue({ ...terms, riskMax: 'medium', usesMax: 1 })
        await s.another({}, db).open(s.raise, ask)
      },
      async (lines, _ran, _crashed, s) => {
        expect(count(lines, 'grant.used')).toBe(1)
        expect(count(lines, 'request.approved')).toBe(1)
        const other = await s.open('call-2')
        expect((await s.oversight.inspect(other.id)).status).toBe('pending')
      },
      { policy: { ...calm, standingGrants: 'accepted' } }
    )
    expect(points).toBeGreaterThan(8)
  })

  it('at any point of asking what became of an execution in doubt leaves the answer on record once', async () => {
    let asked = 0
    const points = await survive(
      async (s, db) => {
        const action = defineAction({
          name: ACTION,
          detail: raiseDetail,
          policy: { identical: 'separate', ...calm },
          async reconcile() {
            asked += 1
            return { outcome: 'executed', result: 7 }
          }
        })
        const living = s.another({ actions: [action] })
        const { id } = await living.open(action, ask)
        for (const approver of ['ana', 'bo']) {
          await living.decide(id, { approver, decision: 'approve', idempotencyKey: approver })
        }
        if ((await living.inspect(id)).execution.state === 'idle') {
          const broken = async (): Promise<never> => Promise.reject(new Error('the line went dead'))
          // Without the target's answer, so that it is the dying process that asks.
          await s.another().request(s.raise, id).execute(broken)
        }
        await untilDead(s, runDuties(s.another({ actions: [action] }, db)), db)
        await s.platform.clock.advance(60_000)
        await runDuties(living)
        expect(await living.request(action, id).execute(async () => 1)).toEqual({ outcome: 'replayed', result: 7 })
      },
      (lines) => {
        expect(count(lines, 'execution.started')).toBe(1)
        expect(count(lines, 'execution.in-doubt')).toBe(1)
        expect(count(lines, 'execution.executed')).toBe(1)
      },
      { policy: calm }
    )
    expect(points).toBeGreaterThan(8)
    expect(asked).toBeGreaterThan(points / 2)
  })

  it('at any point of the end of a chain leaves the final action taken once', async () => {
    const points = await survive(
      async (s, db) => {
        const alerts: string[] = []
        const alertOps = async ({ id }: { readonly id: string }): Promise<void> => void alerts.push(id)
        await s.open()
        await s.pass(0)
        await s.pass(2_000)
        await s.platform.clock.advance(120_000)
        await untilDead(s, runDuties(s.another({ alertOps }, db)), db)
      },
      (lines) => expect(count(lines, 'request.queued') + count(lines, 'request.denied')).toBe(1),
      { policy: patient }
    )
    expect(points).toBeGreaterThan(10)
  })
})

describe('a process that dies, on PGlite', () => {
  /** Each point needs a database of its own, which takes PGlite a while. */
  const onPgliteOnly = { open: onPglite, policy: calm, stride: Math.ceil(3 / Math.min(inject('scale'), 3)) }

  it('leaves one verdict and at most one execution', { timeout: 120_000 }, async () => {
    const points = await survive(
      async (s, db, ran) => {
        const dying = s.another({}, db)
        const { id } = await dying.open(s.raise, ask)
        for (const approver of ['ana', 'bo']) {
          await dying.decide(id, { approver, decision: 'approve', idempotencyKey: approver })
        }
        await dying.request(s.raise, id).execute(async () => {
          ran()
          return 1
        })
      },
      (lines, ran) => {
        expect(ran).toBeLessThanOrEqual(1)
        expect(count(lines, 'request.opened')).toBe(1)
        expect(count(lines, 'vote.recorded')).toBe(2)
        expect(count(lines, 'request.approved')).toBe(1)
        expect(count(lines, 'execution.started')).toBe(1)
        expect(count(lines, 'execution.executed') + count(lines, 'execution.in-doubt')).toBe(1)
      },
      onPgliteOnly
    )
    expect(points).toBeGreaterThan(30)
  })

  it('leaves each tier asked once', { timeout: 120_000 }, async () => {
    const points = await survive(
      async (s, db) => {
        await s.open()
        await s.pass(0)
        await s.platform.clock.advance(2_000)
        await untilDead(s, runDuties(s.another({}, db)), db)
      },
      (lines) => expect(count(lines, 'tier.asked')).toBe(1),
      { ...onPgliteOnly, policy: patient }
    )
    expect(points).toBeGreaterThan(15)
  })
})

describe('a store whose answers are lost', () => {
  /** Repeats a call as a caller does who was told that it may have been done, or was not. */
  async function insist<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call()
      } catch (error) {
        if (!isSuiteError(error, 'COMMIT_UNKNOWN') && !isSuiteError(error, 'STORE_UNAVAILABLE')) throw error
      }
    }
  }

  const lossyView = (db: SqlDatabase, plan: FaultPlan): SqlDatabase =>
    withFaults(db, plan, {
      operations: ['run'],
      failure: ({ effect }) =>
        effect === 'done'
          ? new CoreError('COMMIT_UNKNOWN', 'the reply was lost', { store: 'sqlite' })
          : new CoreError('STORE_UNAVAILABLE', 'the request was lost', { store: 'sqlite', operation: 'run' })
    })

  it('and that is away when asked again keeps no effect from being run', async () => {
    await using s = await stage(calm)
    const { id } = await s.open()
    for (const approver of ['ana', 'bo']) await s.oversight.decide(id, { approver, decision: 'approve' })
    const plan = createFaultPlan({
      platform: s.platform,
      faults: [
        { kind: 'drop', lose: 'reply', times: 1 },
        { kind: 'drop', lose: 'request', times: 1, fromMs: 1 }
      ]
    })
    const request = s.another({}, lossyView(s.db, plan)).request(s.raise, id)
    const executed = await untilDead(
      s,
      request.execute(async () => 1),
      s.db
    )
    expect(executed).toEqual({ outcome: 'executed', result: 1 })
  })

  const faults: readonly FaultRule[] = [
    { kind: 'drop', lose: 'reply', ratio: 0.2 },
    { kind: 'drop', lose: 'request', ratio: 0.1 },
    { kind: 'duplicate', ratio: 0.2 }
  ]
  const seeds = Array.from({ length: Math.ceil(5 * inject('scale')) }, (_, seed) => seed + 1)

  it.each(seeds)('holds one of everything whatever is repeated (chance %d)', async (seed) => {
    const platform = testPlatform({ seed })
    await using s = await stage(calm, { platform, channels: { pager: channel(['ana']), desk: channel() } })
    const plan = createFaultPlan({ platform, faults })
    const lossy = lossyView(s.db, plan)
    const caller = s.another({}, lossy)
    const [first, second] = await Promise.all([1, 2].map(() => insist(() => caller.open(s.raise, ask))))
    const id = first?.id ?? ''
    expect(second?.id).toBe(id)
    const rounds = async (): Promise<void> => {
      for (let round = 0; round < 6; round++) {
        await untilDead(
          s,
          runDuties(caller).catch(() => undefined),
          lossy
        )
        await platform.clock.advance(10_000)
      }
    }
    await rounds()
    // What was claimed by a unit whose reply was lost goes out when its lease has ended.
    for (let round = 0; round < 3; round++) await s.pass(30_000)
    await insist(() => caller.comment(id, { by: 'bo', text: 'see the ticket', idempotencyKey: 'note-1' }))
    await insist(() => caller.viewed(id, { by: 'bo' }))
    const votes = await Promise.all(
      ['ana', 'bo'].map((approver) =>
        insist(() => caller.decide(id, { approver, decision: 'approve', idempotencyKey: `click of ${approver}` }))
      )
    )
    expect(votes.map(({ outcome }) => outcome)).toEqual(['recorded', 'recorded'])

    let ran = 0
    const execute = async () => {
      const request = caller.request(s.raise, id)
      return request.execute(async () => {
        ran += 1
        return 1
      })
    }
    await Promise.all([1, 2, 3].map(() => untilDead(s, insist(execute), lossy)))
    await rounds()
    plan.clear()
    await platform.clock.advance(60_000)
    await runDuties(s.oversight)
    // A claim whose reply was lost is known by its name when it is asked for again, and is no doubt.
    expect(ran).toBe(1)
    const lines = await s.story()
    for (const action of ['request.opened', 'request.commented', 'request.viewed', 'request.approved']) {
      expect({ action, times: count(lines, action) }).toEqual({ action, times: 1 })
    }
    expect(count(lines, 'vote.recorded')).toBe(2)
    expect(count(lines, 'invitation.unreachable')).toBe(1)
    expect(count(lines, 'invitation.delivered')).toBe(2)
    expect(count(lines, 'execution.started')).toBe(1)
    expect(count(lines, 'execution.executed') + count(lines, 'execution.in-doubt')).toBeGreaterThanOrEqual(1)
  })
})
