import type { Enforcement, QuotaIdentity } from './enforcement.ts'
import type { SettleOutcome } from './quota-outcome.ts'
import type { SettleAnswer, SettleRequest } from './quota-store.ts'
import type { Asked } from './store-gate.ts'

/**
 * Tells the store how a hold ended, by the rules of now: what is taken beyond the hold must fit a limit that was lowered
 * meanwhile. A limit that is gone, or contradicts itself, keeps no hold from its end.
 */
export function askToSettle(
  { gate, store, storeNow }: Enforcement,
  { subject, book }: QuotaIdentity,
  request: SettleRequest
): Promise<Asked<SettleAnswer>> {
  let { charges } = request
  try {
    const rules = book.at(storeNow())
    if (rules.outcome === 'rules') ({ charges } = rules)
  } catch {
    // Whoever spends is told what is wrong with the limit.
  }
  return gate.ask('settle a hold', () => store.settle(subject.tenant, { ...request, charges }))
}

/**
 * Ends a hold. When the store fails the end is told again in the background: what was used has been used, whatever becomes
 * of the store, and an end can be told any number of times.
 *
 * `unmade`: whether the hold is there is not known, so that one which the store does not know is booked as a spend.
 */
export async function settleHold(
  shared: Enforcement,
  identity: QuotaIdentity,
  request: SettleRequest,
  unmade = false
): Promise<SettleOutcome> {
  const asked = await askToSettle(shared, identity, request)
  if (asked.outcome === 'down') {
    const { reason, error } = asked
    const queued = shared.backlog.settle(identity, request, unmade)
    return { outcome: 'unavailable', reason, queued, ...(error === undefined ? {} : { error }) }
  }
  const { value } = asked
  if (value.outcome === 'conflict') return { ...value, requested: request.actual }
  return value
}
