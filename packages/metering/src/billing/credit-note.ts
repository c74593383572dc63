import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { ROUNDINGS, type Rounding } from '../money/rounding.ts'
import { taxOn, taxRateSchema } from './tax.ts'

/** An amount and the tax on it, in the minor unit. */
export interface TaxedAmount {
  readonly net: bigint
  readonly tax: bigint
}

/** What to credit, against which invoice. */
export interface CreditNoteRequest {
  readonly invoice: TaxedAmount
  /** What was paid of the invoice: all of it unless given. */
  readonly paid?: bigint
  /** By earlier credit notes on it, in sum: nothing unless given. */
  readonly credited?: TaxedAmount
  /** To credit now, before tax. */
  readonly net: bigint
  /** A fraction as plain decimal text: `0.2` for 20 %. */
  readonly taxRate: string
  readonly rounding: Rounding
}

/** A credit note. */
export interface CreditNote extends TaxedAmount {
  readonly total: bigint
  /** How much of the total goes back, because it was paid, and how much only lowers what is still owed. */
  readonly refund: bigint
  readonly credit: bigint
  /** Whether more was asked for than the invoice has left. */
  readonly capped: boolean
}

const amount = z.bigint().min(0n)
const taxed = z.strictObject({ net: amount, tax: amount })
const requestSchema: z.ZodType<CreditNoteRequest> = z
  .strictObject({
    invoice: taxed,
    paid: amount.exactOptional(),
    credited: taxed.exactOptional(),
    net: amount,
    taxRate: taxRateSchema,
    rounding: z.enum(ROUNDINGS)
  })
  .refine(({ invoice, credited }) => credited === undefined || credited.net <= invoice.net, {
    path: ['credited', 'net'],
    message: 'must not exceed the invoice'
  })
  .refine(({ invoice, credited }) => credited === undefined || credited.tax <= invoice.tax, {
    path: ['credited', 'tax'],
    message: 'must not exceed the invoice'
  })
  .refine(({ invoice, paid }) => paid === undefined || paid <= invoice.net + invoice.tax, {
    path: ['paid'],
    message: 'must not exceed the invoice'
  })

/**
 * A credit note on an invoice. All of them together never exceed it, net and tax each, however they were rounded; the one
 * that credits the rest takes the rest of the tax. Credits lower first what is still owed. Throws `INVALID_OPTIONS`.
 */
export function creditNote(request: CreditNoteRequest): CreditNote {
  const checked = parseOptions(requestSchema, 'creditNote', request)
  const { invoice, credited = { net: 0n, tax: 0n }, taxRate, rounding } = checked
  const gross = invoice.net + invoice.tax
  const left = { net: invoice.net - credited.net, tax: invoice.tax - credited.tax }
  const net = least(checked.net, left.net)
  const tax = net === left.net ? left.tax : least(taxOn(net, taxRate, rounding), left.tax)
  const total = net + tax
  // What is still owed is what was neither paid nor credited; earlier credits may have been refunded already.
  const before = credited.net + credited.tax
  const owed = gross - (checked.paid ?? gross)
  const stillOwed = owed > before ? owed - before : 0n
  const credit = least(total, stillOwed)
  return { net, tax, total, refund: total - credit, credit, capped: net < checked.net }
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)
