import type { Pin, RollingSlice, RollingState } from './counter.ts'

/** More slices withhold units less long and cost more; 60 are a minute's seconds and an hour's minutes. */
const SLICES = 60

/** The slice that `now` falls into, or the newest there is when the clock was set back before it. */
function sliceAt({ rollingMs, slices }: RollingState, now: number): Pin {
  const newest = slices.at(-1)
  if (newest !== undefined && now < newest.endsAt) return newest
  return freshSlice(rollingMs, now)
}

/** The slice that `now` falls into by the clock alone. */
export function freshSlice(rollingMs: number, now: number): Pin {
  const sliceMs = Math.ceil(rollingMs / SLICES)
  const startsAt = now - (now % sliceMs)
  return { startsAt, endsAt: startsAt + sliceMs }
}

/** Without the slices that have left the stretch. */
export function rollingAt(state: RollingState, now: number): RollingState {
  const { rollingMs, slices } = state
  const gone = slices.findIndex(({ endsAt }) => now < endsAt + rollingMs)
  if (gone === 0) return state
  return { ...state, slices: gone === -1 ? [] : slices.slice(gone) }
}

/** With `amount` more in the slice of `now`. */
export function takenFromRolling(state: RollingState, amount: number, held: number, now: number): RollingState {
  const { startsAt, endsAt } = sliceAt(state, now)
  const newest = state.slices.at(-1)
  const earlier = newest?.startsAt === startsAt ? state.slices.slice(0, -1) : state.slices
  const before = newest?.startsAt === startsAt ? newest : { used: 0, held: 0 }
  const slice = { startsAt, endsAt, used: before.used + amount, held: before.held + held }
  return { ...state, slices: [...earlier, slice] }
}

/** With less in the slice that is pinned, if that is still in the stretch. */
export function returnedToRolling(state: RollingState, pin: Pin, used: number, held: number): RollingState {
  const slices = state.slices.flatMap((slice): RollingSlice[] => {
    if (slice.startsAt !== pin.startsAt || slice.endsAt !== pin.endsAt) return [slice]
    const left = { ...slice, used: slice.used - used, held: slice.held - held }
    return left.used > 0 ? [left] : []
  })
  return { ...state, slices }
}

/** The pin of what is taken at `now`. */
export function rollingPin(state: RollingState, now: number): Pin {
  const { startsAt, endsAt } = sliceAt(state, now)
  return { startsAt, endsAt }
}

/** When each slice will have left, in rising order. */
export function departures({ rollingMs, slices }: RollingState): number[] {
  return slices.map(({ endsAt }) => endsAt + rollingMs)
}
