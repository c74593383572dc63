// One amount in proportion to a part of its period, to the millisecond, rounded half to even: ours in integers against
// decimal.js, on the same amounts.
import { performance } from 'node:perf_hooks'
import { prorate } from '@enablement/metering'
import { Decimal } from 'decimal.js'
import { medians, row, some } from '../measuring.mjs'

const MONTH_MS = 2_678_400_000
const CASES = Array.from({ length: 4_096 }, (_, at) => ({
  minorUnits: 999 + ((at * 7_919) % 500_000),
  part: (at * 104_729 * 631) % MONTH_MS
}))

function rate(count, call) {
  let sum = 0
  const startedAt = performance.now()
  for (let at = 0; at < count; at++) sum += call(CASES[at & 4_095])
  const perSecond = (count * 1_000) / (performance.now() - startedAt)
  return { perSecond, sum }
}

const exact = Decimal.clone({ precision: 40 })
const byDecimal = ({ minorUnits, part }) =>
  new exact(minorUnits).times(part).dividedBy(MONTH_MS).toDecimalPlaces(0, Decimal.ROUND_HALF_EVEN).toNumber()
const byOurs = ({ minorUnits, part }) => prorate(minorUnits, part, MONTH_MS, 'half-even')

export async function rows() {
  for (const one of CASES) {
    if (byOurs(one) !== byDecimal(one)) throw new Error(`they disagree on ${JSON.stringify(one)}`)
  }
  const found = await medians({
    ours: () => rate(some(4_000_000), byOurs).perSecond,
    theirs: () => rate(some(200_000), byDecimal).perSecond
  })
  return [row({ id: 'prorate', ours: found.ours, peer: 'decimal.js 10.6.0', theirs: found.theirs, unit: 'amounts/s' })]
}
