import type { JsonObject, JsonValue } from '@enablement/core'
import { type Html, html } from '../page/html.ts'
import { shownJson } from './shown-json.ts'

/** Deeper than this a detail is shown as JSON: indentation would leave no room for text on a phone. */
const DEPTH_MAX = 4

/** A detail as names and values. Texts that could be taken for another kind of value are shown in quotes. */
export function jsonView(detail: JsonObject): Html {
  return Object.keys(detail).length === 0
    ? html`<p class="quiet">Nothing: the detail is empty.</p>`
    : members(detail, 1)
}

function members(value: JsonObject, depth: number): Html {
  const rows = Object.entries(value).map(
    ([name, member]) => html`<div><dt><bdi>${name}</bdi></dt><dd>${valueView(member, depth)}</dd></div>`
  )
  return html`<dl class="members">${rows}</dl>`
}

function valueView(value: JsonValue, depth: number): Html {
  if (typeof value === 'string') return textView(value)
  if (typeof value !== 'object' || value === null) return html`<span class="scalar">${JSON.stringify(value)}</span>`
  const isEmpty = Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0
  if (isEmpty || depth >= DEPTH_MAX) return html`<code class="json">${shownJson(value)}</code>`
  if (!Array.isArray(value)) return members(value as JsonObject, depth + 1)
  return html`<ol class="items">${value.map((item: JsonValue) => html`<li>${valueView(item, depth + 1)}</li>`)}</ol>`
}

const AMBIGUOUS = /^(?:\s.*|.*\s|-?\d.*|true|false|null|")?$/s

function textView(text: string): Html {
  const shown = AMBIGUOUS.test(text) ? `“${text}”` : text
  return html`<span class="text" dir="auto">${shown}</span>`
}
