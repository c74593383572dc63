import { type CreditEntryKind, EFFECTS } from './credit-entry.ts'

/** What the entries of a wallet add up to. */
export interface DerivedWallet {
  readonly free: bigint
  readonly held: bigint
  /** Granted and not yet usable. */
  readonly waiting: bigint
  /** The overdraft, at least 0. */
  readonly owed: bigint
  /** `free - owed`. */
  readonly balance: bigint
  /** Of each grant that has any. */
  readonly grants: ReadonlyMap<string, { readonly free: bigint; readonly held: bigint }>
}

/**
 * Adds up a ledger: all entries from the first to any. What the store keeps is a copy of this. Amounts are integers of the
 * smallest unit.
 */
export function deriveWallet(
  entries: Iterable<{ readonly kind: CreditEntryKind; readonly grant: string | null; readonly amount: number | bigint }>
): DerivedWallet {
  const sums = { free: 0n, held: 0n, waiting: 0n, owed: 0n }
  const grants = new Map<string, { free: bigint; held: bigint }>()
  for (const { kind, grant, amount } of entries) {
    const { free = 0, held = 0, waiting = 0, owed = 0 } = EFFECTS[kind]
    const units = BigInt(amount)
    sums.free += BigInt(free) * units
    sums.held += BigInt(held) * units
    sums.waiting += BigInt(waiting) * units
    sums.owed += BigInt(owed) * units
    if (grant === null) continue
    const before = grants.get(grant) ?? { free: 0n, held: 0n }
    grants.set(grant, { free: before.free + BigInt(free) * units, held: before.held + BigInt(held) * units })
  }
  for (const [grant, { free, held }] of grants) if (free === 0n && held === 0n) grants.delete(grant)
  return { ...sums, balance: sums.free - sums.owed, grants }
}
