import type { Html } from '../page/html.ts'

/** The policy of every page: its own script, style sheet and icon, forms to itself, nothing inline, nobody's frame. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  // Without it browsers report a violation for the icon that they look for by themselves.
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'"
].join('; ')

/** Of every answer. `same-origin`, and not `no-referrer`, under which browsers send forms with `Origin: null`. */
export const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'x-robots-tag': 'noindex, nofollow'
}

/** What a person works on is not kept by caches, and a proxy makes no copy. */
const unkept: Readonly<Record<string, string>> = { ...securityHeaders, 'cache-control': 'no-store' }

export function pageAnswer(status: number, page: Html, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(page.toString(), {
    status,
    headers: { ...unkept, 'content-type': 'text/html; charset=utf-8', ...headers }
  })
}

export function textAnswer(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(text, {
    status,
    headers: { ...unkept, 'content-type': 'text/plain; charset=utf-8', ...headers }
  })
}

/** After a form that did something: the browser gets a page that can be loaded again. */
export function seeOther(location: string): Response {
  return new Response(null, { status: 303, headers: { ...unkept, location } })
}

export const done = (): Response => new Response(null, { status: 204, headers: unkept })
