import type { LookupFunction } from 'node:net'
import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import type { PartitionGuard } from '../partition/partition-guard.ts'
import { dispatchThroughGuard, type GuardedDispatch, type Passage } from './guarded-dispatch.ts'
import type { EgressRequest, EgressTreatment } from './http-request.ts'
import type { DispatchHandler, DispatchOptions, UndiciDispatcher, UndiciModule } from './undici.ts'

/** What undici's `Agent` takes. */
export type AgentOptions<Undici extends UndiciModule> = Undici['Agent'] extends new (
  options?: infer Options
) => unknown
  ? Exclude<Options, undefined>
  : never

export interface NetworkDispatcherOptions<Undici extends UndiciModule> {
  /** undici 8 itself: `import * as undici from 'undici'`. */
  readonly undici: Undici
  /** Holds requests through partitions. Without it a request that fails has failed. It is not closed with the dispatcher. */
  readonly guard?: PartitionGuard
  /** Resolves host names, as a resolver's `lookup` does; the system's unless given. Not with a `connect` function. */
  readonly lookup?: LookupFunction
  /** How connections are made: a function such as a certificate judge's `connect`, or options of undici's own. */
  readonly connect?: AgentOptions<Undici> extends { readonly connect?: infer Connect } ? NonNullable<Connect> : never
  /** Everything else about undici's `Agent`, such as `headersTimeout`, `connections`, `allowH2`. */
  readonly agent?: Omit<AgentOptions<Undici>, 'connect'>
  /** How a request is to be treated where its method and its headers do not say it. Asked once for each. */
  readonly treat?: (request: EgressRequest) => EgressTreatment | undefined
}

/** The same, where it does not matter whose undici it is. */
interface Settings {
  readonly undici: {
    readonly Agent: new (options: object) => UndiciDispatcher
    readonly Dispatcher: new () => UndiciDispatcher
    readonly Dispatcher1Wrapper: new (dispatcher: UndiciDispatcher) => UndiciDispatcher
    readonly errors: UndiciModule['errors']
  }
  readonly guard?: PartitionGuard
  readonly lookup?: LookupFunction
  readonly connect?: object
  readonly agent?: object
  readonly treat?: (request: EgressRequest) => EgressTreatment | undefined
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
const fn = <Type>(): z.ZodType<Type> => z.custom<Type>((value) => typeof value === 'function', 'must be a function')

const networkDispatcherOptions: z.ZodType<Settings> = z
  .strictObject({
    undici: z.custom<Settings['undici']>(
      (value) => isObject(value) && 'Agent' in value && 'Dispatcher' in value && 'Dispatcher1Wrapper' in value,
      'must be undici, of version 8'
    ),
    guard: z
      .custom<PartitionGuard>((value) => isObject(value) && 'send' in value, 'must be a partition guard')
      .exactOptional(),
    lookup: fn<LookupFunction>().exactOptional(),
    connect: z
      .custom<object>((value) => typeof value === 'function' || isObject(value), 'must be a function or options')
      .exactOptional(),
    agent: z
      .custom<object>(
        (value) => isObject(value) && !('connect' in value),
        'must be options of an Agent, without connect'
      )
      .exactOptional(),
    treat: fn<NonNullable<Settings['treat']>>().exactOptional()
  })
  .refine(({ lookup, connect }) => lookup === undefined || typeof connect !== 'function', {
    path: ['lookup'],
    message: 'has no effect beside a connect function, which resolves names itself'
  })

/**
 * A dispatcher for undici's `request`, `fetch` and `setGlobalDispatcher`, and for Node's own `fetch`, whose requests
 * outlive a partition. What cannot be answered fails with `REQUEST_REFUSED`, `REQUEST_EXPIRED` or `REPLY_LOST`
 * (`fetch` has them as `cause`), and everything else with what undici fails with.
 *
 * After a partition no connection from before is used again: it may be half open. A pooled connection that turns out to
 * be stale costs an idempotent request another attempt; any other gets `REPLY_LOST`, never a second sending.
 *
 * `close` lets requests come to their end, those that wait for the network too; `destroy` ends them. Throws
 * `INVALID_OPTIONS`.
 */
export function networkDispatcher<Undici extends UndiciModule>(
  options: NetworkDispatcherOptions<Undici>
): InstanceType<Undici['Dispatcher']> {
  const settings = parseOptions(networkDispatcherOptions, 'networkDispatcher', options)
  return createDispatcher(settings) as InstanceType<Undici['Dispatcher']>
}

function createDispatcher(settings: Settings): UndiciDispatcher {
  const { undici, guard } = settings
  const { ClientClosedError, ClientDestroyedError, InvalidArgumentError, RequestAbortedError } = undici.errors
  /** Of before a partition; they end when their last request has. */
  const retired = new Set<UndiciDispatcher>()
  /** Requests whose reply has not begun. */
  const unanswered = new Set<GuardedDispatch>()
  let agent = createAgent(settings)
  let partitions = guard?.partitions ?? 0
  let closing: Promise<void> | undefined
  let destroying: Promise<void> | undefined

  const agentNow = (): UndiciDispatcher => {
    const found = guard?.partitions ?? 0
    if (partitions === found || destroying !== undefined) return agent
    const old = agent
    retired.add(old)
    void ended(old).then(() => retired.delete(old))
    agent = createAgent(settings)
    partitions = found
    return agent
  }

  const passage: Passage | undefined =
    guard === undefined
      ? undefined
      : { guard, agent: agentNow, treat: settings.treat, aborted: () => new RequestAbortedError() }

  const close = async (): Promise<void> => {
    await Promise.all(Array.from(unanswered, ({ answered }) => answered))
    await Promise.all([agent, ...retired].map(ended))
  }

  const destroy = async (reason: Error): Promise<void> => {
    for (const { abort } of unanswered) abort(reason)
    await Promise.all([agent, ...retired].map((one) => one.destroy(reason)))
  }

  // A class, because undici's `compose`, `request` and the rest are methods of its base.
  class NetworkDispatcher extends undici.Dispatcher {
    /** For handlers of undici 7, such as those of Node 22's and 24's own `fetch`. */
    readonly #legacy = new undici.Dispatcher1Wrapper(this)

    override dispatch(options: DispatchOptions, handler: DispatchHandler): boolean {
      if (!isObject(handler)) throw new InvalidArgumentError('handler must be an object')
      if ('onConnect' in handler && !('onRequestStart' in handler)) return this.#legacy.dispatch(options, handler)
      // The agent says what is wrong with a request that is none.
      if (passage === undefined || !isObject(options)) return agent.dispatch(options, handler)
      if (closing !== undefined || destroying !== undefined) {
        handler.onResponseError?.(null as never, destroying ? new ClientDestroyedError() : new ClientClosedError())
        return true
      }
      const dispatched = dispatchThroughGuard(passage, options, handler)
      unanswered.add(dispatched)
      void dispatched.answered.then(() => unanswered.delete(dispatched))
      return true
    }

    override close(callback?: () => void): Promise<void> {
      closing ??= close()
      return told(closing, callback)
    }

    override destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> {
      destroying ??= destroy(error instanceof Error ? error : new ClientDestroyedError())
      return told(destroying, typeof error === 'function' ? error : callback)
    }
  }

  return new NetworkDispatcher()
}

function createAgent({ undici, lookup, connect, agent }: Settings): UndiciDispatcher {
  if (typeof connect === 'function') return new undici.Agent({ ...agent, connect })
  return new undici.Agent({ ...agent, connect: { ...connect, ...(lookup === undefined ? {} : { lookup }) } })
}

/** One that is closed or destroyed already is as good as closed. */
const ended = (agent: UndiciDispatcher): Promise<void> => agent.close().catch(() => undefined)

/** A callback or a promise, as undici's own have it. */
function told(over: Promise<void>, callback: (() => void) | undefined): Promise<void> {
  if (callback !== undefined) void over.then(callback)
  return over
}
