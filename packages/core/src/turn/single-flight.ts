import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { untilAborted } from './until-aborted.ts'

/** Joins concurrent calls for one key into a single one, whose result they all get. */
export interface SingleFlight<T> {
  /**
   * Starts `work` unless a call for `key` is under way, and gives every caller its result. A failure goes to those who
   * waited for it and is not remembered. A caller whose signal aborts stops waiting; the work goes on for the others.
   * Throws `OVERLOADED` when `flightsMax` calls for other keys are under way.
   */
  run(key: string, work: () => Promise<T>, options?: { readonly signal?: AbortSignal }): Promise<T>
}

/** Calls under way at once: each holds a connection or a socket somewhere, so far fewer would already be a fault. */
const FLIGHTS_MAX = 10_000

const singleFlightOptions: z.ZodType<{ readonly flightsMax?: number }> = z.strictObject({
  flightsMax: z.int().min(1).exactOptional()
})

/** At most `flightsMax` keys have work under way, 10,000 unless given. Throws `INVALID_OPTIONS`. */
export function createSingleFlight<T>(options: { readonly flightsMax?: number } = {}): SingleFlight<T> {
  const { flightsMax = FLIGHTS_MAX } = parseOptions(singleFlightOptions, 'createSingleFlight', options)
  const flights = new Map<string, Promise<T>>()
  return {
    async run(key, work, { signal } = {}) {
      signal?.throwIfAborted()
      let flight = flights.get(key)
      if (flight === undefined) {
        if (flights.size >= flightsMax) {
          throw new CoreError('OVERLOADED', `${flights.size} calls for other keys are under way`, {
            what: 'single flight',
            waiting: flights.size,
            limit: flightsMax
          })
        }
        flight = work().finally(() => flights.delete(key))
        flights.set(key, flight)
      }
      return signal === undefined ? flight : await untilAborted(flight, signal)
    }
  }
}
