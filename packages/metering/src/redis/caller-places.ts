/** A place of a caller in a tenant's slot, and the number of the call that it makes there. */
export interface CallerPlace {
  readonly id: string
  call: number
}

/** Places that are kept for calls to come. More calls than that at the same time make their own. */
const IDLE_PLACES_MAX = 64

/**
 * Places in which a server keeps the last reply to this process, so that a command that the client sends again is
 * answered and not done again. A place is used by one call at a time: there are as many replies to keep as calls at once.
 */
export class CallerPlaces {
  readonly #process: string
  readonly #idle: CallerPlace[] = []
  #made = 0

  constructor(process: string) {
    this.#process = process
  }

  take(): CallerPlace {
    const place = this.#idle.pop() ?? this.#make()
    place.call += 1
    return place
  }

  /** Not called for a place whose call was not answered: it may be done yet. */
  giveBack(place: CallerPlace): void {
    if (this.#idle.length < IDLE_PLACES_MAX) this.#idle.push(place)
  }

  #make(): CallerPlace {
    this.#made += 1
    return { id: `${this.#process}-${this.#made}`, call: 0 }
  }
}
