/** What a source says the time is, and how far off it may be. */
export interface TimeReading {
  /** Epoch milliseconds. */
  readonly epochMs: number
  /** The true time is within this of it, as far as the source knows; without the time that the answer was under way. */
  readonly errorMs: number
}

/** Somebody who knows the time: this machine, a server that answers over HTTP, a database. */
export interface TimeSource {
  /** Appears in events; each of a consensus has its own. */
  readonly name: string
  /** The time now. May throw anything: it is asked again later. */
  now(options: { readonly signal: AbortSignal }): Promise<TimeReading>
}
