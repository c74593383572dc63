import { type Platform, parseOptions, type Requester } from '@enablement/core'
import { z } from 'zod'
import { type Action, isAction } from './action/action.ts'
import type { AgentControl, AlertOps } from './channel/agent-control.ts'
import type { Channel } from './channel/channel.ts'
import type { ApproverDirectory } from './directory/approver-directory.ts'
import { identitySchema } from './directory/identity.ts'
import type { OversightEvent } from './oversight-event.ts'
import type { OversightStore } from './oversight-store.ts'
import type { OnTimeout } from './policy/on-timeout.ts'
import { channelsIn } from './policy/policy.ts'
import { isAtLeast } from './policy/risk.ts'

export interface OversightOptions {
  /** A store has one `createOversight` in a process. */
  readonly store: OversightStore
  /** Everything that may be asked for. Their policies name the channels and approvers. */
  readonly actions: readonly Action[]
  /** By the names that policies use. Every worker of the store needs them all. */
  readonly channels: { readonly [name: string]: Channel }
  /**
   * Knows people, groups and on-call schedules. Without it an approver's id serves as name and as address on every
   * channel, and policies name people alone.
   */
  readonly directory?: ApproverDirectory
  /** The host of agents, which resumes or ends those whose requests have ended. Without it they wait with `settled`. */
  readonly agentControl?: AgentControl
  /** What a request of this agent does at its deadline, where it does not say so itself; the policy's word otherwise. */
  readonly agentTimeout?: (requestedBy: Requester) => OnTimeout | undefined
  /** Pages those who run the place. Needed where a policy says `alert-ops` or `autoApprove`. */
  readonly alertOps?: AlertOps
  /**
   * Whether policies may approve what nobody decided: `forbidden` unless given, whatever they say. A function is asked each
   * time, so that one flag turns them all into denials.
   */
  readonly autoApproval?: 'allowed' | 'forbidden' | (() => boolean)
  /**
   * Is told of every fact after its commit, and of failures. What it throws is dropped: a report must not stop the
   * work.
   */
  readonly observe?: (event: OversightEvent) => void
  readonly platform?: Platform
  /** How often `settled` looks into the store for what other processes decided. 500 ms unless given. */
  readonly pollMs?: number
  /**
   * After how long without a sign of life an executor counts as lost and its execution as in doubt; it renews at a
   * third of this. 30 s unless given. Longer than any pause of the process (garbage collection, a suspended machine).
   */
  readonly executionLeaseMs?: number
}

/** An hour: what waits longer for one poll or one sign of life has been forgotten. */
const INTERVAL_MAX_MS = 3_600_000

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null
const isFunction = (value: unknown): boolean => typeof value === 'function'
const hasMethods = (value: unknown, ...names: readonly string[]): boolean =>
  isObject(value) && names.every((name) => isFunction((value as { readonly [key: string]: unknown })[name]))

// `custom` keeps what is the caller's own as it is: an object schema would copy it and lose its methods.
const optionsSchema: z.ZodType<OversightOptions> = z
  .strictObject({
    store: z.custom<OversightStore>(
      (value) => hasMethods(value, 'open', 'find', 'change', 'changeDue', 'list', 'deliverThrough'),
      { message: 'must be an oversight store' }
    ),
    actions: z.array(z.custom<Action>(isAction, 'must come from defineAction')).min(1),
    channels: z.record(
      identitySchema,
      z.custom<Channel>((value) => hasMethods(value, 'deliver'), 'must have a method deliver')
    ),
    directory: z
      .custom<ApproverDirectory>((value) => hasMethods(value, 'find'), 'must have a method find')
      .exactOptional(),
    agentControl: z
      .custom<AgentControl>((value) => hasMethods(value, 'resume', 'terminate'), 'must have resume and terminate')
      .exactOptional(),
    agentTimeout: z
      .custom<NonNullable<OversightOptions['agentTimeout']>>(isFunction, 'must be a function')
      .exactOptional(),
    alertOps: z.custom<AlertOps>(isFunction, 'must be a function').exactOptional(),
    autoApproval: z
      .union([z.enum(['allowed', 'forbidden']), z.custom<() => boolean>(isFunction, 'must be a function')])
      .exactOptional(),
    observe: z.custom<(event: OversightEvent) => void>(isFunction, 'must be a function').exactOptional(),
    platform: z.custom<Platform>(isObject, 'must be a platform').exactOptional(),
    pollMs: z.int().min(1).max(INTERVAL_MAX_MS).exactOptional(),
    executionLeaseMs: z.int().min(100).max(INTERVAL_MAX_MS).exactOptional()
  })
  .check(({ value, issues }) => {
    const refuse = (path: PropertyKey[], input: unknown, message: string): void => {
      issues.push({ code: 'custom', input, path, message })
    }
    for (const [at, action] of value.actions.entries()) {
      if (value.actions.findIndex(({ name }) => name === action.name) !== at) {
        refuse(['actions', at, 'name'], action.name, 'is defined twice')
      }
      checkPolicy(action, value, (path, input, message) => refuse(['actions', at, ...path], input, message))
    }
  })

/** Checks a policy against what else is given: channels, the directory, and the ports that its words need. */
function checkPolicy(
  { policy, risk = 'medium', reversible = false }: Action,
  { channels, directory, agentControl, alertOps, autoApproval = 'forbidden' }: OversightOptions,
  refuse: (path: PropertyKey[], input: unknown, message: string) => void
): void {
  for (const [tier, { approvers, channels: entries }] of policy.tiers.entries()) {
    const at = (...path: PropertyKey[]): PropertyKey[] => ['policy', 'tiers', tier, ...path]
    for (const [index, entry] of entries.entries()) {
      for (const name of channelsIn(entry)) {
        if (!Object.hasOwn(channels, name)) refuse(at('channels', index), name, 'names a channel that was not given')
      }
    }
    for (const [index, ref] of approvers.entries()) {
      if (typeof ref === 'string') continue
      const method = 'group' in ref ? 'members' : 'onCall'
      if (directory?.[method] === undefined) refuse(at('approvers', index), ref, `needs a directory with ${method}`)
    }
  }
  const { onExhausted, onTimeout = 'resume' } = policy
  if (onExhausted !== 'deny' && onExhausted !== 'queue' && alertOps === undefined) {
    refuse(['policy', 'onExhausted'], onExhausted, 'needs alertOps')
  }
  if (typeof onExhausted !== 'string') {
    const path = ['policy', 'onExhausted', 'autoApprove']
    if (autoApproval === 'forbidden') refuse(path, onExhausted, "needs autoApproval: 'allowed'")
    if (!reversible) refuse(path, onExhausted, 'needs an action that is reversible')
    if (!isAtLeast(onExhausted.autoApprove.riskMax, risk))
      refuse(path, onExhausted, `allows less than the risk ${risk}`)
  }
  const end = typeof onTimeout === 'string' ? onTimeout : onTimeout.afterwards
  if (end === 'terminate' && agentControl === undefined)
    refuse(['policy', 'onTimeout'], onTimeout, 'needs agentControl')
}

/** The options as they are used. Throws `INVALID_OPTIONS` (core). */
export function checkOptions(options: OversightOptions): OversightOptions {
  return parseOptions(optionsSchema, 'createOversight', options)
}
