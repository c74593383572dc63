import { parseOptions } from '@enablement/core'
import {
  dayNumberOf,
  instantSchema,
  lengthOf,
  minutesOf,
  type OnCallLayer,
  type OnCallOverride,
  type OnCallSchedule,
  scheduleSchema,
  WEEKDAYS,
  type WeeklyWindow
} from './on-call-schedule.ts'
import { dayAt, firstInstantOf, lastInstantOf, weekdayOf } from './wall-time.ts'

/** Who is on call at an instant, and why. */
export interface OnCall {
  /** Ids, each once: by layer in the schedule's order, then those whom overrides added. Nobody between windows. */
  readonly onCall: readonly string[]
  /** The next handoff or the next edge of a window or an override, in epoch milliseconds: the answer holds until then. */
  readonly until: number
  readonly because: readonly OnCallReason[]
}

/** Why someone is on call: a turn, or an override, from when until when (epoch milliseconds, half-open). */
export type OnCallReason =
  | {
      readonly approver: string
      readonly by: 'turn'
      readonly layer: string
      readonly from: number
      readonly until: number
    }
  | {
      readonly approver: string
      readonly by: 'override'
      readonly insteadOf: string | undefined
      readonly from: number
      readonly until: number
    }

/**
 * Who is on call at `at` (epoch milliseconds, up to the year 9999).
 *
 * Local times become instants by one rule. A window starts, and a handoff happens, at the first instant at which clocks
 * show its time; a window ends at the last. Where clocks are set forward over the time, either is the end of the gap. So
 * when an hour is repeated, the people of two adjacent windows may both be on call in it, and there never is a moment for
 * which nobody is because of a change of clocks.
 *
 * Throws `INVALID_OPTIONS` (core) with the path of what is wrong with the schedule.
 */
export function onCallAt(schedule: OnCallSchedule, at: number): OnCall {
  const answer = onCallOf(parseOptions(scheduleSchema, 'onCallAt', schedule))
  return answer(parseOptions(instantSchema, 'onCallAt', at))
}

/** The same, of a schedule that has been checked; for asking often. */
export function onCallOf({ zone, layers, overrides = [] }: OnCallSchedule): (at: number) => OnCall {
  const layersAt = layers.map((layer) => layerIn(layer, zone))
  const work = (at: number): OnCall => {
    const found = layersAt.map((layerAt) => layerAt(at))
    const because = overridden(
      found.flatMap(({ turn }) => (turn === undefined ? [] : [turn])),
      overrides,
      at
    )
    const edges = overrides.flatMap(({ from, until }) => [from, until]).filter((edge) => edge > at)
    return {
      onCall: [...new Set(because.map(({ approver }) => approver))],
      until: Math.min(...found.map(({ until }) => until), ...edges),
      because
    }
  }
  // Most ask about now: the last answer holds until something changes.
  let last: { readonly at: number; readonly answer: OnCall } | undefined
  return (at) => {
    if (last !== undefined && at >= last.at && at < last.answer.until) return last.answer
    last = { at, answer: work(at) }
    return last.answer
  }
}

/** What overrides make of the turns. No two of one person overlap, so that their order does not matter. */
function overridden(
  turns: readonly OnCallReason[],
  overrides: readonly OnCallOverride[],
  at: number
): readonly OnCallReason[] {
  let reasons = turns
  for (const { from, until, remove, add } of overrides) {
    if (at < from || at >= until) continue
    if (remove !== undefined && !reasons.some(({ approver }) => approver === remove)) continue
    reasons = reasons.filter(({ approver }) => approver !== remove)
    if (add !== undefined) reasons = [...reasons, { approver: add, by: 'override', insteadOf: remove, from, until }]
  }
  return reasons
}

interface LayerAnswer {
  /** Undefined while the layer is not in force. */
  readonly turn: OnCallReason | undefined
  readonly until: number
}

function layerIn(layer: OnCallLayer, zone: string): (at: number) => LayerAnswer {
  const { name, participants, windows } = layer
  const startDay = dayNumberOf(layer.startsOn)
  const everyDays = 'days' in layer.every ? layer.every.days : layer.every.weeks * 7
  const handoffMinutes = minutesOf(layer.handoffAt)
  const handoff = (n: number): number =>
    firstInstantOf({ day: startDay + n * everyDays, minutes: handoffMinutes }, zone)
  return (at) => {
    if (at < handoff(0)) return { turn: undefined, until: handoff(0) }
    let n = Math.max(0, Math.floor((dayAt(at, zone) - startDay) / everyDays))
    // The handoff of this date is yet to come; or that of the next one has been, and then clocks were set back from after
    // midnight to before it, as in Newfoundland until 2010.
    while (handoff(n) > at) n -= 1
    while (handoff(n + 1) <= at) n += 1
    const approver = participants[n % participants.length] as string
    const turn = { approver, by: 'turn', layer: name, from: handoff(n), until: handoff(n + 1) } as const
    if (windows === undefined) return { turn, until: turn.until }
    const { open, until } = windowsAt(windows, zone, at)
    return { turn: open ? turn : undefined, until: Math.min(turn.until, until) }
  }
}

/** Whether one of the windows is open, and the next edge of any. */
function windowsAt(
  windows: readonly WeeklyWindow[],
  zone: string,
  at: number
): { readonly open: boolean; readonly until: number } {
  const today = dayAt(at, zone)
  let open = false
  let until = Number.POSITIVE_INFINITY
  // A window lasts a day at most, so that one which is open has started yesterday at the earliest; and each comes back
  // within two weeks, for no gap hides it twice in a row.
  for (let day = today - 1; firstInstantOf({ day, minutes: 0 }, zone) < until; day += 1) {
    for (const window of windows) {
      if (!window.days.includes(WEEKDAYS[weekdayOf(day)] as (typeof WEEKDAYS)[number])) continue
      const minutes = minutesOf(window.from)
      const start = firstInstantOf({ day, minutes }, zone)
      const end = lastInstantOf({ day, minutes: minutes + lengthOf(window) }, zone)
      // Not at all on a date when clocks were set forward over it as a whole.
      if (end <= start) continue
      if (start <= at && at < end) open = true
      if (start > at) until = Math.min(until, start)
      if (end > at) until = Math.min(until, end)
    }
  }
  return { open, until }
}
