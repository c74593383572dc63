/** Joins concurrent calls for one key into a single one, whose result they all get. */
export interface SingleFlight<T> {
  /**
   * Starts `work` unless a call for `key` is under way, and gives every caller its result. A failure goes to those who
   * waited for it and is not remembered. A caller whose signal aborts stops waiting; the work goes on for the others.
   */
  run(key: string, work: () => Promise<T>, options?: { readonly signal?: AbortSignal }): Promise<T>
}

/** The map of flights is bounded by the callers themselves: a key leaves it when its work settles. */
export function createSingleFlight<T>(): SingleFlight<T> {
  const flights = new Map<string, Promise<T>>()
  return {
    async run(key, work, { signal } = {}) {
      signal?.throwIfAborted()
      let flight = flights.get(key)
      if (flight === undefined) {
        flight = work().finally(() => flights.delete(key))
        flights.set(key, flight)
      }
      return signal === undefined ? flight : await untilAborted(flight, signal)
    }
  }
}

function untilAborted<T>(flight: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    flight.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
