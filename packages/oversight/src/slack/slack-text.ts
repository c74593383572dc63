/** Controls, formats (zero-width, bidirectional, tags) and private use; joiners, which scripts and emoji need, stay. */
const UNSHOWN = /(?![\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Co}]/gu
const LINE_BREAKS = /\r\n?|[\u0085\u2028\u2029]/g
const RESERVED: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/**
 * Text of an agent or a person as it may be shown: what has no shape of its own, or reorders what is around it, is shown as
 * a replacement character, for an approver must not read something else than what was written.
 */
export function shown(text: string): string {
  return text.toWellFormed().replace(LINE_BREAKS, '\n').replace(/\t/g, '  ').replace(UNSHOWN, '\ufffd')
}

/** The same on one line. */
export const shownOnOneLine = (text: string): string => shown(text).replace(/\s+/gu, ' ').trim()

/**
 * Escapes what is shown, and cuts it to `lengthMax` UTF-16 units as Slack counts them, escapes included. Slack reads `<…>`
 * in every text as a control sequence, such as `<!channel>`, and `&`, `<` and `>` are all that it asks to escape.
 */
export function escaped(text: string, lengthMax: number): string {
  let out = ''
  for (const character of text) {
    const next = RESERVED[character] ?? character
    if (out.length + next.length > lengthMax) return `${fitting(out, lengthMax - 1)}…`
    out += next
  }
  return out
}

/** The text up to a length, without half an escape or half a character at its end. */
function fitting(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text
  return text
    .slice(0, lengthMax)
    .replace(/&[a-z]*$/, '')
    .replace(/[\ud800-\udbff]$/, '')
}

/**
 * An instant (epoch milliseconds) as mrkdwn that each reader's client shows in their own zone. Clients that cannot show
 * UTC.
 */
export function dateToken(at: number): string {
  return `<!date^${Math.floor(at / 1_000)}^{date_short_pretty} {time}|${utcText(at)}>`
}

const utc = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', dateStyle: 'medium', timeStyle: 'short' })

const utcText = (at: number): string => `${utc.format(at)} UTC`

const units: readonly (readonly [ms: number, name: string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min']
]

/** A span in its largest unit, rounded down. */
export function spanText(durationMs: number): string {
  const [ms, name] = units.find(([unitMs]) => durationMs >= unitMs) ?? [1_000, 's']
  return `${Math.floor(durationMs / ms)} ${name}`
}
