/**
 * How a counter is kept, by the kind of rule that it was last used under. `used` always includes `held`.
 *
 * These rules hold in every store, and `redis/*.lua` has them in Lua:
 *
 * 1. Only what was used is kept, never a quantity: a limit that is lowered below it leaves 0, and one that is raised again
 *    has given nothing out twice.
 * 2. A counter's own time never goes back. A store's clock that is set back finds the window, slice or bucket that it left
 *    and stays in it until it is there again; a clock that ran ahead withholds units, and never gives any twice.
 * 3. A rule that is replaced lasts until all that was used under it has come back, and then the new one starts anew. A
 *    window runs to its end. A rolling counter whose length changed or that is of another kind now, and a bucket that is
 *    of another kind now, go on giving back; what is left when a call next takes from them becomes a window with what is
 *    used, held or not, that starts then and ends when the old rule would have given the last of it back. A bucket with
 *    another rate stays one: it is filled up to now at the old rate, loses the part of a unit that was on its way, and
 *    fills at the new one from when a call next takes from it. Two cases begin at once: after `lifetime` and `concurrent`,
 *    which nothing but a new rule ends; and `concurrent` after anything, because what is in use at the same time has
 *    nothing to do with what was used up.
 * 4. A hold is pinned to what it was taken from, by start and end. What it gives back goes there or, when that is no
 *    longer what the counter is in, nowhere. States without an end start at the instant at which they were made, and
 *    later than the state before, so that no two have the same pin.
 * 5. No number exceeds 9e15 (what is taken was compared with a difference first), and no instant `NEVER`.
 */
export type CounterState = WindowState | RollingState | BucketState | ConcurrentState

/** What a hold was taken from: [startsAt, endsAt), epoch milliseconds. */
export interface Pin {
  readonly startsAt: number
  readonly endsAt: number
}

/**
 * `lifetime`, `every`, `boundaries`: units used in [startsAt, endsAt). It lasts while `now < endsAt`, whatever the rule,
 * but for a lifetime (`endsAt` is `NEVER`) under any other rule. `every` starts at multiples of `everyMs`; `boundaries` in
 * the pair that `now` falls into, and where there is none the answer is `elsewhere`. Its pin is itself.
 */
export interface WindowState extends Pin {
  readonly kind: 'window'
  readonly used: number
  readonly held: number
}

/**
 * `rolling`: a slice is `ceil(rollingMs / 60)` long and starts at a multiple of that. It counts in full until
 * `now >= slice.endsAt + rollingMs`: only then has all of it left the stretch. What is taken goes to the slice of now, or
 * to the newest there is when the clock was set back before it. A hold's pin is its slice: once that has left, the hold
 * counts no more and gives nothing back. At most 62 slices, oldest first, none of them empty.
 */
export interface RollingState {
  readonly kind: 'rolling'
  readonly rollingMs: number
  readonly slices: readonly RollingSlice[]
}

export interface RollingSlice extends Pin {
  readonly used: number
  readonly held: number
}

/**
 * `bucket`: `used` is what it lacks. What is spent (`used - held`) comes back; what is held does not, until the hold ends,
 * and what the hold used counts as spent from then on: so a hold that ends never puts back what has come back already.
 *
 * Up to `at` it has been filled. From there to a later `now`, `(now - at) * refill + remainder` divided by `perMs` is what
 * comes back, and the rest of that division is the next `remainder`, which is 0 whenever nothing is spent. Exact in
 * integers: `refill * perMs` is at most 9e15, whole multiples of `perMs` are counted by themselves, and no more of them
 * than it takes to fill it. Its pin is [startsAt, NEVER).
 */
export interface BucketState {
  readonly kind: 'bucket'
  readonly startsAt: number
  readonly refill: number
  readonly perMs: number
  readonly at: number
  readonly remainder: number
  readonly used: number
  readonly held: number
}

/** `concurrent`: units held now. Spends pass it by; every hold gives all back, however it ends. Its pin is [startsAt, NEVER). */
interface ConcurrentState {
  readonly kind: 'concurrent'
  readonly startsAt: number
  readonly used: number
}

/** The end of what does not end: the last instant that ECMAScript's dates know. */
export const NEVER = 8_640_000_000_000_000
