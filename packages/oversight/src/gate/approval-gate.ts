import type { ApprovalAsk, ApprovalGate, Execution, JsonValue } from '@enablement/core'

/** The calls of oversight that the gate is made of, by the action's name instead of its definition. */
interface GateCalls {
  open(ask: ApprovalAsk): Promise<{ readonly id: string }>
  settled: ApprovalGate['settled']
  execute: ApprovalGate['execute']
}

/**
 * Answers core's seam, through which runtime, metering and whoever else is not to know oversight ask for approval. The
 * ask's action must be one that `createOversight` was given; its detail goes through that action's schema.
 */
export function approvalGate(calls: GateCalls): ApprovalGate {
  return {
    async request(ask) {
      const { id } = await calls.open(ask)
      return { id }
    },
    settled: (id, options) => calls.settled(id, options),
    execute: <Result extends JsonValue>(
      id: string,
      effect: Parameters<typeof calls.execute<Result>>[1]
    ): Promise<Execution<Result>> => calls.execute(id, effect)
  }
}
