/** What is told about clocks, by `type`. All but the drift of sources of events are told when they change, not each time. */
export type ClockEvent =
  /**
   * A sender's clock is off, and has been for a window: one alert, until `clock.recovered`. `driftMs` is the receipt
   * minus the time of use of its quickest events.
   */
  | {
      readonly type: 'clock.drifted'
      readonly tenant: string
      readonly source: string
      readonly skew: 'future' | 'stale'
      readonly driftMs: number
    }
  /** It is right again. */
  | { readonly type: 'clock.recovered'; readonly tenant: string; readonly source: string; readonly driftMs: number }
  /** It made room for others while it was off: nothing more is known of it until it is found off anew. */
  | { readonly type: 'clock.forgotten'; readonly tenant: string; readonly source: string }
  /** A time source disagrees with the majority, by `offsetMs` (itself minus the consensus). It is left out. */
  | { readonly type: 'time.outlier'; readonly source: string; readonly offsetMs: number }
  /** A time source did not answer in time, or with no time. */
  | { readonly type: 'time.source-failed'; readonly source: string; readonly error: unknown }
  /** A time source answers with the majority again. */
  | { readonly type: 'time.source-recovered'; readonly source: string }
  /** A majority agrees. `ownOffsetMs` is how far this machine's clock is ahead of it. */
  | { readonly type: 'time.agreed'; readonly agreeing: number; readonly sources: number; readonly ownOffsetMs: number }
  /** No majority agrees any more: the last consensus is held, then this machine's clock is used. */
  | { readonly type: 'time.disagreed'; readonly agreeing: number; readonly sources: number }
