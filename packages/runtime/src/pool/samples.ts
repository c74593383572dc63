/** The latest of a row of numbers. */
export interface Samples {
  add(value: number): void
  values(): readonly number[]
}

/** Keeps the last `size`. */
export function samples(size: number): Samples {
  const kept: number[] = []
  let next = 0
  return {
    add(value) {
      kept[next] = value
      next = (next + 1) % size
    },
    values: () => kept
  }
}

/** The value below which `ratio` of them lie (nearest rank); undefined without any. */
export function quantile(values: readonly number[], ratio: number): number | undefined {
  const ordered = [...values].sort((one, other) => one - other)
  return ordered[Math.max(0, Math.ceil(ratio * ordered.length) - 1)]
}
