/** States by label. Only so many labels are told apart, the first that come; the rest share one state. */
export interface LabelTable<Label, State> {
  of(label: Label): State
  entries(): [Label, State][]
  readonly other: State
}

export function labelTable<Label, State>(empty: () => State, labelsMax: number): LabelTable<Label, State> {
  const known = new Map<Label, State>()
  const other = empty()
  return {
    of(label) {
      const found = known.get(label)
      if (found !== undefined) return found
      if (known.size >= labelsMax) return other
      const made = empty()
      known.set(label, made)
      return made
    },
    entries: () => [...known],
    other
  }
}

/** The heaviest first, then by label. */
export function sorted<Label extends string | number, State>(
  entries: readonly (readonly [Label, State])[],
  weight: (state: State, label: Label) => number
): readonly (readonly [Label, State])[] {
  return entries.toSorted(
    ([one, mine], [other, theirs]) => weight(theirs, other) - weight(mine, one) || (one < other ? -1 : 1)
  )
}
