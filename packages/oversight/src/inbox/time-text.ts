import { type Html, html } from '../page/html.ts'

const units: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's']
]

/** A span in its two largest units: `2 h 5 min`, `14 min`, `9 s`. */
export function spanText(durationMs: number): string {
  const at = units.findIndex(([unitMs]) => durationMs >= unitMs)
  if (at < 0) return '0 s'
  const [unitMs, name] = units[at] as readonly [number, string]
  const count = Math.floor(durationMs / unitMs)
  const next = units[at + 1]
  // Seconds beside minutes would say more than anybody wants to know.
  const rest = next === undefined || next[0] < 60_000 ? 0 : Math.floor((durationMs % unitMs) / next[0])
  return rest === 0 ? `${count} ${name}` : `${count} ${name} ${rest} ${next?.[1] ?? ''}`
}

/** `in 14 min`, `3 h ago`. The script of the page says the same as time goes by. */
function relativeText(at: number, now: number): string {
  const awayMs = at - now
  if (Math.abs(awayMs) < 1_000) return 'now'
  return awayMs > 0 ? `in ${spanText(awayMs)}` : `${spanText(-awayMs)} ago`
}

/** An instant of the store as everybody reads it the same way: `2026-11-24 14:25:07 UTC`. */
function absoluteText(at: number): string {
  return new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, ' UTC')
}

/** An instant, relative and absolute. The script shows the absolute one in the visitor's own time zone. */
export function instant(at: number, now: number): Html {
  const iso = new Date(at).toISOString()
  return html`<span class="instant"><time datetime="${iso}" data-relative>${relativeText(at, now)}</time> <time class="absolute" datetime="${iso}" data-absolute>${absoluteText(at)}</time></span>`
}

/** The same for lists, where the absolute one is a hint on the relative one. */
export function shortInstant(at: number, now: number): Html {
  return html`<time datetime="${new Date(at).toISOString()}" title="${absoluteText(at)}" data-relative>${relativeText(at, now)}</time>`
}
