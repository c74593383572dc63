import { replyInteger } from '@enablement/core/redis'
import { NEVER } from '../quota/counter.ts'
import { unknownReply } from './consume-reply.ts'
import type { HeldInText } from './hold-text.ts'

/**
 * A counter's text with what is held made anew from the open holds that there are. A ledger may have heard of a counter
 * after a hold or its end, and not of the hold: what a hold took that nobody was told of goes back, and what one holds
 * whose end nobody was told of is held again. What was spent stays.
 */
export function withHolds(text: string, held: readonly HeldInText[]): string {
  const [kind, ...fields] = text.split(':')
  const at = (index: number): number => replyInteger(fields[index])
  const heldIn = (startsAt: number, endsAt: number): number =>
    held.reduce((sum, part) => sum + (part.startsAt === startsAt && part.endsAt === endsAt ? part.amount : 0), 0)
  switch (kind) {
    case 'w': {
      const now = heldIn(at(0), at(1))
      return ['w', at(0), at(1), at(2) - at(3) + now, now].join(':')
    }
    case 't': {
      const now = heldIn(at(0), NEVER)
      return ['t', ...fields.slice(0, 5), at(5) - at(6) + now, now].join(':')
    }
    case 'c':
      return ['c', at(0), heldIn(at(0), NEVER)].join(':')
    case 'r':
      return `r:${at(0)}:${slicesWithHolds(fields[1] ?? '', held)}`
    default:
      throw unknownReply()
  }
}

function slicesWithHolds(text: string, held: readonly HeldInText[]): string {
  const spent = new Map<string, number>()
  for (const slice of text.split(',').slice(0, -1)) {
    const [pin = '', units = ''] = slice.split('=')
    const [used, before] = units.split('+')
    spent.set(pin, replyInteger(used) - replyInteger(before))
  }
  const holding = new Map<string, number>()
  for (const { startsAt, endsAt, amount } of held) {
    const pin = `${startsAt}-${endsAt}`
    holding.set(pin, (holding.get(pin) ?? 0) + amount)
    // What was folded together because nothing can get it back any more has no slice.
    if (endsAt > 0 && !spent.has(pin)) spent.set(pin, 0)
  }
  return [...spent]
    .map(([pin, units]) => ({ pin, endsAt: Number(pin.split('-')[1]), units, held: holding.get(pin) ?? 0 }))
    .filter(({ units, held: now }) => units + now > 0)
    .sort((one, other) => one.endsAt - other.endsAt)
    .map(({ pin, units, held: now }) => `${pin}=${units + now}+${now},`)
    .join('')
}
