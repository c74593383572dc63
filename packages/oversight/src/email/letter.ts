/** A mail's subject and its two bodies, which say the same. */
export interface Letter {
  readonly subject: string
  readonly text: string
  readonly html: string
}

/** A part of a letter. What it says is plain text, whoever wrote it, and stays that in both bodies. */
export type Passage =
  | { readonly kind: 'heading'; readonly text: string }
  | { readonly kind: 'paragraph'; readonly text: string }
  /** What somebody else wrote, shown as a quotation. */
  | { readonly kind: 'quotation'; readonly text: string }
  | { readonly kind: 'facts'; readonly facts: Facts }
  /** Of which the labels, too, are somebody else's. */
  | { readonly kind: 'quoted-facts'; readonly facts: Facts }
  | { readonly kind: 'links'; readonly links: readonly (readonly [label: string, url: string])[] }

type Facts = readonly (readonly [label: string, value: string])[]

/**
 * Controls (among them every line break), and format characters, which reorder or hide text (bidirectional ones, zero
 * widths, annotations, tags). Joiners stay: scripts and emoji need them.
 */
const UNSHOWN = /(?:(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}])+/gu

/** One line of at most `max` characters that shows as what it is. */
export function plainLine(text: string, max: number): string {
  // Cut first, so that a huge text costs no more than a long one.
  const line = text
    .slice(0, max * 4)
    .toWellFormed()
    .replace(UNSHOWN, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  return line.length <= max
    ? line
    : `${line
        .slice(0, max - 1)
        .toWellFormed()
        .trimEnd()}…`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;'
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string)

/** Both bodies of a letter. No images, fonts, scripts or style sheets: nothing is fetched when it is opened. */
export function renderedLetter(subject: string, passages: readonly Passage[]): Letter {
  return {
    subject,
    text: `${passages.map(asText).join('\n\n')}\n`,
    html: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(subject)}</title>
</head>
<body style="margin:0 auto;max-width:40em;padding:1em;font:16px/1.5 sans-serif">
${passages.map(asHtml).join('\n')}
</body>
</html>
`
  }
}

function asText(passage: Passage): string {
  switch (passage.kind) {
    case 'heading':
    case 'paragraph':
      return passage.text
    case 'quotation':
      return `> ${passage.text}`
    case 'facts':
      return passage.facts.map(([label, value]) => `${label}: ${value}`).join('\n')
    case 'quoted-facts':
      return passage.facts.map(([label, value]) => `> ${label}: ${value}`).join('\n')
    case 'links':
      return passage.links.map(([label, url]) => `${label}:\n${url}`).join('\n\n')
  }
}

function asHtml(passage: Passage): string {
  switch (passage.kind) {
    case 'heading':
      return `<h1 style="font-size:1.25em;line-height:1.3">${escaped(passage.text)}</h1>`
    case 'paragraph':
      return `<p>${escaped(passage.text)}</p>`
    case 'quotation':
      return quoted(escaped(passage.text))
    case 'facts':
      return factList(passage.facts)
    case 'quoted-facts':
      return quoted(factList(passage.facts))
    case 'links': {
      const links = passage.links.map(
        ([label, url]) => `<li style="margin:.75em 0"><a href="${escaped(url)}">${escaped(label)}</a></li>`
      )
      return `<ul style="list-style:none;padding:0">\n${links.join('\n')}\n</ul>`
    }
  }
}

const quoted = (html: string): string =>
  `<blockquote style="margin:1em 0;padding-left:1em;border-left:4px solid #767676">${html}</blockquote>`

function factList(facts: Facts): string {
  const terms = facts.map(
    ([label, value]) =>
      `<dt style="font-weight:bold">${escaped(label)}</dt><dd style="margin:0 0 .5em;overflow-wrap:anywhere">${escaped(value)}</dd>`
  )
  return `<dl>\n${terms.join('\n')}\n</dl>`
}
