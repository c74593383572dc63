import { pageAnswer, textAnswer } from './answer.ts'
import type { Site } from './layout.ts'
import { noticePage } from './notice-page.ts'

/** Where people sign in. */
export interface SignIn {
  readonly url: string
  /** Sends people there at once; a link on a page that says so unless given. */
  readonly redirect?: boolean
  /** The query parameter that takes the path to come back to; none unless given. */
  readonly returnParameter?: string
}

/** The answer for nobody. A form is never sent on elsewhere: what was typed would be lost on the way. */
export function signInAnswer(site: Site, signIn: SignIn | undefined, request: Request): Response {
  const title = 'Sign in first'
  const text = 'Nobody is signed in here.'
  if (signIn === undefined) return pageAnswer(401, noticePage(site, { title, text }))
  const href = addressOf(site, signIn, request)
  if (signIn.redirect === true && request.method !== 'POST') return textAnswer(302, title, { location: href })
  return pageAnswer(401, noticePage(site, { title, text, link: { href, label: 'Sign in' } }))
}

function addressOf(site: Site, { url, returnParameter }: SignIn, request: Request): string {
  if (returnParameter === undefined) return url
  const { pathname, search } = new URL(request.url)
  const back = request.method === 'POST' ? `${site.basePath}/` : pathname + search
  return `${url}${url.includes('?') ? '&' : '?'}${returnParameter}=${encodeURIComponent(back)}`
}
