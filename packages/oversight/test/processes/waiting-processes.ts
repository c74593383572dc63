import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, childProcesses } from '@enablement/build/child-processes'
import { bundledProgram } from '@enablement/build/program'
import { sleep, systemClock } from '@enablement/core'
import { createAuditLog } from '@enablement/core/audit'
import { firstRow, integerOf, type SqlDatabase } from '@enablement/core/sql'
import type { RecordedEntry, RequestRecord } from '@enablement/oversight'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { expect } from 'vitest'
import { askedIn } from '../stage.ts'
import { migrated } from './contest-store.ts'
import type { Address } from './database-at.ts'
import { chainsOn, TIERS } from './waiting.ts'
import { fileWitness, type Witness } from './witness.ts'

/** What a process is started with. */
export interface WaitingChildCall {
  readonly address: Address
  readonly log: string
  readonly waitMs: number
}

/**
 * A worker that is up takes a tier on when it is due, give or take what a busy machine does to its timers. One that waits for
 * something else, such as a lease of 30 s that a dead process left behind, comes later than this.
 */
const LATE_MAX_MS = 5_000
/** The longest waits that are tried before the machine counts as too slow to be killed on in time. */
const WAIT_MAX_MS = 10_000

/**
 * Lets chains of three tiers, of which two cannot be reached, go to their end while the process that takes them on is killed
 * in the middle of every wait and started again, and looks at what was asked and when. On a machine so slow that a kill
 * misses its wait, waits are doubled.
 */
export async function surviveKillsWhileWaiting(db: SqlDatabase, address: Address, folder: string): Promise<void> {
  await migrated(db)
  const program = await bundledProgram(join(import.meta.dirname, 'waiting-child.ts'), folder)
  for (let waitMs = 800; waitMs <= WAIT_MAX_MS; waitMs *= 2) {
    if (await killedInEveryWait(db, { address, log: join(folder, `waits-${waitMs}.log`), waitMs }, program)) return
  }
  throw new Error(`no process could be killed within a wait of ${WAIT_MAX_MS} ms`)
}

/** Whether each kill came in the middle of its wait. What is left of chains is looked at if so. */
async function killedInEveryWait(db: SqlDatabase, call: WaitingChildCall, program: string): Promise<boolean> {
  const { log, waitMs } = call
  writeFileSync(log, '')
  const witness = fileWitness(log)
  const store = sqlOversightStore(db, { audit: createAuditLog({ db }) })
  const { oversight, denied, alerted } = chainsOn(store, waitMs, witness)
  const children = childProcesses()
  const start = async (): Promise<Child> => {
    const child = children.start(program, [JSON.stringify(call)])
    await child.said('up')
    return child
  }
  let child = await start()
  const opened = await Promise.all(
    [denied, alerted].map((action) =>
      oversight.open(action, { ...ask, idempotencyKey: `${action.name} ${waitMs}`, detail: {} })
    )
  )
  const found = (): Promise<readonly RequestRecord[]> =>
    Promise.all(opened.map(async ({ id }) => (await store.find(id)) as RequestRecord))
  /** Looks again and again until all are as told. */
  const until = async (holds: (request: RequestRecord) => boolean): Promise<void> => {
    while (!(await found()).every(holds)) {
      expect(child.hasEnded()).toBe(false)
      await sleep(systemClock, 10)
    }
  }
  try {
    for (const [tier] of TIERS.entries()) {
      // Its invitation has been answered, or the dead process would hold on to that until its lease runs out.
      await until((request) => request.tier > tier || (request.tier === tier && isAnswered(request)))
      await child.end('SIGKILL')
      const now = await storeNow(db)
      if (!(await found()).every((request) => request.tier === tier && now < (request.tierEndsAt ?? 0))) return false
      child = await start()
    }
    await until(({ status, queued }) => status !== 'pending' || queued)
    while (!witness.lines().some(([word]) => word === 'alert')) await sleep(systemClock, 10)
    await child.end('SIGTERM')
  } finally {
    await children.endAll()
  }
  for (const request of await found()) {
    const { entries } = await oversight.story(request.id)
    checkChain(request, entries, witness)
  }
  return true
}

const ask = { tenant: 'acme', requestedBy: { agent: 'agent-7' }, summary: 'Somebody has to say something' } as const

const isAnswered = ({ tier, invitations }: RequestRecord): boolean =>
  invitations.every((invitation) => invitation.tier !== tier || invitation.state !== 'queued')

async function storeNow(db: SqlDatabase): Promise<number> {
  return integerOf((await db.run(() => firstRow(`select ${db.dialect.now} as now`))) ?? {}, 'now')
}

/** Each tier was asked once, when the one before had had its time, and the end came once. */
function checkChain(request: RequestRecord, entries: readonly RecordedEntry[], witness: Witness): void {
  const { id, action } = request
  const of = (...actions: readonly string[]) => entries.filter((entry) => actions.includes(entry.action))
  const asked = entries.map(askedIn).filter((found) => found !== undefined)
  expect(asked.map(({ tier }) => tier)).toEqual([0, 1, 2])
  expect(of('tier.started-late')).toEqual([])
  const [end, ...others] = of('request.denied', 'request.queued')
  expect(others).toEqual([])
  expect(end).toMatchObject({
    actor: 'system:escalation',
    action: action === 'chain.denied' ? 'request.denied' : 'request.queued'
  })

  const looks = witness.lines().filter(([word]) => word === 'looked')
  const due = asked.map(({ endsAt }) => Number(endsAt))
  // The instants are the store's: those of the log would be the process's.
  const [passed] = of('tier.passed')
  const exhaustedAt = (due[2] ?? 0) + Number(passed?.detail?.['lateByMs'])
  const done = [...request.seats.slice(1).map(({ askedAt }) => askedAt), exhaustedAt]
  for (const [tier, at] of done.entries()) {
    const dueAt = due[tier] ?? 0
    expect(at).toBeGreaterThanOrEqual(dueAt)
    expect(at - dueAt).toBeLessThan(LATE_MAX_MS)
    // The first look after the end of its wait took it on.
    expect(looks.filter(([, from, until]) => Number(from) >= dueAt && Number(until) < at)).toEqual([])
  }

  const told = witness.lines().filter(([, about]) => about === id)
  expect(told).toEqual([
    ...TIERS.map((approver) => ['invited', id, approver]),
    ...(action === 'chain.alerted' ? [['alert', id, 'exhausted']] : [])
  ])
}
