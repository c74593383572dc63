import { CoreError } from '@enablement/core'
import { describe, expect, it } from 'vitest'
import { byHeader, type Stage, stage } from './stage.ts'

interface Listening {
  readonly answer: Response
  /** What has come so far, event by event. */
  readonly heard: readonly string[]
  readonly ended: boolean
  leave(): void
}

/** Opens a stream and reads it, as a browser would. */
async function listen(desk: Stage, path = '/live?list=waiting', as = 'ana@acme'): Promise<Listening> {
  const leaving = new AbortController()
  const answer = await desk.get(path, { as, headers: { accept: 'text/event-stream' }, signal: leaving.signal })
  const heard: string[] = []
  const listening = { answer, heard, ended: false, leave: () => leaving.abort() }
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder()
    for await (const piece of answer.body as ReadableStream<Uint8Array>) {
      heard.push(
        ...decoder
          .decode(piece)
          .split('\n\n')
          .filter((event) => event !== '')
      )
    }
    listening.ended = true
  }
  if (answer.status === 200) void read()
  await desk.platform.clock.advance(0)
  return listening
}

describe('live updates', () => {
  it('say what awaits this person at once, and again whenever that changes', async () => {
    await using desk = await stage({ pollMs: 1_000 })
    const one = await desk.open({ summary: 'Refund' })
    const listening = await listen(desk)
    expect(listening.answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    const first = `event: state\ndata: all\ndata: ${one.id} ${one.argumentHash}`
    expect(listening.heard).toEqual(['retry: 1000', first])
    await desk.platform.clock.advance(5_000)
    expect(listening.heard).toHaveLength(2)
    const two = await desk.open({ summary: 'Refund', detail: { cents: 7 } })
    await desk.open({ summary: 'For bo alone', action: 'ledger.adjust' })
    await desk.platform.clock.advance(1_000)
    expect(listening.heard.slice(2)).toEqual([
      `event: state\ndata: all\ndata: ${two.id} ${two.argumentHash}\ndata: ${one.id} ${one.argumentHash}`
    ])
  })

  it('say when something happens to the request that a page shows', async () => {
    await using desk = await stage({ pollMs: 1_000 })
    const { id, path } = await desk.open({ summary: 'Wire', action: 'payments.wire' })
    const mark = /data-mark="([0-9a-f]{16})"/.exec(await (await desk.get(path)).text())?.[1] as string
    const listening = await listen(desk, `/live?request=${id}`)
    expect(listening.heard.at(-1)).toBe(`event: state\ndata: ${mark}`)
    const happen = [
      () => desk.oversight.comment(id, { by: 'bo', text: 'Hm' }),
      () => desk.oversight.decide(id, { approver: 'bo', decision: 'approve' }),
      () => desk.oversight.decide(id, { approver: 'ana', decision: 'approve' })
    ]
    for (const [at, something] of happen.entries()) {
      await something()
      await desk.platform.clock.advance(1_000)
      expect(listening.heard).toHaveLength(at + 3)
    }
  })

  it('break a long silence, so that whoever is gone is noticed', async () => {
    await using desk = await stage({ pollMs: 1_000 })
    const listening = await listen(desk)
    await desk.platform.clock.advance(31_000)
    expect(listening.heard.filter((event) => event === ':')).toHaveLength(2)
  })

  it('end with the page, and leave nothing behind', async () => {
    await using desk = await stage({ pollMs: 1_000 })
    const listening = await listen(desk)
    expect(desk.platform.clock.pendingTimers).toBe(1)
    listening.leave()
    await desk.platform.clock.advance(0)
    expect([listening.ended, desk.platform.clock.pendingTimers]).toEqual([true, 0])
    const other = await listen(desk)
    await other.answer.body?.cancel().catch(() => undefined)
    await desk.inbox.close()
    await desk.platform.clock.advance(0)
    expect([other.ended, desk.platform.clock.pendingTimers]).toEqual([true, 0])
  })

  it('are not begun by an inbox that was closed while somebody signed in', async () => {
    let signIn = (): void => undefined
    const waiting = new Promise<void>((resolve) => {
      signIn = resolve
    })
    await using desk = await stage({ authenticate: (request) => waiting.then(() => byHeader(request)) })
    const answering = desk.get('/live', { headers: { accept: 'text/event-stream' } })
    await desk.inbox.close()
    signIn()
    expect((await answering).status).toBe(503)
  })

  it('end after ten minutes, when the page opens another', async () => {
    await using desk = await stage({ pollMs: 10_000 })
    const listening = await listen(desk)
    await desk.platform.clock.advance(590_000)
    expect(listening.ended).toBe(false)
    await desk.platform.clock.advance(10_000)
    expect([listening.ended, desk.platform.clock.pendingTimers]).toEqual([true, 0])
  })

  it('end within a minute of a sign-out, of another sign-in, and of an authentication that fails', async () => {
    for (const then of [
      async () => undefined,
      async () => ({ approver: 'bo', tenant: 'acme' }),
      () => Promise.reject(new Error('down'))
    ]) {
      let authenticate = byHeader
      await using desk = await stage({ pollMs: 1_000, authenticate: (request) => authenticate(request) })
      await desk.open({ summary: 'Refund' })
      const listening = await listen(desk)
      await desk.platform.clock.advance(61_000)
      expect(listening.ended).toBe(false)
      authenticate = then
      await desk.platform.clock.advance(60_000)
      expect([listening.heard.at(-1), listening.ended]).toEqual(['event: signed-out\ndata:', true])
      expect(desk.platform.clock.pendingTimers).toBe(0)
    }
  })

  it('outlive a store that does not answer', async () => {
    await using desk = await stage({ pollMs: 1_000 })
    const listening = await listen(desk)
    desk.fail('list', new CoreError('STORE_UNAVAILABLE', 'no answer', { store: 'sqlite', operation: 'run' }))
    await desk.platform.clock.advance(1_000)
    const { id } = await desk.open({ summary: 'Refund' })
    await desk.platform.clock.advance(1_000)
    expect(listening.heard.at(-1)).toContain(id)
    expect(listening.ended).toBe(false)
  })

  it('are six for a person and a thousand in all; pages beyond that ask by themselves', async () => {
    await using desk = await stage({ pollMs: 60_000 })
    const { id } = await desk.open({ summary: 'Refund' })
    const streams: Listening[] = []
    for (let at = 0; at < 6; at++) streams.push(await listen(desk))
    const seventh = await listen(desk)
    expect([seventh.answer.status, seventh.answer.headers.get('retry-after')]).toEqual([503, '60'])
    expect(desk.events).toEqual([{ type: 'inbox.streams-full', approver: 'ana', streams: 6 }])
    expect(await (await desk.get('/live?list=waiting')).text()).toMatch(new RegExp(`^all\\n${id} [0-9a-f]{64}$`))
    // The same name in another tenant is somebody else.
    expect((await desk.get('/live', { as: 'ana@rival', headers: { accept: 'text/event-stream' } })).status).toBe(200)
    streams[0]?.leave()
    await desk.platform.clock.advance(0)
    expect((await listen(desk)).answer.status).toBe(200)
    for (let at = 7; at < 1_000; at++) {
      await desk.get('/live', { as: `p${at}@acme`, headers: { accept: 'text/event-stream' } })
    }
    expect((await listen(desk, '/live', 'late@acme')).answer.status).toBe(503)
  })
})
