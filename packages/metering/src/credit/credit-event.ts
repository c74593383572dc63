import type { MeteringError } from '../metering-error.ts'

/** What wallets tell an observer. Amounts are decimal text. */
export type CreditEvent =
  | {
      readonly type:
        | 'credit.granted'
        | 'credit.voided'
        | 'credit.charged'
        | 'credit.held'
        | 'credit.committed'
        | 'credit.reversed'
      readonly tenant: string
      readonly account: string
      readonly unit: string
      /** The grant, charge or hold. */
      readonly key: string
      readonly amount: string
      /** By an earlier call with the same key: sums leave these out. */
      readonly replayed: boolean
    }
  | {
      readonly type: 'credit.insufficient'
      readonly tenant: string
      readonly account: string
      readonly unit: string
      readonly key: string
      readonly requested: string
      readonly available: string
    }
  | {
      readonly type: 'credit.conflicted'
      readonly tenant: string
      readonly account: string
      readonly unit: string
      readonly key: string
    }
  | {
      readonly type: 'credit.store-failed'
      readonly tenant: string
      readonly account: string
      readonly unit: string
      readonly error: MeteringError<'STORE_FAILED'>
    }
