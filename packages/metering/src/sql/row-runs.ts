/**
 * Rows per statement. A few fixed sizes rather than any, so that there are a few texts, which databases prepare once;
 * 64 rows of nine values are far below every limit on parameters (32,766 in SQLite, 65,535 in Postgres).
 */
const RUN_SIZES = [64, 16, 4, 1] as const

/** Cuts rows into runs of the fixed sizes, the largest first. */
export function* inRuns<Row>(items: readonly Row[]): Generator<readonly Row[]> {
  let at = 0
  for (const size of RUN_SIZES) {
    for (; items.length - at >= size; at += size) yield items.slice(at, at + size)
  }
}

/** `(?, ?), (?, ?)`: as many tuples of `width` placeholders as there are rows. */
export function tuples(width: number, count: number): string {
  const tuple = `(${Array(width).fill('?').join(', ')})`
  return Array(count).fill(tuple).join(', ')
}
