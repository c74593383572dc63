import { chargedBytes, type Segment } from './segment.ts'

/** The segments on the disk, in order and without a hole. */
export class SegmentList {
  readonly #segments: Segment[]
  #chargedBytes: number

  constructor(segments: readonly Segment[]) {
    this.#segments = [...segments]
    this.#chargedBytes = segments.reduce((sum, { endBytes }) => sum + chargedBytes(endBytes), 0)
  }

  get last(): Segment | undefined {
    return this.#segments.at(-1)
  }

  get firstSequence(): bigint {
    return this.#segments[0]?.firstSequence ?? 1n
  }

  /** The sequence after the last durable record's. */
  get nextSequence(): bigint {
    return this.last?.nextSequence ?? 1n
  }

  get length(): number {
    return this.#segments.length
  }

  /** What they count against the journal's bound. */
  get chargedBytes(): number {
    return this.#chargedBytes
  }

  snapshot(): readonly Segment[] {
    return [...this.#segments]
  }

  /** Those in front, without the last one, whose records all have sequences up to `through`. */
  consumed(through: bigint): readonly Segment[] {
    const kept = this.#segments.findIndex(({ nextSequence }) => nextSequence - 1n > through)
    return this.#segments.slice(0, kept < 0 ? -1 : kept)
  }

  removeFirst(): void {
    this.#charge(this.#segments.shift(), -1)
  }

  add(segment: Segment): void {
    this.#segments.push(segment)
    this.#charge(segment, 1)
  }

  /** Replaces the last one by what it has become. */
  update(segment: Segment): void {
    this.#charge(this.#segments.pop(), -1)
    this.add(segment)
  }

  #charge(segment: Segment | undefined, sign: 1 | -1): void {
    if (segment !== undefined) this.#chargedBytes += sign * chargedBytes(segment.endBytes)
  }
}
