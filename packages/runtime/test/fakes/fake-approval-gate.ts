import type { ApprovalAsk, ApprovalGate, Execution, JsonValue, Verdict } from '@enablement/core'

/** An approval gate that a test decides by hand. It outlives the runtimes that ask it, as a real one does. */
export interface FakeApprovalGate extends ApprovalGate {
  /** Every request that was opened, once each. */
  readonly asks: readonly ApprovalAsk[]
  /** How often an effect was started. */
  readonly executions: number
  approve(requestId: string): void
  deny(requestId: string, reason?: string): void
  lapse(requestId: string): void
  /** The next effect is lost half-way: it runs if `ran`, and the gate never hears of it. */
  loseNextExecution(options: { readonly ran: boolean }): void
}

export function fakeApprovalGate(): FakeApprovalGate {
  const asks = new Map<string, ApprovalAsk>()
  const verdicts = new Map<string, Verdict>()
  const results = new Map<string, JsonValue>()
  const inDoubt = new Set<string>()
  const waiting = new Map<string, Set<() => void>>()
  let executions = 0
  let losing: { readonly ran: boolean } | undefined

  const decide = (verdict: Verdict): void => {
    verdicts.set(verdict.requestId, verdict)
    for (const wake of waiting.get(verdict.requestId) ?? []) wake()
    waiting.delete(verdict.requestId)
  }

  return {
    get asks() {
      return [...asks.values()]
    },
    get executions() {
      return executions
    },
    approve: (requestId) => decide({ outcome: 'approved', requestId, by: 'bo', decidedAt: 1 }),
    deny: (requestId, reason = 'no') => decide({ outcome: 'denied', requestId, by: 'bo', reason, decidedAt: 2 }),
    lapse: (requestId) => decide({ outcome: 'timed-out', requestId, decidedAt: 3 }),
    loseNextExecution: (how) => {
      losing = how
    },
    async request(ask) {
      const id = `request:${ask.idempotencyKey}`
      if (!asks.has(id)) asks.set(id, ask)
      return { id }
    },
    settled: (id, { signal } = {}) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason as Error)
        const known = verdicts.get(id)
        if (known !== undefined) return resolve(known)
        const onAbort = (): void => {
          waiting.get(id)?.delete(wake)
          reject(signal?.reason as Error)
        }
        const wake = (): void => {
          signal?.removeEventListener('abort', onAbort)
          resolve(verdicts.get(id) as Verdict)
        }
        signal?.addEventListener('abort', onAbort, { once: true })
        waiting.set(id, (waiting.get(id) ?? new Set()).add(wake))
      }),
    async execute<Result extends JsonValue>(
      id: string,
      effect: (grant: Parameters<Parameters<ApprovalGate['execute']>[1]>[0]) => Promise<Result>
    ): Promise<Execution<Result>> {
      const verdict = verdicts.get(id)
      if (verdict === undefined) return { outcome: 'not-approved', status: 'pending' }
      if (verdict.outcome !== 'approved') return { outcome: 'not-approved', status: verdict.outcome }
      if (results.has(id)) return { outcome: 'replayed', result: results.get(id) as Result }
      if (inDoubt.has(id)) return { outcome: 'in-doubt', since: 1 }
      const detail = asks.get(id)?.detail ?? {}
      inDoubt.add(id)
      if (losing !== undefined) {
        const { ran } = losing
        losing = undefined
        if (ran) await effect({ requestId: id, detail, idempotencyKey: id, fence: 1 })
        throw new Error('the executor was lost')
      }
      executions += 1
      const result = await effect({ requestId: id, detail, idempotencyKey: id, fence: executions })
      inDoubt.delete(id)
      results.set(id, result)
      return { outcome: 'executed', result }
    }
  }
}
