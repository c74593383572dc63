import type { CounterRule } from './charge.ts'
import { NEVER, type WindowState } from './counter.ts'

/** Rules that count in windows. */
type WindowRule = Extract<CounterRule, { readonly kind: 'lifetime' | 'every' | 'boundaries' }>

export function countsInWindows(rule: CounterRule): rule is WindowRule {
  return rule.kind === 'lifetime' || rule.kind === 'every' || rule.kind === 'boundaries'
}

/** Whether `state` is still what counts. A lifetime never ends by itself, so any other rule ends it. */
export function windowLasts(state: WindowState, rule: CounterRule, now: number): boolean {
  if (state.endsAt === NEVER) return rule.kind === 'lifetime'
  return now < state.endsAt
}

/** The window that `now` falls into, empty; undefined when it is in none of the boundaries. A lifetime starts at `startsAt`. */
export function freshWindow(rule: WindowRule, now: number, startsAt: number): WindowState | undefined {
  if (rule.kind === 'lifetime') return { kind: 'window', startsAt, endsAt: NEVER, used: 0, held: 0 }
  if (rule.kind === 'every') {
    const start = now - (now % rule.everyMs)
    return { kind: 'window', startsAt: start, endsAt: start + rule.everyMs, used: 0, held: 0 }
  }
  const { boundaries } = rule
  const next = boundaries.findIndex((boundary) => now < boundary)
  const start = boundaries[next - 1]
  if (start === undefined) return undefined
  return { kind: 'window', startsAt: start, endsAt: boundaries[next] as number, used: 0, held: 0 }
}
