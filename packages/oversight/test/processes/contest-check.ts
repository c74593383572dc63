import type { RequestRecord } from '@enablement/oversight'
import { expect } from 'vitest'
import { APPROVERS, agreed, type Contested, disputed } from './contest.ts'
import type { Witness } from './witness.ts'

/** What the store and its log say in the end. */
export interface Outcome {
  readonly requests: readonly RequestRecord[]
  readonly entries: readonly { readonly action: string; readonly actor: string; readonly subject: string }[]
}

/** What happened to one request. */
export interface Tally {
  readonly executed: number
  readonly inDoubt: number
  readonly denied: number
}

/** Deliveries that a process has under way at most: what its death may repeat. */
const UNDER_WAY_MAX = 64

/** Holds what the store and the log say against what deciders were told, and against what their effects did. */
export function checkContest(
  { requests, entries }: Outcome,
  witness: Witness,
  { contested, kills }: { readonly contested: Contested; readonly kills: number }
): Tally {
  const told = tellingsOf(witness)
  const recorded = new Map<string, number>()
  for (const { action, actor, subject } of entries) {
    const id = /^request:([^/]+)/.exec(subject)?.[1] ?? ''
    for (const key of [`${action} ${id}`, `${action} ${id} ${actor}`]) recorded.set(key, (recorded.get(key) ?? 0) + 1)
  }
  const count = (action: string, { id }: RequestRecord, approver?: string): number =>
    recorded.get(`${action} ${id}${approver === undefined ? '' : ` approver:${approver}`}`) ?? 0

  const ofAction = (name: string) => requests.filter(({ action }) => action === name)
  expect(ofAction(agreed.name)).toHaveLength(contested.agreed)
  expect(ofAction(disputed.name)).toHaveLength(contested.disputed)
  expect(ofAction(agreed.name).every(({ status }) => status === 'approved')).toBe(true)

  let repeated = 0
  let delivered = 0
  for (const request of requests) {
    const { id, status, execution, invitations } = request
    // One verdict, one record of it.
    expect(['approved', 'denied']).toContain(status)
    const verdicts = { approved: count('request.approved', request), denied: count('request.denied', request) }
    expect(verdicts).toEqual({ approved: 0, denied: 0, [status]: 1 })
    expect(count('request.opened', request)).toBe(1)
    expect(count('tier.asked', request)).toBe(0)

    for (const approver of APPROVERS) {
      const asked = told.get(`asks ${id} ${approver}`).length
      const answers = told.get(`told ${id} ${approver}`).map(([outcome]) => outcome)
      const votes = count('vote.recorded', request, approver)
      const late = count('vote.too-late', request, approver)
      // Whoever asks again is told the same again, and each was told in the end.
      expect(new Set(answers).size, `${approver} on ${id} was told ${answers.join(', ')}`).toBe(1)
      expect(answers[0]).toBe(votes === 1 ? 'recorded' : 'too-late')
      expect(votes + Math.min(late, 1), `${votes} votes and ${late} late ones of ${approver} on ${id}`).toBe(1)
      if (votes === 1) continue
      // A late vote leaves a record each time that it is cast; of those whose answer was lost with the process nobody knows.
      expect(late).toBeGreaterThanOrEqual(answers.length)
      expect(late).toBeLessThanOrEqual(asked)
    }
    expect(count('vote.refused', request)).toBe(0)

    // Nothing ran twice, and what the record says is what really happened.
    const begun = told.get(`begin ${id}`)
    const ended = told.get(`end ${id}`)
    expect(begun.length, `effects of ${id}`).toBeLessThanOrEqual(1)
    expect(ended.length).toBeLessThanOrEqual(begun.length)
    if (status === 'denied') {
      expect(begun).toEqual([])
      expect(execution).toEqual({ state: 'idle', fence: 0 })
    } else {
      expect(['executed', 'in-doubt']).toContain(execution.state)
      expect(execution.fence).toBe(1)
      expect(count('execution.started', request)).toBe(1)
      expect(count('execution.executed', request)).toBe(execution.state === 'executed' ? 1 : 0)
      // An executor that outlives its lease on a busy machine resolves the doubt by its report.
      const doubts = count('execution.in-doubt', request)
      expect(doubts).toBeLessThanOrEqual(1)
      if (execution.state === 'executed') expect(ended).toEqual([['1']])
      else expect(doubts).toBe(1)
    }
    const executions = APPROVERS.flatMap((_, at) => told.get(`execution ${id} slot-${at}`))
    expect(executions.filter(([outcome]) => outcome === 'executed').length).toBeLessThanOrEqual(1)
    expect(executions.map(([outcome]) => outcome)).not.toContain('not-approved')
    const results = executions.filter(([outcome]) => outcome === 'executed' || outcome === 'replayed')
    if (execution.state === 'executed') {
      for (const [, ...result] of results) expect(JSON.stringify(result.join(' '))).toBe(execution.result)
    } else {
      expect(results).toEqual([])
    }

    // Everyone was invited at least once, unless it had ended before.
    expect(invitations).toHaveLength(APPROVERS.length)
    for (const { id: invitationId, state, approver } of invitations) {
      const times = told.get(`invited ${invitationId}`).length
      expect(['delivered', 'queued']).toContain(state)
      if (state === 'delivered') {
        expect(times).toBeGreaterThanOrEqual(1)
        expect(told.get(`updated ${id} ${approver}`).length, 'the verdict reaches whoever was invited').toBeGreaterThan(
          0
        )
      }
      expect(times).toBeLessThanOrEqual(1 + kills)
      delivered += state === 'delivered' ? 1 : 0
      repeated += state === 'delivered' ? times - 1 : times
    }
  }
  expect(delivered).toBeGreaterThan(0)
  expect(repeated, 'a process that died may have delivered what nobody heard of').toBeLessThanOrEqual(
    kills * UNDER_WAY_MAX
  )
  const inState = (state: string): number => requests.filter(({ execution }) => execution.state === state).length
  return {
    executed: inState('executed'),
    inDoubt: inState('in-doubt'),
    denied: requests.filter(({ status }) => status === 'denied').length
  }
}

/** The rests of the witness's lines, by how they begin: `word id` and `word id name`. */
function tellingsOf(witness: Witness): { get(beginning: string): readonly (readonly string[])[] } {
  const found = new Map<string, string[][]>()
  const add = (beginning: string, rest: string[]): void => {
    const known = found.get(beginning)
    if (known === undefined) found.set(beginning, [rest])
    else known.push(rest)
  }
  for (const [word, id, name, ...rest] of witness.lines()) {
    add(`${word} ${id}`, [...(name === undefined ? [] : [name]), ...rest])
    if (name !== undefined) add(`${word} ${id} ${name}`, rest)
  }
  return { get: (beginning) => found.get(beginning) ?? [] }
}
