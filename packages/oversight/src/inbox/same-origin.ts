/**
 * Whether a request that would change something comes from a page of this very origin. Browsers say so themselves in
 * `Sec-Fetch-Site`, which no script can set; older ones, and pages on plain HTTP, in `Origin`. A request with neither is
 * no form of ours. `origin` is where the inbox is for its visitors, when a proxy in front of it has another name.
 */
export function isSameOrigin(request: Request, origin: string | undefined): boolean {
  const site = request.headers.get('sec-fetch-site')
  if (site !== null) return site === 'same-origin'
  return request.headers.get('origin') === (origin ?? new URL(request.url).origin)
}
