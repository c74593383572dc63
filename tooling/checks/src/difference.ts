/** The lines that differ between two texts, as `-` and `+` with the line number each has in its text. */
export function difference(before: string, after: string): string[] {
  const a = before.split('\n')
  const b = after.split('\n')
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let ends = 0
  while (ends < a.length - start && ends < b.length - start && a.at(-1 - ends) === b.at(-1 - ends)) ends++
  const [oldPart, newPart] = [a.slice(start, a.length - ends), b.slice(start, b.length - ends)]
  const common = longestCommon(oldPart, newPart)
  const lines: string[] = []
  let [i, j] = [0, 0]
  for (const [oldAt, newAt] of [...common, [oldPart.length, newPart.length] as const]) {
    for (; i < oldAt; i++) lines.push(`-${start + i + 1}: ${oldPart[i]}`)
    for (; j < newAt; j++) lines.push(`+${start + j + 1}: ${newPart[j]}`)
    i++
    j++
  }
  return lines
}

/** Index pairs of a longest common subsequence. The table is quadratic, which a report's few thousand lines allow. */
function longestCommon(a: readonly string[], b: readonly string[]): (readonly [number, number])[] {
  const width = b.length + 1
  const length = new Uint32Array((a.length + 1) * width)
  const at = (i: number, j: number): number => length[i * width + j] as number
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      length[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  }
  const pairs: (readonly [number, number])[] = []
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) pairs.push([i++, j++])
    else if (at(i + 1, j) >= at(i, j + 1)) i++
    else j++
  }
  return pairs
}
