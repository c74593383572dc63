import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { axeFaults, type Desktop, desktop, launch } from './browser.ts'
import type { Opened } from './kernel.ts'

let browser: Browser
beforeAll(async () => {
  browser = await launch()
}, 60_000)
afterAll(() => browser.close())

/** A busy machine may take its time. */
const patient = { timeout: 15_000 }

const focused = (page: Page): Promise<string> =>
  page.evaluate(`document.activeElement.id || document.activeElement.textContent.trim()`)

/** The text of the page, as a person reads it. */
const main = (page: Page): Promise<string> => page.evaluate(`document.querySelector('main').innerText`)

/** Everything that is wider than the page, or smaller than a finger. */
const misfits = (page: Page): Promise<readonly string[]> =>
  page.evaluate(`(() => {
    const faults = []
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth
    if (wide > 0) faults.push(location.pathname + ' scrolls by ' + wide)
    for (const one of document.querySelectorAll('button, .button, input:not([type=hidden]), select, textarea, summary, nav a, h2 a, .back a')) {
      const target = one.type === 'checkbox' ? one.closest('label') : one
      const { width, height } = target.getBoundingClientRect()
      if (width > 0 && (width < 44 || height < 44)) faults.push(one.outerHTML.slice(0, 80) + ' ' + width + ' x ' + height)
    }
    return faults
  })()`)

describe('a page of the inbox', () => {
  it('approves what it has read, says so, and lets the agent go on', async () => {
    await using desk = await desktop(browser)
    const { id } = await desk.open({ summary: 'Refund 12.00 for order 118' })
    const request = desk.oversight.request(desk.actionOf('payments.refund'), id)
    let paid: unknown
    const { promise: bankOpens, resolve: openBank } = Promise.withResolvers<void>()
    const agent = request.settled().then(() =>
      request.execute(async ({ detail }) => {
        paid = detail
        await bankOpens
        return 'paid'
      })
    )
    const page = await desk.visit('ana@acme')
    await page.goto(desk.url)
    await page.getByRole('link', { name: 'Refund 12.00 for order 118' }).click()
    await expect.poll(() => desk.views(id), patient).toEqual(['v1 by ana'])
    expect(paid).toBeUndefined()
    await page.getByRole('button', { name: 'Approve' }).click()
    await page.waitForURL(/#outcome$/)
    expect(await main(page)).toMatch(/You approved this now.* Approved by ana/)
    expect(await page.getByRole('button', { name: 'Approve' }).count()).toBe(0)
    openBank()
    expect(await agent).toEqual({ outcome: 'executed', result: 'paid' })
    expect(paid).toEqual({ order: '118', cents: 1_200 })
    await page.getByRole('button', { name: 'Show changes' }).click()
    await expect.poll(() => main(page), patient).toMatch(/Effect\s+carried out/)
    expect(await desk.views(id)).toEqual(['v1 by ana'])
    expect(desk.violations).toEqual([])
  })

  it('shows what arrives while it is open, without moving anything until asked', async () => {
    await using desk = await desktop(browser)
    await desk.open({ summary: 'Refund one' })
    const two = await desk.open({ summary: 'Refund two' })
    const page = await desk.visit('ana@acme')
    await page.goto(desk.url)
    await page.getByText('Up to date.').waitFor()
    await page.getByLabel('Select: Refund one').check()
    const link = page.getByRole('link', { name: 'Refund one' })
    await link.focus()
    const before = await link.boundingBox()
    await desk.open({ summary: 'Refund three' })
    await desk.oversight.decide(two.id, { approver: 'bo', decision: 'approve' })
    const show = page.getByRole('button', { name: 'Show 1 new' })
    await show.waitFor()
    await page.getByText('No longer waits for you.').waitFor()
    expect(await page.getByRole('status').textContent()).toBe('1 new request.')
    expect(await page.title()).toMatch(/^\(1 new\) /)
    expect(await link.boundingBox()).toEqual(before)
    expect(await focused(page)).toBe('Refund one')
    expect(await page.getByLabel('Select: Refund two').isDisabled()).toBe(true)
    await show.click()
    await page.getByRole('link', { name: 'Refund three' }).waitFor()
    expect(await focused(page)).toBe('Refund three')
    expect(await page.getByLabel('Select: Refund one').isChecked()).toBe(true)
    expect(await page.getByRole('link', { name: 'Refund two' }).count()).toBe(0)
    // And it goes on.
    await desk.open({ summary: 'Refund four' })
    await page.getByRole('button', { name: 'Show 1 new' }).waitFor()
    expect(desk.violations).toEqual([])
  })

  it('shows what comes to this person by escalation', async () => {
    await using desk = await desktop(browser)
    const page = await desk.visit('ana@acme')
    await page.goto(desk.url)
    await page.getByText('Up to date.').waitFor()
    const { id } = await desk.open({ summary: 'Rotate the key', action: 'keys.rotate' })
    await page.getByRole('button', { name: 'Show 1 new' }).click()
    await page.getByRole('link', { name: 'Rotate the key' }).click()
    await page.getByText('Tier 2 asked last').waitFor()
    await page.getByRole('button', { name: 'Approve' }).click()
    await page.waitForURL(/#outcome$/)
    const { verdict, seats } = await desk.oversight.inspect(id)
    expect(verdict).toMatchObject({ outcome: 'approved', by: 'ana' })
    expect(seats.map(({ approver, tier }) => `${approver} ${tier}`)).toEqual(['bo 0', 'ana 1'])
    expect(desk.violations).toEqual([])
  })
})

/** On the built output it is enough that script and style sheet arrive whole: the rest takes ten seconds, once. */
const onSources = process.env['TARGET'] === 'dist' ? [] : ['the sources']

describe.each(onSources)('a person at the inbox, on %s', () => {
  it('denies with a reason, and asks for one where it is missing', async () => {
    await using desk = await desktop(browser)
    const { id, path } = await desk.open({ summary: 'Refund 12.00 for order 118' })
    const page = await desk.visit('ana@acme')
    await page.goto(desk.at(path))
    await page.getByRole('button', { name: 'Deny' }).click()
    await page.waitForSelector('#reason-error')
    expect(await page.title()).toMatch(/^Error: /)
    expect(await focused(page)).toBe('reason')
    expect(await page.getAttribute('#reason', 'aria-describedby')).toBe('reason-error')
    expect((await desk.oversight.inspect(id)).status).toBe('pending')
    await page.fill('#reason', 'The order was <b>delivered</b> & kept.')
    await page.getByRole('button', { name: 'Deny' }).click()
    await page.waitForURL(/#outcome$/)
    expect(await main(page)).toContain('The order was <b>delivered</b> & kept.')
    expect((await desk.oversight.inspect(id)).verdict).toMatchObject({ outcome: 'denied', by: 'ana' })
  })

  it('comments, and keeps the reason that was begun', async () => {
    await using desk = await desktop(browser)
    const { id, path } = await desk.open({ summary: 'Refund 12.00 for order 118' })
    const page = await desk.visit('ana@acme')
    await page.goto(desk.at(path))
    await page.fill('#reason', 'Not sure yet')
    await page.getByLabel('Add a comment').fill('Who took the order?\nI did not.')
    await page.getByRole('button', { name: 'Comment' }).click()
    await page.waitForURL(/#comments$/)
    expect(await page.inputValue('#reason')).toBe('Not sure yet')
    expect(await page.locator('blockquote').textContent()).toBe('Who took the order?\nI did not.')
    expect((await desk.oversight.inspect(id)).comments).toHaveLength(1)
  })

  it('edits what is asked: shows faults at the field, then the change, then asks again', async () => {
    await using desk = await desktop(browser)
    const { id, path } = await desk.open({ summary: 'Refund 12.00 for order 118' })
    const [ana, bo] = [await desk.visit('ana@acme'), await desk.visit('bo@acme')]
    await bo.goto(desk.at(path))
    await bo.getByText('Up to date.').waitFor()
    const button = bo.getByRole('button', { name: 'Approve' })
    const before = await button.boundingBox()
    await ana.goto(desk.at(path))
    await ana.getByRole('link', { name: 'Edit what is asked' }).click()
    await ana.fill('#reason', 'Only half of it was late')
    const attempt = async (text: string, button: string): Promise<void> => {
      await ana.fill('#detail', text)
      await ana.getByRole('button', { name: 'Check the change' }).click()
      await ana.getByRole('button', { name: button }).waitFor()
    }
    await attempt('{"order":', 'Check the change')
    expect(await ana.locator('#detail-error').textContent()).toMatch(/This is not JSON/)
    expect(await focused(ana)).toBe('detail')
    await attempt('{"order":"118","cents":-600}', 'Save and ask again')
    await ana.getByRole('button', { name: 'Save and ask again' }).click()
    await ana.waitForSelector('#detail-error')
    expect(await ana.locator('#detail-error').textContent()).toBe('cents: must be a positive integer')
    expect(await ana.inputValue('#reason')).toBe('Only half of it was late')
    await attempt('{"order":"118","cents":600}', 'Save and ask again')
    const changed = (page: Page): Promise<string[]> => page.locator('.changes tbody tr > *').allTextContents()
    expect(await changed(ana)).toEqual(['cents', '1200', '600'])
    await ana.getByRole('button', { name: 'Save and ask again' }).click()
    await ana.waitForURL(new RegExp(`${id}#`))
    expect(await main(ana)).toMatch(/version 2/)
    expect((await desk.oversight.inspect(id)).detail).toEqual({ order: '118', cents: 600 })

    // Bo still has the first version before him: he is told, and his vote for it does not count.
    await bo.getByRole('button', { name: 'Show changes' }).waitFor()
    expect(await button.boundingBox()).toEqual(before)
    await bo.fill('#reason', 'I know the customer')
    await button.click()
    await bo.waitForSelector('#notice')
    expect(await focused(bo)).toBe('notice')
    expect(await changed(bo)).toEqual(['cents', '1200', '600'])
    expect(await bo.inputValue('#reason')).toBe('I know the customer')
    expect(await bo.locator('#notice').textContent()).toMatch(/Not counted: it was changed while you read it/)
    expect((await desk.oversight.inspect(id)).votes).toEqual([])
    await bo.getByRole('button', { name: 'Approve' }).click()
    await bo.waitForURL(/#outcome$/)
    expect((await desk.oversight.inspect(id)).verdict).toMatchObject({ outcome: 'approved', by: 'bo' })
    expect(desk.violations).toEqual([])
  })

  it('decides a selection after a page that names each, and says what became of each', async () => {
    await using desk = await desktop(browser)
    const { oversight } = desk
    const opened: Opened[] = []
    for (const name of ['one', 'two', 'three', 'four']) opened.push(await desk.open({ summary: `Refund ${name}` }))
    const [, two, three, four] = opened as [Opened, Opened, Opened, Opened]
    const page = await desk.visit('ana@acme')
    await page.goto(desk.url)
    expect(await page.getByRole('button', { name: 'Review to approve' }).isDisabled()).toBe(true)
    for (const name of ['one', 'two', 'three']) await page.getByLabel(`Select: Refund ${name}`).check()
    await page.getByRole('button', { name: 'Review to approve' }).click()
    await page.getByRole('heading', { name: 'Approve 3 requests?' }).waitFor()
    const shown = await page.locator('code.hash').allInnerTexts()
    expect(shown).toHaveLength(3)
    await oversight.request(desk.actionOf('payments.refund'), two.id).cancel({ by: 'uma', reason: 'Done by hand' })
    await oversight.edit(three.id, { by: 'bo', detail: { cents: 5 }, reason: 'Less', argumentHash: three.argumentHash })
    await page.getByRole('button', { name: 'Approve those checked' }).click()
    await page.getByRole('heading', { name: '1 of 3 counted' }).waitFor()
    const outcomes = await page.locator('ol.batch > li').allInnerTexts()
    expect(outcomes.find((text) => text.includes('one'))).toMatch(/Your vote is on record/)
    expect(outcomes.find((text) => text.includes('two'))).toMatch(/Too late.*Withdrawn/s)
    expect(outcomes.find((text) => text.includes('three'))).toMatch(/changed while you read it/)
    expect((await oversight.inspect(four.id)).votes).toEqual([])
    expect(desk.violations).toEqual([])
  })

  it('is not viewed by anybody while it is fetched ahead or in a tab behind', async () => {
    await using desk = await desktop(browser)
    const { id, path } = await desk.open({ summary: 'Refund one' })
    const page = await desk.visit('ana@acme')
    await page.addInitScript({
      content: `let shown = false
        Object.defineProperty(document, 'visibilityState', { get: () => (shown ? 'visible' : 'hidden') })
        window.show = () => { shown = true; document.dispatchEvent(new Event('visibilitychange')) }`
    })
    const sent: string[] = []
    page.on('request', (request) => sent.push(request.url()))
    await page.goto(desk.at(path), { waitUntil: 'networkidle' })
    expect(sent.filter((url) => /viewed|live/.test(url))).toEqual([])
    await page.evaluate('show()')
    await expect.poll(() => desk.views(id), patient).toEqual(['v1 by ana'])
    await page.getByText('Up to date.').waitFor()
  })

  it('asks from time to time where streams are not to be had', async () => {
    await using desk = await desktop(browser)
    const page = await desk.visit('ana@acme')
    await page.clock.install()
    let polls = 0
    await page.route('**/live?*', (route) => {
      if (route.request().headers()['accept'] === 'text/event-stream') return route.fulfill({ status: 503, body: '' })
      polls += 1
      return route.continue()
    })
    await page.goto(desk.url)
    await page.getByText('Up to date.').waitFor()
    expect(polls).toBe(1)
    await desk.open({ summary: 'Refund one' })
    await page.clock.fastForward(5_000)
    await page.getByRole('button', { name: 'Show 1 new' }).waitFor()
    expect(polls).toBe(2)
    expect(desk.violations).toEqual([])
  })

  it('is used with the keyboard alone, and its focus is always seen', async () => {
    await using desk = await desktop(browser)
    const { oversight } = desk
    for (const summary of ['Refund one', 'Refund two']) await desk.open({ summary })
    const three = await desk.open({ summary: 'Refund three' })
    const page = await desk.visit('ana@acme')
    await page.goto(desk.url)
    const press = async (...keys: string[]): Promise<void> => {
      for (const key of keys) await page.keyboard.press(key)
    }
    const ring = (): Promise<string> => page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
    await press('Tab')
    expect(await focused(page)).toBe('Skip to content')
    await press('Enter', 'j', 'j')
    expect(await focused(page)).toBe('Refund two')
    expect(await ring()).toBe('solid')
    await press('k', 'x', 'j', 'j', 'x', 'a')
    expect(await focused(page)).toBe('Review to approve')
    await press('Enter')
    await page.getByRole('heading', { name: 'Approve 2 requests?' }).waitFor()
    // Enter on a checkbox would press the form's first button; here it must not even send the form.
    await page.evaluate(`addEventListener('submit', () => { document.title = 'sent' })`)
    await page.locator('input[name=item]').first().focus()
    await press('Enter')
    expect(await page.title()).toMatch(/^Approve 2 requests/)
    await press('u')
    await page.getByRole('heading', { name: 'To decide' }).waitFor()
    await press('j', 'Enter')
    await page.getByRole('heading', { name: 'Refund three' }).waitFor()
    await press('d')
    expect(await focused(page)).toBe('deny')
    expect(await ring()).toBe('solid')
    await press('c')
    await page.keyboard.type('a deed?')
    expect(await page.inputValue('#comment')).toBe('a deed?')
    expect(await page.locator('dialog').isVisible()).toBe(false)
    // From the field to the button that approves, by Tab alone; then by its key.
    await page.locator('#reason').focus()
    await press('Tab')
    expect(await focused(page)).toBe('approve')
    await press('Enter')
    await page.waitForURL(/#outcome$/)
    expect((await oversight.inspect(three.id)).status).toBe('approved')
    expect(desk.violations).toEqual([])
  })

  it('is used with a finger on a phone', async () => {
    await using desk = await desktop(browser)
    const { id } = await desk.open({ summary: 'Refund one' })
    const page = await desk.visit('ana@acme', {
      viewport: { width: 320, height: 640 },
      hasTouch: true,
      isMobile: true
    })
    await page.goto(desk.url)
    await page.getByRole('link', { name: 'Refund one' }).tap()
    await page.getByRole('button', { name: 'Approve' }).tap()
    await page.waitForURL(/#outcome$/)
    expect((await desk.oversight.inspect(id)).status).toBe('approved')
    expect(desk.violations).toEqual([])
  })

  it('reaches what is new from far down a list on a phone, and sees all of what has the focus', async () => {
    await using desk = await desktop(browser)
    for (let at = 1; at <= 12; at++) await desk.open({ summary: `Refund ${at}` })
    const viewport = { width: 320, height: 640 }
    const page = await desk.visit('ana@acme', { viewport, hasTouch: true, isMobile: true })
    await page.goto(desk.url)
    await page.getByLabel('Select: Refund 3').check()
    await page.evaluate('scrollTo(0, document.body.scrollHeight)')
    await desk.open({ summary: 'Refund 13' })
    const show = page.getByRole('button', { name: 'Show 1 new' })
    await show.waitFor()
    // Both bars are there now, one at each end of the page.
    const covered = await page.evaluate(`(() => {
      const all = [...document.querySelectorAll('#list a, #list input, #list button')]
      return [...all, ...all.toReversed()].flatMap((one) => {
        one.focus()
        const { left, right, top, bottom } = one.getBoundingClientRect()
        const seen = [top + 1, bottom - 1].every((y) => one.contains(document.elementFromPoint((left + right) / 2, y)))
        return seen ? [] : [one.outerHTML.slice(0, 80)]
      })
    })()`)
    expect(covered).toEqual([])
    await page.evaluate('scrollTo(0, document.body.scrollHeight)')
    expect(await show.boundingBox()).toMatchObject({ y: expect.toSatisfy((y: number) => y >= 0 && y < 44) })
    await show.tap()
    await page.getByRole('link', { name: 'Refund 13' }).waitFor()
    expect(await focused(page)).toBe('Refund 13')
    expect(await page.getByLabel('Select: Refund 3').isChecked()).toBe(true)
    expect(desk.violations).toEqual([])
  })

  it('lets shortcuts be turned off, and keeps to that', async () => {
    await using desk = await desktop(browser)
    await desk.open({ summary: 'Refund one' })
    const page = await desk.visit('ana@acme')
    await page.goto(desk.url)
    await page.keyboard.press('?')
    await page.getByLabel('Use single-key shortcuts').uncheck()
    expect(await axeFaults(page)).toEqual([])
    await page.keyboard.press('Escape')
    await page.keyboard.press('j')
    expect(await focused(page)).not.toBe('Refund one')
    await page.reload()
    await page.keyboard.press('j')
    expect(await focused(page)).not.toBe('Refund one')
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click()
    expect(await page.getByLabel('Use single-key shortcuts').isChecked()).toBe(false)
  })

  it('needs no script to list, inspect, approve, deny, comment, edit and decide a selection', async () => {
    await using desk = await desktop(browser)
    const { oversight } = desk
    const opened: Opened[] = []
    for (const name of ['one', 'two', 'three', 'four']) opened.push(await desk.open({ summary: `Refund ${name}` }))
    const page = await desk.visit('ana@acme', { javaScriptEnabled: false })
    await page.goto(desk.url)
    await page.getByRole('link', { name: 'Refund one' }).click()
    await page.fill('#comment', 'Seen')
    await page.getByRole('button', { name: 'Comment' }).click()
    await page.getByRole('link', { name: 'Edit what is asked' }).click()
    await page.fill('#detail', '{"order":"118","cents":600}')
    await page.fill('#reason', 'Half')
    await page.getByRole('button', { name: 'Check the change' }).click()
    await page.getByRole('button', { name: 'Save and ask again' }).click()
    await page.getByRole('button', { name: 'Approve' }).click()
    await page.getByText('Approved by').waitFor()
    await page.getByRole('link', { name: 'Back to the list' }).click()
    await page.getByRole('link', { name: 'Refund two' }).click()
    await page.fill('#reason', 'Too much')
    await page.getByRole('button', { name: 'Deny' }).click()
    await page.getByText('Denied by').waitFor()
    await page.getByRole('link', { name: 'To decide' }).click()
    await page.getByLabel('Select: Refund three').check()
    await page.getByLabel('Select: Refund four').check()
    await page.getByRole('button', { name: 'Review to deny' }).click()
    await page.fill('#reason', 'Not these')
    // Nothing stops Enter on a checkbox from sending the form, which then only comes back.
    const [, back] = await Promise.all([
      page.locator('input[name=item]').first().press('Enter'),
      page.waitForResponse((answer) => answer.request().method() === 'POST')
    ])
    expect([back.status(), await page.inputValue('#reason')]).toEqual([200, 'Not these'])
    expect((await oversight.inspect((opened[2] as Opened).id)).status).toBe('pending')
    await page.getByRole('button', { name: 'Deny those checked' }).click()
    await page.getByRole('heading', { name: '2 of 2 counted' }).waitFor()
    const statuses = await Promise.all(opened.map(({ id }) => oversight.inspect(id)))
    expect(statuses.map(({ status }) => status)).toEqual(['approved', 'denied', 'denied', 'denied'])
    const views = await Promise.all(opened.map(({ id }) => desk.views(id)))
    // The comment on the first version went without a word that it was seen: a form that decides brings that.
    expect(views).toEqual([['v2 by ana'], ['v1 by ana'], ['v1 by ana'], ['v1 by ana']])
  })
})

describe.each(onSources)('every page in every state, on %s', () => {
  it('has nothing for axe to find in a light or a dark scheme, and fits a phone 320 px wide', async () => {
    await using desk = await desktop(browser)
    const page = await desk.visit('ana@acme', { viewport: { width: 1100, height: 800 } })
    const found: string[] = []
    await visitAll(desk, page, async (state) => {
      const note = (faults: readonly string[]): void => void found.push(...faults.map((fault) => `${state}: ${fault}`))
      note(await axeFaults(page))
      await page.emulateMedia({ colorScheme: 'dark' })
      note(await axeFaults(page, 'color-contrast'))
      await page.setViewportSize({ width: 320, height: 640 })
      note(await misfits(page))
      await page.setViewportSize({ width: 1100, height: 800 })
      await page.emulateMedia({ colorScheme: 'light' })
    })
    expect(found).toEqual([])
    expect(desk.violations).toEqual([])
  })
})

/** Opens every page in every state, one after the other, and looks at each. */
async function visitAll(desk: Desktop, page: Page, look: (state: string) => Promise<void>): Promise<void> {
  const { oversight, url } = desk
  const submit = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click()
  await page.goto(url)
  await look('an empty list')
  const detail = { to: { name: 'Nordwind GmbH', iban: 'DE02120300000000202051'.repeat(4) }, cents: 4_800_000, note: '' }
  const nested = { ...detail, lines: [{ text: 'Invoice 88\u202e', deep: { deeper: { deepest: { at: [1, [2]] } } } }] }
  const small = await desk.open({ summary: 'Refund 12.00', risk: 'low', context: { outcome: 'complete' } })
  const stale = { outcome: 'stale', ageMs: 7_260_000 } as const
  const raise = await desk.open({ summary: 'Raise a limit', risk: 'medium', context: stale })
  const unavailable = { outcome: 'unavailable', reason: 'no answer' } as const
  const rows = await desk.open({ summary: 'Delete 1,204 rows', risk: 'high', context: unavailable })
  const wired = { action: 'payments.wire', risk: 'critical', detail: nested } as const
  const wire = await desk.open({ ...wired, summary: `Wire ${'x'.repeat(90)}` })
  await oversight.comment(wire.id, { by: 'bo', text: 'Is this right?' })
  await page.goto(url)
  await page.getByLabel('Select: Refund 12.00').check()
  await look('a list')
  await page.goto(`${url}?q=nothing&risk=critical`)
  await look('a list that finds nothing')
  for (const { path, summary } of [small, raise, rows, wire]) {
    await page.goto(desk.at(path))
    await page.getByText('As JSON, and its hash').click()
    await look(summary)
  }
  await submit('Deny')
  await look('a denial without a reason')
  await page.goto(desk.at(`${small.path}/edit`))
  await look('the editor')
  await page.fill('#reason', 'because')
  await page.fill('#detail', '[')
  await submit('Check the change')
  await look('the editor with a fault')
  await page.fill('#detail', '{"order":"119","note":"new"}')
  await submit('Check the change')
  await look('a change to check')
  await page.goto(desk.at(wire.path))
  const halved = { ...nested, cents: 2_400_000, note: { text: 'Half of it' } }
  const { argumentHash } = wire
  const edited = await oversight.edit(wire.id, { by: 'bo', detail: halved, reason: 'Half', argumentHash })
  if (edited.outcome !== 'edited') throw new Error(edited.outcome)
  const again = { by: 'ana', detail: { ...halved, note: '' }, reason: 'No note', argumentHash: edited.argumentHash }
  expect(await oversight.edit(wire.id, again)).toMatchObject({ outcome: 'edited' })
  await page.getByRole('button', { name: 'Show changes' }).waitFor()
  await look('a request that was changed while it was open')
  await submit('Approve')
  await look('a superseded vote')
  await submit('Approve')
  await page.waitForURL(/#outcome/)
  await look('a vote that waits for others')
  await oversight.decide(wire.id, { approver: 'bo', decision: 'deny', reason: 'No' })
  await page.reload()
  await look('a denied request')
  await page.goto(`${url}?list=settled`)
  await look('a list of settled ones')
  await page.goto(`${url}batch?decision=deny&request=${small.id}&request=${raise.id}&request=${wire.id}`)
  await look('a selection')
  await page.fill('#reason', 'Not now')
  await oversight.edit(raise.id, { by: 'bo', detail: { cents: 5 }, reason: 'Less', argumentHash: raise.argumentHash })
  await submit('Deny those checked')
  await look('what became of a selection')
  await page.goto(`${url}requests/nothing`)
  await look('a request that is not there')
  await page.context().clearCookies()
  await page.goto(url)
  await look('somebody who is not signed in')
}
