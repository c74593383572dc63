import { z } from 'zod'

/** RFC 5321 §4.5.3.1, in octets; characters of other scripts count for more, which the server then says. */
const ADDRESS_MAX = 254
const LOCAL_MAX = 64

/**
 * No spaces, controls or specials of RFC 5322 §3.2.3, so that an address is one in every header and command. Quoted local
 * parts are not taken: what they are good for is to smuggle. A leading hyphen would be an option to a `sendmail` program.
 */
const LOCAL_PART = /^(?!-)[^\s\p{C}"(),:;<>@[\\\]]+$/u

/** Letters and digits of any script; what a label may really hold is for the registry. Address literals are not taken. */
const DOMAIN =
  /^(?=[^.])(?:[\p{L}\p{M}\p{N}](?:[\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?\.)*[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?$/u

/**
 * The one form of a mail address, by which it is remembered, or undefined when it is none: `Ana@EXAMPLE.com` and
 * `ana@example.com` are one mailbox to every server that people have, although RFC 5321 §2.4 leaves the local part's case
 * to the server. A domain in another script is the same as its ASCII form.
 */
export function normalisedAddress(text: string): string | undefined {
  const address = text.normalize('NFC')
  const at = address.lastIndexOf('@')
  const local = address.slice(0, at)
  const domain = address.slice(at + 1)
  if (at < 1 || address.length > ADDRESS_MAX || local.length > LOCAL_MAX || !address.isWellFormed()) return undefined
  if (!LOCAL_PART.test(local) || !DOMAIN.test(domain)) return undefined
  const host = asciiDomain(domain)
  return host === undefined ? undefined : `${local.toLowerCase()}@${host}`
}

function asciiDomain(domain: string): string | undefined {
  const lower = domain.toLowerCase()
  // Controls are out already.
  if (/^[ -~]*$/.test(lower)) return lower
  try {
    return new URL(`http://${lower}`).hostname
  } catch {
    return undefined
  }
}

/** An address among options. */
export const addressSchema: z.ZodType<string> = z
  .string()
  .refine((text) => normalisedAddress(text) !== undefined, 'must be a mail address')
