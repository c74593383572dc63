import { systemClock } from '@enablement/core'
import { sfc32 } from '../quickjs/sfc32.ts'

/**
 * Gives the guest the host's wall clock and a chance of its own: `Date` and `Math.random`. Programs that it starts see the
 * machine's.
 */
export function bindWorld(seed: Uint8Array): { setWall(wallAt: number): void } {
  let base = 0
  let since = systemClock.monotonic()
  const NativeDate = Date
  const now = (): number => Math.trunc(base + (systemClock.monotonic() - since))
  const GuestDate: DateConstructor = new Proxy(NativeDate, {
    apply: () => new NativeDate(now()).toString(),
    construct: (target, values: unknown[], newTarget) =>
      Reflect.construct(target, values.length === 0 ? [now()] : values, newTarget === GuestDate ? target : newTarget)
  })
  NativeDate.now = now
  NativeDate.prototype.constructor = GuestDate
  globalThis.Date = GuestDate
  const chance = sfc32(seed)
  Math.random = () => chance.next() / 4_294_967_296
  return {
    setWall(wallAt) {
      base = wallAt
      since = systemClock.monotonic()
    }
  }
}
