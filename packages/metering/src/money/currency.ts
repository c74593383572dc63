import { MeteringError } from '../metering-error.ts'

/**
 * Currencies by the number of digits of their minor unit. ISO 4217 List One as maintained by SIX
 * (https://www.six-group.com/en/products-services/financial-information/data-standards.html), the currencies in use in
 * 2026. Left out: codes without a minor unit (gold, special drawing rights, testing) and fund codes, which nobody
 * invoices in. Not CLDR's digits, which say how amounts are commonly shown.
 */
const CODES_BY_DIGITS: Readonly<Record<number, string>> = {
  0: 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF',
  2:
    'AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP ' +
    'CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES ' +
    'KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK ' +
    'NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB ' +
    'TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG',
  3: 'BHD IQD JOD KWD LYD OMR TND'
}

const digitsByCode: ReadonlyMap<string, number> = new Map(
  Object.entries(CODES_BY_DIGITS).flatMap(([digits, codes]) =>
    codes.split(' ').map((code): [string, number] => [code, Number(digits)])
  )
)

/**
 * How many digits the currency's minor unit has: 2 for EUR, 0 for JPY, 3 for BHD. Throws `UNKNOWN_CURRENCY`; a guess of
 * two digits would be wrong by a factor of a hundred where it is wrong.
 */
export function minorUnitDigits(currency: string): number {
  const digits = digitsByCode.get(currency)
  if (digits !== undefined) return digits
  const message = `${currency} is not a currency of ISO 4217 with a minor unit`
  throw new MeteringError('UNKNOWN_CURRENCY', message, { currency })
}
