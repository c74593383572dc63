import { QUANTITY_MAX } from '../event/usage-event.ts'
import { MeteringError } from '../metering-error.ts'

/**
 * Throws `INVALID_AMOUNT` unless `amount` is an integer in [1, 9e15]. A negative amount would pass every comparison and
 * add units; a fraction would be lost in a store that counts in integers.
 */
export function checkAmount(amount: unknown): void {
  if (typeof amount === 'number' && Number.isInteger(amount) && amount >= 1 && amount <= QUANTITY_MAX) return
  const shown = typeof amount === 'number' ? amount : undefined
  throw new MeteringError(
    'INVALID_AMOUNT',
    `an amount to consume must be an integer from 1 to ${QUANTITY_MAX}, not ${shown ?? `a ${typeof amount}`}`,
    { amount: shown, max: QUANTITY_MAX }
  )
}
