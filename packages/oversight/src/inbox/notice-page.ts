import { type Html, html } from '../page/html.ts'
import { homeOf, pageOf, type Site } from './layout.ts'
import type { InboxVisitor } from './visitor.ts'

/** A page that only says something: what is not there, not allowed or not known. */
export function noticePage(
  site: Site,
  parts: {
    readonly title: string
    readonly text: string
    readonly link?: { readonly href: string; readonly label: string }
  },
  visitor?: InboxVisitor
): Html {
  const { title, text, link = { href: homeOf(site), label: 'To the list' } } = parts
  const main = html`<h1>${title}</h1>
<p>${text}</p>
<p><a class="button" href="${link.href}">${link.label}</a></p>`
  return pageOf(site, { title, main, ...(visitor === undefined ? {} : { visitor }) })
}
