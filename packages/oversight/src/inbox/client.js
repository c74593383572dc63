// The script of the inbox's pages, as browsers load it. Everything works without it; with it a page says what is new,
// tells the time in the visitor's own zone, answers to keys, and says on record that a request was before somebody's eyes.
// It asks the server for pages and for lines of text, never for JSON, and writes no markup of its own.

const home = document.body.dataset.home
const byId = (id) => document.getElementById(id)

// -- What time it is ------------------------------------------------------------------------------------------------

const units = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's']
]

/** The same as `spanText` of the server. */
function spanText(durationMs) {
  const at = units.findIndex(([unitMs]) => durationMs >= unitMs)
  if (at < 0) return '0 s'
  const [unitMs, name] = units[at]
  const next = units[at + 1]
  const rest = next === undefined || next[0] < 60_000 ? 0 : Math.floor((durationMs % unitMs) / next[0])
  return `${Math.floor(durationMs / unitMs)} ${name}${rest === 0 ? '' : ` ${rest} ${next[1]}`}`
}

function relativeText(awayMs) {
  if (Math.abs(awayMs) < 1_000) return 'now'
  return awayMs > 0 ? `in ${spanText(awayMs)}` : `${spanText(-awayMs)} ago`
}

const zoned = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short'
})

function tellTime() {
  for (const time of document.querySelectorAll('time[data-relative]')) {
    const text = relativeText(Date.parse(time.dateTime) - Date.now())
    if (time.textContent !== text) time.textContent = text
  }
  for (const time of document.querySelectorAll('time[data-absolute]')) {
    time.textContent = zoned.format(new Date(time.dateTime))
    time.removeAttribute('data-absolute')
  }
}

tellTime()
setInterval(() => document.visibilityState === 'visible' && tellTime(), 10_000)

// -- On record that it was shown ------------------------------------------------------------------------------------

const article = document.querySelector('article[data-request]')

/** Not while it is fetched ahead or waits in a tab behind: only once somebody can see it. */
async function sayViewed() {
  const { request, hash, ticket } = article.dataset
  const body = new URLSearchParams({ form: ticket, hash })
  await fetch(`${home}requests/${encodeURIComponent(request)}/viewed`, { method: 'POST', body }).catch(() => undefined)
}

function whenSeen(act) {
  if (document.visibilityState === 'visible' && document.prerendering !== true) return act()
  const check = () => {
    if (document.visibilityState !== 'visible' || document.prerendering === true) return
    document.removeEventListener('visibilitychange', check)
    document.removeEventListener('prerenderingchange', check)
    act()
  }
  document.addEventListener('visibilitychange', check)
  document.addEventListener('prerenderingchange', check)
}

if (article !== null) whenSeen(sayViewed)

// -- What is new ----------------------------------------------------------------------------------------------------

const news = byId('news')
const newsText = byId('news-text')
const newsShow = byId('news-show')

const pollFirstMs = 5_000
const pollMaxMs = 60_000

/** The requests on this page, and whether anything else on the list is news. */
let known
let waitingNew = 0

const rows = () => [...document.querySelectorAll('li[data-request]')]
const linesOf = (state) =>
  state
    .split('\n')
    .slice(1)
    .map((line) => line.split(' '))

function say(text, button) {
  if (newsText.textContent !== text) newsText.textContent = text
  if (button !== undefined) newsShow.textContent = button
  newsShow.hidden = button === undefined
}

/** Says what changed, and changes what is said of those on the page, in place: nothing is moved, nothing loses its focus. */
function takeList(state) {
  const lines = linesOf(state)
  const isWhole = state.startsWith('all')
  if (known === undefined) {
    const shown = rows().map((row) => row.dataset.request)
    known = new Set(news.dataset.complete === 'yes' ? shown : [...shown, ...lines.map(([id]) => id)])
  }
  const lastKnown = lines.findLastIndex(([id]) => known.has(id))
  const fresh = lines.filter(([id], at) => !known.has(id) && (isWhole || at < lastKnown || lastKnown < 0))
  waitingNew = fresh.length
  const current = new Map(lines)
  for (const row of rows()) {
    const hash = current.get(row.dataset.request)
    if (hash === undefined && isWhole) mark(row, 'No longer waits for you.', true)
    if (hash !== undefined && hash !== row.dataset.hash) mark(row, 'Changed since this page was loaded.', false)
  }
  const count = fresh.length === 1 ? '1 new request' : `${fresh.length} new requests`
  if (fresh.length > 0) say(`${count}.`, `Show ${fresh.length} new`)
  else say('Up to date.')
  document.title = document.title.replace(/^(\(\d+ new\) )?/, fresh.length > 0 ? `(${fresh.length} new) ` : '')
}

function mark(row, text, isGone) {
  row.classList.toggle('gone', isGone)
  row.querySelector('[data-state]').textContent = text
  const box = row.querySelector('input[type=checkbox]')
  if (!isGone || box === null) return
  box.checked = false
  box.disabled = true
  countSelected()
}

function takeRequest(state) {
  if (state === '' || state === news.dataset.mark) say('Up to date.')
  else say('This has changed.', 'Show changes')
}

const take = (state) => (news.dataset.live === 'waiting' ? takeList(state) : takeRequest(state))

function signedOut() {
  say('You are no longer signed in.', 'Sign in')
}

/** What was typed on a page that is loaded again is there again, and so is a reason after a comment was sent. */
const draftName = `enablement.inbox.draft.${article?.dataset.request}`

/** Keeps what was typed and is not being sent. A browser that keeps nothing for this site loses it. */
function keepDrafts(sent) {
  if (article === null) return
  const fields = ['reason', 'comment'].map(byId).filter((field) => field !== null && field.form !== sent)
  const typed = fields.filter(({ value }) => value !== '').map(({ id, value }) => [id, value])
  try {
    if (typed.length > 0) sessionStorage.setItem(draftName, JSON.stringify(typed))
  } catch {}
}

function takeDrafts() {
  try {
    const typed = JSON.parse(sessionStorage.getItem(draftName) ?? '[]')
    sessionStorage.removeItem(draftName)
    return typed
  } catch {
    return []
  }
}

function reload() {
  keepDrafts()
  location.reload()
}

if (article !== null) {
  for (const [id, text] of takeDrafts()) {
    const field = byId(id)
    if (field !== null && field.value === '') field.value = text
  }
}

/** Brings the list in anew, keeps what was selected, and goes to the first new one: the person asked for it. */
async function showNew() {
  if (news.dataset.live !== 'waiting' || waitingNew === 0) return reload()
  const before = new Set(rows().map((row) => row.dataset.request))
  const selected = new Set([...document.querySelectorAll('input[name=request]:checked')].map((box) => box.value))
  const answer = await fetch(location.href, { headers: { accept: 'text/html' } }).catch(() => undefined)
  if (answer?.ok !== true) return location.reload()
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  const list = page.getElementById('list')
  if (list === null) return location.reload()
  byId('list').replaceWith(document.adoptNode(list))
  for (const box of document.querySelectorAll('input[name=request]')) box.checked = selected.has(box.value)
  known = undefined
  waitingNew = 0
  say('Up to date.')
  document.title = document.title.replace(/^\(\d+ new\) /, '')
  tellTime()
  countSelected()
  const first = rows().find((row) => !before.has(row.dataset.request)) ?? rows()[0]
  first?.querySelector('h2 a').focus()
}

let source
let polling
let pollMs = pollFirstMs

function stopListening() {
  source?.close()
  source = undefined
  clearTimeout(polling)
}

/** Where a stream is not to be had (too many of them, a proxy that holds them back), it asks from time to time. */
async function poll(address) {
  const answer = await fetch(address, { headers: { accept: 'text/plain' } }).catch(() => undefined)
  if (document.visibilityState !== 'visible') return
  if (answer?.status === 401 || answer?.redirected === true) return signedOut()
  if (answer?.ok === true) take(await answer.text())
  pollMs = answer?.ok === true ? pollFirstMs : Math.min(pollMaxMs, pollMs * 2)
  polling = setTimeout(() => void poll(address), pollMs)
}

function listen() {
  stopListening()
  const what =
    news.dataset.live === 'waiting' ? 'list=waiting' : `request=${encodeURIComponent(article.dataset.request)}`
  const address = `${home}live?${what}`
  source = new EventSource(address)
  source.addEventListener('state', (event) => take(event.data))
  source.addEventListener('signed-out', () => {
    stopListening()
    signedOut()
  })
  source.addEventListener('error', () => {
    // While it reconnects by itself there is nothing to do; closed, it was refused.
    if (source?.readyState !== EventSource.CLOSED) return
    stopListening()
    void poll(address)
  })
}

if (news !== null) {
  newsShow.addEventListener('click', () => void showNew())
  // A page behind gives its connection back: browsers have six for a host over HTTP/1.1.
  document.addEventListener('visibilitychange', () =>
    document.visibilityState === 'visible' ? listen() : stopListening()
  )
  addEventListener('pagehide', stopListening)
  addEventListener('pageshow', (event) => event.persisted && listen())
  if (document.visibilityState === 'visible') listen()
}

// -- Selecting, and sending once ------------------------------------------------------------------------------------

function countSelected() {
  const place = document.querySelector('[data-selected]')
  if (place === null) return
  const count = document.querySelectorAll('input[name=request]:checked').length
  place.textContent = count === 0 ? 'None selected.' : `${count} selected.`
  for (const button of place.parentElement.querySelectorAll('button')) button.disabled = count === 0
}

document.addEventListener('change', (event) => {
  if (event.target.name === 'request') countSelected()
})
countSelected()

document.addEventListener('submit', (event) => {
  if (event.target.method !== 'post') return
  keepDrafts(event.target)
  // After the browser has read which button it was.
  setTimeout(() => {
    for (const button of event.target.querySelectorAll('button')) button.disabled = true
  })
})
addEventListener('pageshow', (event) => {
  if (!event.persisted) return
  for (const button of document.querySelectorAll('form[method=post] button:not([hidden])')) button.disabled = false
})

// -- Keys -----------------------------------------------------------------------------------------------------------

const dialog = byId('shortcuts')
const opener = document.querySelector('[data-shortcuts-open]')
const toggle = document.querySelector('[data-shortcuts-on]')
const settingName = 'enablement.inbox.shortcuts'

/** A browser that keeps nothing for this site has shortcuts on, and forgets that they were turned off. */
function setting(value) {
  try {
    if (value !== undefined) localStorage.setItem(settingName, value)
    return localStorage.getItem(settingName) ?? 'on'
  } catch {
    return value ?? 'on'
  }
}

toggle.checked = setting() === 'on'
toggle.addEventListener('change', () => setting(toggle.checked ? 'on' : 'off'))
opener.hidden = false
opener.addEventListener('click', () => dialog.showModal())

const currentRow = () => document.activeElement?.closest('li[data-request]')

function move(step) {
  const all = rows()
  const at = all.indexOf(currentRow())
  const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step]
  next?.querySelector('h2 a').focus()
  return next !== undefined
}

function go(selector) {
  const target = document.querySelector(selector)
  if (target === null) return false
  if (target.hasAttribute('href')) target.click()
  else target.focus()
  return true
}

const keys = {
  j: () => move(1),
  k: () => move(-1),
  x: () => {
    const box = currentRow()?.querySelector('input[type=checkbox]:not(:disabled)')
    box?.click()
    return box !== undefined && box !== null
  },
  n: () => {
    if (newsShow === null || newsShow.hidden) return false
    newsShow.click()
    return true
  },
  a: () => go('#approve') || go('.selection [value=approve]'),
  d: () => go('#deny') || go('.selection [value=deny]'),
  c: () => go('#comment'),
  e: () => go('[data-edit]'),
  u: () => go('[data-back]'),
  '?': () => {
    dialog.showModal()
    return true
  }
}

/** On a checkbox Enter would press the first button of its form, which people expect of a button alone. */
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.matches('input[type=checkbox]')) event.preventDefault()
})

document.addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || dialog.open || !toggle.checked) return
  const isTyping = event.target.matches('textarea, select, input:not([type=checkbox])')
  if (!isTyping && keys[event.key]?.() === true) event.preventDefault()
})
