/** Scripts in which a joiner inside a word changes how the word is written (Unicode UAX #31 §2.3), such as Persian. */
const JOINED = `[${'Arab Syrc Nkoo Mong Deva Beng Guru Gujr Orya Taml Telu Knda Mlym Sinh Khmr Mymr Tibt Bali Java'
  .split(' ')
  .map((script) => `\\p{scx=${script}}`)
  .join('')}]`

/** What may be invisible where it stands: layout, and what the writing of a language or of an emoji needs there. */
const NEEDED = [
  '[\\t\\n]',
  // One joiner, within a word or after a mark, and between the parts of an emoji.
  `(?<=${JOINED})[\\u200c\\u200d](?=${JOINED})`,
  `(?<=\\p{M})(?<=${JOINED})[\\u200c\\u200d]`,
  '(?<=[\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\ufe0f])\\u200d(?=\\p{Extended_Pictographic})',
  // The selector that makes an emoji or a sign of what is before it; on a digit only as part of a keycap.
  '(?<=\\p{Extended_Pictographic})[\\ufe0e\\ufe0f]',
  '(?<=[0-9#*])\\ufe0f(?=\\u20e3)',
  // One selector after an ideograph: names of people and places are told apart by them (Unicode UTS #37).
  '(?<=\\p{Script=Han})[\\ufe00-\\ufe02\\u{e0100}-\\u{e01ef}]'
].join('|')

/**
 * What hides, or changes the order or the look of the text around it: controls, format characters (bidi controls, "Trojan
 * Source", CVE-2021-42574; zero-width ones; tags), line and paragraph separators, whatever else Unicode says is shown as
 * nothing (`Default_Ignorable_Code_Point`: Hangul fillers, the grapheme joiner, Mongolian and other variation selectors),
 * and marks beyond four on one letter (Unicode UTS #39 §5.4), which pile up over the lines around them.
 */
const UNSEEN = new RegExp(
  `(?!${NEEDED})(?:[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Default_Ignorable_Code_Point}]|(?<=[\\p{Mn}\\p{Me}]{4})[\\p{Mn}\\p{Me}])`,
  'gu'
)

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;'
}

/** Text with what it hides written out, each character as `written` has it. */
export function withSeen(text: string, written: (character: string) => string): string {
  return text.replaceAll(UNSEEN, written)
}

/** Text in which everything is seen, in the order in which it is stored: what hides or reorders shows as `[U+202E]`. */
function seenText(text: string): string {
  return withSeen(text.toWellFormed().replaceAll('\r\n', '\n'), (one) => {
    return `[U+${(one.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')}]`
  })
}

/** HTML that is safe as it stands. Only `html` and `safeHtml` make it. */
export class Html {
  readonly #markup: string

  constructor(markup: string) {
    this.#markup = markup
  }

  toString(): string {
    return this.#markup
  }
}

/** What `html` takes between its pieces. */
export type HtmlPart = Html | string | number | undefined | readonly (Html | string | number | undefined)[]

/**
 * HTML in which every text from outside is escaped, for between tags and for attributes in double quotes, and shows what
 * it hides. Pieces that `html` made go in as they are, lists one after another, undefined as nothing.
 */
export function html(pieces: TemplateStringsArray, ...parts: readonly HtmlPart[]): Html {
  return new Html(pieces.reduce((markup, piece, at) => markup + markupOf(parts[at - 1]) + piece))
}

/** Marks text of our own as HTML, such as a style sheet. Never for what comes from outside. */
export function safeHtml(markup: string): Html {
  return new Html(markup)
}

function markupOf(part: HtmlPart): string {
  if (part === undefined) return ''
  if (part instanceof Html) return part.toString()
  if (typeof part === 'object') return part.map(markupOf).join('')
  return seenText(String(part)).replaceAll(/[&<>"']/g, (one) => ENTITIES[one] as string)
}
