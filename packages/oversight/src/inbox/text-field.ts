import { type Html, html, safeHtml } from '../page/html.ts'

/** Characters of a reason and of a comment: what a request records of either. */
export const TEXT_LENGTH_MAX = 2_000

const ENTITIES: Readonly<Record<string, string>> = { '\0': '', '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** A field's own text, given back as it was typed: escaped, without the NUL that HTML cannot hold. */
export const verbatim = (text: string): Html => safeHtml(text.replaceAll(/[\0&<>"]/g, (one) => ENTITIES[one] as string))

/** What is wrong with a field, beside it; the field names it in `aria-describedby`. */
export const errorText = (field: string, error: string | undefined): Html | undefined =>
  error === undefined
    ? undefined
    : html`<p class="error" id="${field}-error"><span class="unseen">Error: </span>${error}</p>`

/** Why a text cannot be taken, or undefined when it can. The words are for whoever typed it. */
export function textFault(text: string): string | undefined {
  if (text.length > TEXT_LENGTH_MAX) return `At most ${TEXT_LENGTH_MAX} characters; these are ${text.length}.`
  if (/[\u202a-\u202e\u2066-\u2069]/.test(text))
    return 'It holds invisible characters that reorder the text around them.'
  return text.isWellFormed() && !text.includes('\0') ? undefined : 'It holds characters that cannot be kept.'
}
