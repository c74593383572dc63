import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { startWorker } from '@enablement/core/schedule'
import { createInbox, type Inbox, type InboxOptions, type InboxVisitor } from '@enablement/oversight/inbox'
import { ensureChromium } from '@enablement/services'
import { type ServerType, serve } from '@hono/node-server'
import { Hono } from 'hono'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { type Kernel, kernel } from './kernel.ts'
import { FORM_KEY } from './stage.ts'

/** Chromium, by our own tooling. */
export async function launch(): Promise<Browser> {
  return await chromium.launch({ executablePath: await ensureChromium() })
}

/** People by a cookie, as browsers bring it: `user=ana@acme`. */
const byCookie = async (request: Request): Promise<InboxVisitor | undefined> => {
  const [approver, tenant] = (/(?:^|; )user=([^;]+)/.exec(request.headers.get('cookie') ?? '')?.[1] ?? '').split('@')
  if (approver === undefined || tenant === undefined) return undefined
  return { approver, tenant, name: approver === 'ana' ? 'Ana Ibarra' : approver }
}

export interface Desktop extends Kernel {
  readonly inbox: Inbox
  readonly url: string
  /** Where a path of the inbox is. */
  at(path: string): string
  /** A page of somebody's own, which reports what the policy for content stopped. */
  visit(user: string, options?: BrowserContextOptions): Promise<Page>
  /** What the policy for content stopped, on any page. None is what it should be. */
  readonly violations: readonly string[]
}

/** The inbox mounted in Hono, on a real port, over a kernel whose duties a worker runs. */
export async function desktop(browser: Browser, options: Partial<InboxOptions> = {}): Promise<Desktop> {
  const ground = await kernel()
  const worker = startWorker({ duties: ground.oversight.duties, pollMs: 250 })
  const inbox = createInbox({
    oversight: ground.oversight,
    authenticate: byCookie,
    formKeys: [FORM_KEY],
    basePath: '/inbox',
    pollMs: 250,
    ...options
  })
  const app = new Hono()
  app.all('/inbox/*', (c) => inbox.handle(c.req.raw))
  const server: ServerType = await new Promise((resolve) => {
    const one = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () => resolve(one))
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const violations: string[] = []
  const closing: (() => Promise<void>)[] = []
  return {
    ...ground,
    inbox,
    url: `${url}/inbox/`,
    at: (path) => `${url}/inbox${path}`,
    violations,
    async visit(user, contextOptions = {}) {
      const context = await browser.newContext({ reducedMotion: 'reduce', ...contextOptions })
      closing.push(() => context.close())
      await context.addCookies([{ name: 'user', value: user, url }])
      await context.exposeBinding('violated', (_, text: string) => void violations.push(text))
      await context.addInitScript({
        content: `document.addEventListener('securitypolicyviolation', (event) =>
          violated(event.violatedDirective + ' ' + event.blockedURI + ' on ' + location.pathname))`
      })
      const page = await context.newPage()
      page.on('console', (message) => {
        if (/content security policy/i.test(message.text())) violations.push(message.text())
      })
      page.on('pageerror', (error) => violations.push(`script: ${error.message}`))
      return page
    },
    async [Symbol.asyncDispose]() {
      await inbox.close()
      await Promise.all(closing.map((close) => close()))
      await new Promise((resolve) => server.close(resolve))
      await worker.close()
      await ground[Symbol.asyncDispose]()
    }
  }
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

/** What axe has against a page: WCAG 2.2 A and AA, and its own best practices; or one rule alone. */
export async function axeFaults(page: Page, rule?: string): Promise<readonly string[]> {
  if ((await page.evaluate('typeof axe')) === 'undefined') await page.evaluate(axe)
  const runOnly = rule === undefined ? { type: 'tag', values: TAGS } : { type: 'rule', values: [rule] }
  return await page.evaluate(`axe.run(document, { resultTypes: ['violations'], runOnly: ${JSON.stringify(runOnly)} }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map((node) => id + ': ' + node.html.slice(0, 120) + ' ' + node.failureSummary)))`)
}
