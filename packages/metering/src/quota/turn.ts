import type { Clock, Timer } from '@enablement/core'

/**
 * How long a reading of the clock counts. `current` changes some time after the turn of the event loop in which `open` was
 * called, within about a millisecond; until then what was decided by the clock holds without reading it again. A turn that
 * stands still is not seen from inside it: whoever relies on this counts what it gives out meanwhile.
 */
export interface Turns {
  current: number
  /** Begins a turn, unless one is under way, and gives its number. */
  open(): number
  close(): void
}

export function turns(clock: Clock): Turns {
  let timer: Timer | undefined
  const end = (): void => {
    timer = undefined
    self.current += 1
  }
  const self: Turns = {
    current: 0,
    open() {
      timer ??= clock.startTimer(0, end, { background: true })
      return self.current
    },
    close() {
      timer?.cancel()
      timer = undefined
      self.current += 1
    }
  }
  return self
}
