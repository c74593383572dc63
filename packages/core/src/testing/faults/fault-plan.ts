import { z } from 'zod'
import { CoreError } from '../../failure/core-error.ts'
import { parseOptions } from '../../failure/options.ts'
import type { Platform } from '../../platform.ts'
import type { Fault, FaultKind, FaultRule } from './fault.ts'

/** More are a loop that adds them and never takes them back. */
const RULES_MAX = 1_000

/** Where a call is when faults strike it. */
export interface FaultPoint {
  /** What `FaultRule.only` is compared with. */
  readonly names: readonly string[]
  readonly leg: 'request' | 'reply'
  readonly target: FaultTarget
}

/** What is struck, and which kinds of faults it can have on which leg. */
export interface FaultTarget {
  readonly what: string
  readonly request: readonly FaultKind[]
  readonly reply: readonly FaultKind[]
  /** All names that a rule's `only` can mean there; any, unless given. */
  readonly names?: readonly string[]
}

/** What struck. */
export interface Strike {
  /** How much longer it takes. */
  readonly delayMs: number
  /**
   * What keeps it from ending as it should: a partition, behind which nothing else is drawn, or the first rule of another
   * such kind in the plan's order, behind which no other such rule is drawn or counted.
   */
  readonly end: Exclude<Fault, { readonly kind: 'latency' | 'duplicate' | 'slice' }> | undefined
  readonly duplicate: boolean
  readonly slice: Extract<Fault, { readonly kind: 'slice' }> | undefined
}

/** Faults to come. One plan serves a simulated network, a wrapped port, a simulated disk and a real proxy alike. */
export interface FaultPlan {
  readonly platform: Platform
  /** Adds a rule, at the end; the result takes it back. Throws `INVALID_OPTIONS`, and `OVERLOADED` beyond 1,000. */
  add(rule: FaultRule): () => void
  /** Takes all back. */
  clear(): void
  /** Draws what strikes at a point. Throws `INVALID_OPTIONS` for a kind that cannot strike there. */
  strike(point: FaultPoint): Strike
}

export interface FaultPlanOptions {
  /** Its clock says when rules strike, and passes their delays; its chance says which calls they strike. */
  readonly platform: Platform
  readonly faults?: readonly FaultRule[]
  readonly target?: FaultTarget
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

const planOptions: z.ZodType<FaultPlanOptions> = z.strictObject({
  platform: z.custom<Platform>(isObject),
  // Each is checked when it is added.
  faults: z.custom<readonly FaultRule[]>(Array.isArray).exactOptional(),
  target: z.custom<FaultTarget>(isObject).exactOptional()
})

const durationMs = z.number().min(0).max(86_400_000)

const when = {
  fromMs: z.number().min(0).optional(),
  untilMs: z.number().min(0).optional(),
  ratio: z.number().gt(0).max(1).optional(),
  times: z.int().min(1).optional(),
  only: z.array(z.string().min(1)).min(1).optional()
}

const faultRule = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('latency'), latencyMs: durationMs, jitterMs: durationMs.optional(), ...when }),
    z.strictObject({ kind: z.literal('error'), code: z.string().min(1).max(100), ...when }),
    z.strictObject({ kind: z.literal('reset'), ...when }),
    z.strictObject({ kind: z.literal('hang'), ...when }),
    z.strictObject({ kind: z.literal('drop'), lose: z.enum(['request', 'reply']), ...when }),
    z.strictObject({ kind: z.literal('duplicate'), ...when }),
    z.strictObject({
      kind: z.literal('slice'),
      sliceMaxBytes: z.int().min(1),
      delayMs: durationMs.optional(),
      ...when
    }),
    z.strictObject({ kind: z.literal('partition'), ...when })
  ])
  .refine(({ fromMs = 0, untilMs = Number.POSITIVE_INFINITY }) => fromMs < untilMs, {
    path: ['untilMs'],
    message: 'must be after fromMs'
  })

interface Entry {
  readonly rule: FaultRule
  struck: number
}

/**
 * A plan whose time begins now. With a `target`, rules that cannot strike it are refused when they are added, and not only
 * when they would strike. Throws `INVALID_OPTIONS`.
 */
export function createFaultPlan(options: FaultPlanOptions): FaultPlan {
  const { platform, faults = [], target: own } = parseOptions(planOptions, 'createFaultPlan', options)
  const startedAt = platform.clock.monotonic()
  const entries = new Set<Entry>()

  const add = (rule: FaultRule): (() => void) => {
    const parsed = parseOptions(faultRule, 'faultPlan', rule) as FaultRule
    if (own !== undefined) checkRule(parsed, own)
    if (entries.size >= RULES_MAX) {
      const detail = { what: 'fault plan', waiting: entries.size, limit: RULES_MAX }
      throw new CoreError('OVERLOADED', `a fault plan has at most ${RULES_MAX} rules`, detail)
    }
    const entry = { rule: parsed, struck: 0 }
    entries.add(entry)
    return () => void entries.delete(entry)
  }

  /** Whether a rule is about this point now; chance has not been asked yet. */
  const applies = ({ rule, struck }: Entry, { names, leg, target }: FaultPoint): boolean => {
    const { fromMs = 0, untilMs = Number.POSITIVE_INFINITY, times = Number.POSITIVE_INFINITY, only } = rule
    const sinceMs = platform.clock.monotonic() - startedAt
    if (sinceMs < fromMs || sinceMs >= untilMs || struck >= times) return false
    if (only !== undefined && !only.some((name) => names.includes(name))) return false
    if (rule.kind === 'drop' && rule.lose !== leg) return false
    if (own === undefined) checkRule(rule, target)
    return target[leg].includes(rule.kind)
  }

  const strikes = (entry: Entry, point: FaultPoint): boolean => {
    if (!applies(entry, point)) return false
    const { ratio } = entry.rule
    if (ratio !== undefined && platform.random.float() >= ratio) return false
    entry.struck += 1
    return true
  }

  for (const rule of faults) add(rule)
  return {
    platform,
    add,
    clear: () => entries.clear(),
    strike(point) {
      let delayMs = 0
      let end: Strike['end']
      let duplicate = false
      let slice: Strike['slice']
      for (const entry of entries) {
        if (entry.rule.kind === 'partition' && strikes(entry, point)) {
          return { delayMs, end: entry.rule, duplicate, slice }
        }
      }
      for (const entry of entries) {
        const { rule } = entry
        if (rule.kind === 'partition') continue
        // What could not show any more is not drawn: it would use up the rule's times.
        if ((isEnd(rule.kind) && end !== undefined) || (rule.kind === 'slice' && slice !== undefined)) continue
        if (!strikes(entry, point)) continue
        if (rule.kind === 'latency') {
          const { latencyMs, jitterMs = 0 } = rule
          delayMs += Math.max(0, latencyMs + (jitterMs === 0 ? 0 : (platform.random.float() * 2 - 1) * jitterMs))
        } else if (rule.kind === 'duplicate') duplicate = true
        else if (rule.kind === 'slice') slice = rule
        else end = rule
      }
      return { delayMs, end, duplicate, slice }
    }
  }
}

/** Whether a call can have only one fault of this kind, for it ends there. */
const isEnd = (kind: FaultKind): boolean => kind !== 'latency' && kind !== 'duplicate' && kind !== 'slice'

/** A fault that can never strike would test nothing, and say so to nobody. */
function checkRule({ kind, only = [] }: FaultRule, { what, request, reply, names }: FaultTarget): void {
  if (!request.includes(kind) && !reply.includes(kind)) throw refusedRule('kind', `${what} has no such fault: ${kind}`)
  const unknown = names === undefined ? undefined : only.find((name) => !names.includes(name))
  if (unknown !== undefined) throw refusedRule('only', `${what} has nothing of the name ${unknown}`)
}

function refusedRule(path: string, message: string): CoreError<'INVALID_OPTIONS'> {
  return new CoreError('INVALID_OPTIONS', `the fault plan refused a rule: ${message}`, {
    subject: 'faultPlan',
    issues: [{ path, message }]
  })
}

/** An error as Node's system calls have them: a message without a path, `code` and `syscall`. */
export function systemError(
  code: string,
  syscall: string
): Error & { readonly code: string; readonly syscall: string } {
  return Object.assign(new Error(`${code}: simulated, in ${syscall}`), { code, syscall })
}
