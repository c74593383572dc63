import { QUANTITY_MAX } from '../event/usage-event.ts'
import { MeteringError } from '../metering-error.ts'

/** Whether `amount` is an integer in [1, 9e15]. */
export function isAmount(amount: unknown): amount is number {
  return isQuantity(amount) && amount >= 1
}

/**
 * Throws `INVALID_AMOUNT` unless `amount` is an integer in [1, 9e15]. A negative amount would pass every comparison and
 * add units; a fraction would be lost in a store that counts in integers.
 */
export function checkAmount(amount: unknown): void {
  if (!isAmount(amount)) throw invalidAmount(1, amount)
}

/** Throws `INVALID_AMOUNT` unless `actual`, what was used, is an integer in [0, 9e15]. */
export function checkActual(actual: unknown): void {
  if (!isQuantity(actual)) throw invalidAmount(0, actual)
}

function isQuantity(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= QUANTITY_MAX
}

function invalidAmount(least: number, amount: unknown): MeteringError<'INVALID_AMOUNT'> {
  const shown = typeof amount === 'number' ? amount : undefined
  const found = shown ?? `a ${typeof amount}`
  const message = `an amount must be an integer from ${least} to ${QUANTITY_MAX}, not ${found}`
  return new MeteringError('INVALID_AMOUNT', message, { amount: shown, max: QUANTITY_MAX })
}
