import { type Html, html } from '../page/html.ts'
import type { AssetPaths } from './assets.ts'
import type { InboxVisitor } from './visitor.ts'

/** What all pages of an inbox have in common. */
export interface Site {
  /** Where the inbox is mounted: empty, or beginning with a slash and not ending with one. */
  readonly basePath: string
  readonly title: string
  readonly assets: AssetPaths
}

/** The three lists, by the name in the query. */
export type ListName = 'waiting' | 'open' | 'settled'

export const homeOf = (site: Site): string => `${site.basePath}/`

export const requestPath = (site: Site, requestId: string, rest = ''): string =>
  `${site.basePath}/requests/${encodeURIComponent(requestId)}${rest}`

export interface PageParts {
  readonly title: string
  readonly visitor?: InboxVisitor
  readonly list?: ListName
  readonly main: Html
}

/** A page whole: landmarks, a way past the navigation, and nothing that is not in a file of its own. */
export function pageOf(site: Site, { title, visitor, list, main }: PageParts): Html {
  const { script, style, icon } = site.assets
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · ${site.title}</title>
<link rel="icon" type="image/svg+xml" href="${icon}">
<link rel="stylesheet" href="${style}">
<script src="${script}" defer></script>
</head>
<body data-home="${homeOf(site)}">
<a class="skip" href="#main">Skip to content</a>
<header class="top">
<a class="brand" href="${homeOf(site)}">${site.title}</a>
${visitor === undefined ? undefined : navigation(site, visitor, list)}
</header>
<main id="main" tabindex="-1">
${main}
</main>
<footer class="bottom">
<button type="button" class="plain" data-shortcuts-open hidden>Keyboard shortcuts</button>
</footer>
${shortcuts}
</body>
</html>
`
}

function navigation(site: Site, visitor: InboxVisitor, list: ListName | undefined): Html {
  const names: readonly (readonly [ListName, string])[] = [
    ['waiting', 'To decide'],
    ...(visitor.sees === 'tenant' ? ([['open', 'All open']] as const) : []),
    ['settled', 'Settled']
  ]
  const links = names.map(([name, label]) => {
    const target = name === 'waiting' ? homeOf(site) : `${homeOf(site)}?list=${name}`
    return name === list
      ? html`<li><a href="${target}" aria-current="page">${label}</a></li>`
      : html`<li><a href="${target}">${label}</a></li>`
  })
  return html`<nav aria-label="Lists"><ul>${links}</ul></nav>
<p class="who"><span class="unseen">Signed in as </span><bdi>${visitor.name ?? visitor.approver}</bdi></p>`
}

/** Shown by the script, without which there are no shortcuts. WCAG 2.1.4: whoever they disturb turns them off. */
const shortcuts = html`<dialog id="shortcuts" aria-labelledby="shortcuts-title">
<h2 id="shortcuts-title">Keyboard shortcuts</h2>
<dl class="keys">
<div><dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next, previous request in a list</dd></div>
<div><dt><kbd>Enter</kbd></dt><dd>open it</dd></div>
<div><dt><kbd>x</kbd></dt><dd>select it</dd></div>
<div><dt><kbd>n</kbd></dt><dd>show what is new</dd></div>
<div><dt><kbd>a</kbd> <kbd>d</kbd></dt><dd>go to the button that approves, that denies</dd></div>
<div><dt><kbd>c</kbd> <kbd>e</kbd></dt><dd>comment, edit</dd></div>
<div><dt><kbd>u</kbd></dt><dd>back to the list</dd></div>
<div><dt><kbd>?</kbd></dt><dd>this help</dd></div>
</dl>
<p class="quiet">None of them decides by itself, and none works while you type.</p>
<p><label class="check"><input type="checkbox" data-shortcuts-on checked> Use single-key shortcuts</label></p>
<form method="dialog"><button>Close</button></form>
</dialog>`
