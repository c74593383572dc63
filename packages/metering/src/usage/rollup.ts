/** How the events of a metric become one number. */
export type Rollup =
  /** The quantities added up. */
  | 'sum'
  /** The largest quantity. */
  | 'max'
  /** The quantity used last, by time of use; of two at the same instant the one received last, then the larger one. */
  | 'latest'
  /** How many different values a property had. Events without it do not count. */
  | 'unique'

/** How a metric adds up. One that nobody declared is a sum. */
export type MetricDefinition =
  | { readonly rollup: 'sum' | 'max' | 'latest' }
  | { readonly rollup: 'unique'; readonly property: string }
