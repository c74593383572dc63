import type { JsonObject, JsonValue } from '@enablement/core'
import { type Html, html } from '../page/html.ts'
import type { RequestView } from '../request/request-view.ts'
import { shownJson } from './shown-json.ts'

/** One place at which two details differ. */
export interface Change {
  /** Dotted, such as `lines.0.cents`. */
  readonly path: string
  /** Undefined where there was nothing. */
  readonly before: JsonValue | undefined
  readonly after: JsonValue | undefined
}

/** Where two details differ, in the order of the new one; what is gone comes last at its level. */
export function changesBetween(before: JsonObject, after: JsonObject): readonly Change[] {
  return compare(before, after, [])
}

function compare(before: JsonValue | undefined, after: JsonValue | undefined, path: readonly string[]): Change[] {
  const one = membersOf(before)
  const other = membersOf(after)
  if (one !== undefined && other !== undefined && Array.isArray(before) === Array.isArray(after)) {
    return [...new Set([...other.keys(), ...one.keys()])].flatMap((name) =>
      compare(one.get(name), other.get(name), [...path, name])
    )
  }
  const isSame = before !== undefined && after !== undefined && shownJson(before) === shownJson(after)
  return isSame ? [] : [{ path: path.join('.'), before, after }]
}

function membersOf(value: JsonValue | undefined): ReadonlyMap<string, JsonValue> | undefined {
  return typeof value === 'object' && value !== null ? new Map(Object.entries(value)) : undefined
}

/**
 * The changes as a table, named by `caption` for whoever cannot see where it stands. Colour says nothing that the column's
 * heading does not say too. Roles are spelled out because a phone shows rows as blocks, which browsers take for no table.
 */
export function changesView(changes: readonly Change[], caption: string): Html {
  const side = (value: JsonValue | undefined): Html =>
    value === undefined ? html`<span class="quiet">nothing</span>` : html`<code class="json">${shownJson(value)}</code>`
  const rows = changes.map(
    ({ path, before, after }) =>
      html`<tr role="row"><th scope="row" role="rowheader"><bdi>${path}</bdi></th><td role="cell" data-label="Before"><del>${side(before)}</del></td><td role="cell" data-label="After"><ins>${side(after)}</ins></td></tr>`
  )
  const columns = ['What', 'Before', 'After'].map((name) => html`<th scope="col" role="columnheader">${name}</th>`)
  return html`<table class="changes" role="table"><caption class="unseen">${caption}</caption><thead role="rowgroup"><tr role="row">${columns}</tr></thead><tbody role="rowgroup">${rows}</tbody></table>`
}

/** What each edit of a request changed, in the order of the edits. */
export function changesByEdit({ edits, detail }: RequestView): readonly (readonly Change[])[] {
  return edits.map(({ before }, at) => changesBetween(before, edits[at + 1]?.before ?? detail))
}
