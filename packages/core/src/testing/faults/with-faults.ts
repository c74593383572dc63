import { sleep } from '../../time/sleep.ts'
import type { Fault } from './fault.ts'
import { type FaultPlan, type FaultTarget, systemError } from './fault-plan.ts'

/** A call that a fault made fail. */
export interface FailedCall {
  readonly operation: string
  /** Whether the port had done it. */
  readonly effect: 'none' | 'done'
  readonly fault: Fault
}

const PORT: FaultTarget = {
  what: 'a port',
  request: ['latency', 'error', 'reset', 'hang', 'drop', 'duplicate', 'partition'],
  reply: ['drop', 'partition']
}

/**
 * A port whose calls fail as a plan says; `only` in its rules names operations. `latency` delays the call; `error`,
 * `reset`, `partition` and a lost request reject it and nothing is done; a lost reply rejects it when it has been done, as
 * does a partition that begins meanwhile; `hang` leaves it unsettled and undone; `duplicate` does it twice and gives what
 * the first one came to.
 *
 * `operations` are the asynchronous methods, by default all of the port's but `close`: name them where there are others.
 * `failure` makes what is thrown, so that it can be what the port promises to throw; without it that is an `Error` with
 * Node's code: `ECONNRESET`, for a partition `EHOSTUNREACH`, for `error` its own.
 */
export function withFaults<Port extends object>(
  port: Port,
  plan: FaultPlan,
  options: {
    readonly operations?: readonly (keyof Port & string)[]
    readonly failure?: (failed: FailedCall) => unknown
  } = {}
): Port {
  const { operations, failure = failureOf } = options
  const isFaulty = (name: string): boolean =>
    (operations as readonly string[] | undefined)?.includes(name) ?? name !== 'close'

  const called = async (operation: string, call: () => unknown): Promise<unknown> => {
    const names = [operation]
    const request = plan.strike({ names, leg: 'request', target: PORT })
    if (request.delayMs > 0) await sleep(plan.platform.clock, request.delayMs)
    if (request.end?.kind === 'hang') return new Promise(() => {})
    if (request.end !== undefined) throw failure({ operation, effect: 'none', fault: request.end })
    const ends = await Promise.allSettled(request.duplicate ? [begun(call), begun(call)] : [begun(call)])
    const reply = plan.strike({ names, leg: 'reply', target: PORT })
    if (reply.end !== undefined) throw failure({ operation, effect: 'done', fault: reply.end })
    const [end] = ends as [PromiseSettledResult<unknown>]
    if (end.status === 'rejected') throw end.reason
    return end.value
  }

  return new Proxy(port, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      // On the port itself: behind a proxy a class does not find its private fields.
      const bound = (...args: unknown[]): unknown => Reflect.apply(value, target, args)
      return typeof key === 'string' && isFaulty(key)
        ? (...args: unknown[]) => called(key, () => bound(...args))
        : bound
    }
  })
}

const begun = async (call: () => unknown): Promise<unknown> => call()

function failureOf({ operation, fault }: FailedCall): unknown {
  if (fault.kind === 'error') return systemError(fault.code, operation)
  return systemError(fault.kind === 'partition' ? 'EHOSTUNREACH' : 'ECONNRESET', operation)
}
