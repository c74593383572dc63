import type { SqlDatabase } from '@enablement/core/sql'
import { crashPoints, SimulatedCrash, unlessCrashed } from '@enablement/core/testing'
import type { ApprovalPolicy } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ask, channel, runDuties, stage } from './stage.ts'

/** The second tier has the time that a lost delivery takes to go out again. */
const patient: ApprovalPolicy = {
  tiers: [
    { approvers: ['ana'], channels: ['pager'], waitMs: 2_000 },
    { approvers: ['bo'], channels: ['desk'], waitMs: 120_000 }
  ],
  onExhausted: 'deny'
}

/** The process does this until it dies, and a process that is started again does it from the start. */
type Script = (s: Awaited<ReturnType<typeof stage>>, db: SqlDatabase, ran: () => void) => Promise<unknown>

/** Lets a process die at every point of `script` in turn, restarts it, and looks at what the store holds in the end. */
async function survive(
  script: Script,
  check: (lines: readonly string[], ran: number, crashed: boolean) => void
): Promise<number> {
  for (let at = 0; ; at++) {
    await using s = await stage(patient, { channels: { pager: channel(['ana']), desk: channel() } })
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
    }
    check(await s.story(), ran, crashed !== undefined)
    if (dying.crashed === undefined) return at
  }
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
        expect(count(lines, 'tier.asked') - count(lines, 'tier.passed')).toBe(1)
      }
    )
    expect(points).toBeGreaterThan(6)
  })

  it('at any point of an escalation leaves each tier asked once', async () => {
    const points = await survive(
      async (s, db) => {
        await s.open()
        await s.pass(0)
        await s.platform.clock.advance(2_000)
        await runDuties(s.another({}, db))
      },
      (lines) => {
        expect(count(lines, 'tier.asked')).toBe(2)
        expect(count(lines, 'tier.passed')).toBe(1)
        expect(count(lines, 'invitation.delivered')).toBe(1)
      }
    )
    expect(points).toBeGreaterThan(20)
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
    expect(points).toBeGreaterThan(9)
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
    expect(points).toBeGreaterThan(15)
    expect(doubts, 'some of the points are in the middle of the effect').toBeGreaterThan(0)
  })
})
