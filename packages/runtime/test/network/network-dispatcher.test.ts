import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, LookupFunction } from 'node:net'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { networkDispatcher } from '@enablement/runtime/network'
import * as undici from 'undici'
import { getGlobalDispatcher, interceptors, request, setGlobalDispatcher, fetch as undiciFetch, upgrade } from 'undici'
import { describe, expect, inject, it } from 'vitest'
import { stage } from './stage.ts'

const scale = inject('scale')

const fetches = { 'undici’s fetch': undiciFetch as unknown as typeof fetch, 'Node’s own fetch': fetch }

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const post = (key: string | undefined, body: unknown = 'tea') => ({
  method: 'POST' as const,
  body: body as string,
  headers: key === undefined ? {} : { 'Idempotency-Key': key }
})

describe('a network dispatcher', () => {
  it.each(Object.entries(fetches))('carries %s', async (_name, send) => {
    await using at = await stage()
    const init = { ...post('k1'), dispatcher: at.dispatcher }
    const response = await send(`${at.proxy.origin}/orders`, init as unknown as RequestInit)
    expect(await response.json()).toEqual({ name: 'k1' })
    expect(at.server.bodies.get('k1')).toBe('tea')
  })

  it.each(Object.entries(fetches))('lets %s outlive a partition, in order and once each', async (_name, send) => {
    await using at = await stage()
    const order = (key: string): Promise<Response> =>
      send(`${at.proxy.origin}/orders`, {
        ...post(key, `body of ${key}`),
        dispatcher: at.dispatcher
      } as unknown as RequestInit)
    await (await order('before')).text()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const waiting = ['a', 'b', 'c'].map((key) => order(key))
    await at.seen('request.buffered')
    await at.proxy.heal()
    const replies = await Promise.all(waiting)
    expect(await Promise.all(replies.map((reply) => reply.json()))).toEqual([
      { name: 'a' },
      { name: 'b' },
      { name: 'c' }
    ])
    expect(at.server.effects).toEqual(['before', 'a', 'b', 'c'])
    expect(at.server.bodies.get('b')).toBe('body of b')
  })

  it.each(Object.entries(fetches))('ends %s that is aborted while it waits', async (_name, send) => {
    await using at = await stage()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const giveUp = new AbortController()
    const init = { ...post('k1'), dispatcher: at.dispatcher, signal: giveUp.signal }
    const waiting = send(`${at.proxy.origin}/orders`, init as unknown as RequestInit)
    await at.seen('request.buffered')
    giveUp.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    expect(at.guard.statistics()).toMatchObject({ waiting: 0, aborted: 1 })
  })

  it('can be the global dispatcher, and be composed with undici’s interceptors', async () => {
    await using at = await stage()
    const before = getGlobalDispatcher()
    setGlobalDispatcher(at.dispatcher.compose(interceptors.responseError()))
    try {
      await expect((await fetch(`${at.proxy.origin}/a`)).json()).resolves.toEqual({ name: 'GET /a' })
      const { body } = await request(`${at.proxy.origin}/b`)
      await expect(body.json()).resolves.toEqual({ name: 'GET /b' })
    } finally {
      setGlobalDispatcher(before)
    }
  })

  it('sends a request without a key once at most, and says when its reply was lost', async () => {
    await using at = await stage()
    at.proxy.mode = 'drop-replies'
    const lost = request(`${at.proxy.origin}/orders`, { ...post(undefined), dispatcher: at.dispatcher })
    await expect(lost).rejects.toMatchObject({ code: 'REPLY_LOST', cause: { code: 'ECONNRESET' } })
    expect(at.server.arrivals).toEqual(['POST /orders'])
  })

  it('does not repeat a request without a key over a pooled connection that turns out to be stale', async () => {
    await using at = await stage()
    const url = `${at.proxy.origin}/orders`
    await (await request(url, { dispatcher: at.dispatcher })).body.dump()
    await turn()
    at.proxy.mode = 'reset'
    const lost = request(url, { ...post(undefined), dispatcher: at.dispatcher })
    await expect(lost).rejects.toMatchObject({ code: 'REPLY_LOST' })
    expect(at.server.arrivals).toEqual(['GET /orders'])
  })

  it('repeats what may be repeated over a fresh connection', async () => {
    await using at = await stage()
    const url = `${at.proxy.origin}/orders`
    at.proxy.repliesToDrop = 2
    const { body } = await request(url, { ...post('k1'), dispatcher: at.dispatcher })
    await expect(body.json()).resolves.toEqual({ name: 'k1' })
    expect(at.server.effects).toEqual(['k1'])
    expect(at.server.arrivals).toEqual(['k1', 'k1', 'k1'])
  })

  it('replays what was under way over a connection that went silent, and uses no connection from before', async () => {
    await using at = await stage()
    const url = `${at.proxy.origin}/orders`
    await (await request(url, { dispatcher: at.dispatcher })).body.dump()
    at.proxy.mode = 'hang'
    const underWay = request(url, { ...post('k1'), dispatcher: at.dispatcher })
    await at.proxy.partition('silent')
    await at.seen('network.partitioned')
    await at.seen('request.buffered')
    at.proxy.mode = 'pass'
    const accepted = at.proxy.accepted
    await at.proxy.heal()
    await expect((await underWay).body.json()).resolves.toEqual({ name: 'k1' })
    expect(at.proxy.accepted).toBeGreaterThan(accepted)
    expect(at.server.effects).toEqual(['k1'])
  })

  it('gives up on a server that takes requests and never answers', async () => {
    await using at = await stage({ guard: { attemptsMax: 1 }, dispatcher: { agent: { headersTimeout: 50 } } })
    at.proxy.mode = 'hang'
    const never = request(`${at.proxy.origin}/orders`, { ...post(undefined), dispatcher: at.dispatcher })
    await expect(never).rejects.toMatchObject({ code: 'REPLY_LOST', cause: { code: 'UND_ERR_HEADERS_TIMEOUT' } })
    const keyed = request(`${at.proxy.origin}/orders`, { ...post('k1'), dispatcher: at.dispatcher })
    await expect(keyed).rejects.toMatchObject({ code: 'UND_ERR_HEADERS_TIMEOUT' })
    expect(at.guard.statistics()).toMatchObject({ waiting: 0, sending: 0, bytes: 0, failed: 1, replyLost: 1 })
  })

  it('survives servers that answer garbage', async () => {
    await using at = await stage()
    at.proxy.mode = 'garbage'
    const keyed = request(`${at.proxy.origin}/orders`, { ...post('k1'), dispatcher: at.dispatcher })
    await expect(keyed).rejects.toMatchObject({ name: 'HTTPParserError' })
    const never = request(`${at.proxy.origin}/orders`, { ...post(undefined), dispatcher: at.dispatcher })
    await expect(never).rejects.toMatchObject({ code: 'REPLY_LOST', cause: { name: 'HTTPParserError' } })
    at.proxy.mode = 'pass'
    const { statusCode } = await request(`${at.proxy.origin}/orders`, { dispatcher: at.dispatcher })
    expect(statusCode).toBe(200)
  })

  it('gives errors of names that cannot be resolved as they are', async () => {
    const lookup: LookupFunction = (hostname, _options, callback) =>
      callback(Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND' }), '', 0)
    await using at = await stage({ dispatcher: { lookup } })
    const write = request('http://nowhere.test/', { ...post(undefined), dispatcher: at.dispatcher })
    await expect(write).rejects.toMatchObject({ code: 'ENOTFOUND' })
    await expect(request('http://nowhere.test/', { dispatcher: at.dispatcher })).rejects.toMatchObject({
      code: 'ENOTFOUND'
    })
    expect(at.guard.statistics()).toMatchObject({ failed: 2, waiting: 0 })
  })

  it('adds the key that a request is treated with, and lets its own go first', async () => {
    const treat = ({ path }: { readonly path: string }) => ({ idempotencyKey: `made for ${path}`.replaceAll(' ', '-') })
    await using at = await stage({ dispatcher: { treat } })
    await (await request(`${at.proxy.origin}/a`, { ...post(undefined), dispatcher: at.dispatcher })).body.dump()
    await (await request(`${at.proxy.origin}/b`, { ...post('mine'), dispatcher: at.dispatcher })).body.dump()
    expect(at.server.arrivals).toEqual(['made-for-/a', 'mine'])
  })

  it('lets no key smuggle in another header', async () => {
    await using at = await stage({ dispatcher: { treat: () => ({ idempotencyKey: 'a\r\nx-evil: 1' }) } })
    const smuggled = request(`${at.proxy.origin}/a`, { ...post(undefined), dispatcher: at.dispatcher })
    await expect(smuggled).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(at.server.arrivals).toEqual([])
  })

  it('gives a reply that breaks off as it is, for its beginning was the caller’s already', async () => {
    const server = createServer((_request, response) => {
      response.write('half of it')
      setImmediate(() => response.socket?.resetAndDestroy())
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using at = await stage()
    const { body } = await request(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
      dispatcher: at.dispatcher
    })
    await expect(body.text()).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(at.guard.statistics()).toMatchObject({ submitted: 1, replied: 1 })
    await new Promise((resolve) => server.close(resolve))
  })

  it('carries upgrades, and does not try them twice', async () => {
    let upgrades = 0
    const server = createServer().on('upgrade', (_request, socket) => {
      upgrades += 1
      socket.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using at = await stage()
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const { socket } = await upgrade(url, { protocol: 'echo', dispatcher: at.dispatcher })
    socket.destroy()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    await expect(upgrade(url, { protocol: 'echo', dispatcher: at.dispatcher })).rejects.toMatchObject({
      code: 'REQUEST_REFUSED',
      detail: { reason: 'not-repeatable', sent: false }
    })
    expect(upgrades).toBe(1)
    await new Promise((resolve) => server.close(resolve))
  })

  it('leaves it to the agent to say what is wrong with a request that is none', async () => {
    await using at = await stage()
    await expect(
      at.dispatcher.request({ origin: at.proxy.origin, path: 'no slash', method: 'GET' })
    ).rejects.toMatchObject({ code: 'UND_ERR_INVALID_ARG' })
    await expect(
      request(at.proxy.origin, { headers: { 'bad header': 'x' }, dispatcher: at.dispatcher })
    ).rejects.toMatchObject({ code: 'UND_ERR_INVALID_ARG' })
    expect(() => at.dispatcher.dispatch(null as never, null as never)).toThrow(/handler/)
    expect(at.guard.statistics()).toMatchObject({ failed: 2, waiting: 0 })
  })

  it('waits for what waits when it is closed, and takes nothing more', async () => {
    await using at = await stage()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const waiting = request(`${at.proxy.origin}/a`, { ...post('k1'), dispatcher: at.dispatcher })
    await at.seen('request.buffered')
    const closed = at.dispatcher.close()
    await expect(request(`${at.proxy.origin}/b`, { dispatcher: at.dispatcher })).rejects.toMatchObject({
      code: expect.stringMatching(/UND_ERR_(CLOSED|DESTROYED)/)
    })
    await at.proxy.heal()
    await (await waiting).body.dump()
    await closed
    expect(at.server.effects).toEqual(['k1'])
  })

  it('ends what waits when it is destroyed', async () => {
    await using at = await stage()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const waiting = request(`${at.proxy.origin}/a`, { ...post('k1'), dispatcher: at.dispatcher })
    await at.seen('request.buffered')
    await at.dispatcher.destroy(new Error('going down'))
    await expect(waiting).rejects.toThrow('going down')
    expect(at.guard.statistics()).toMatchObject({ waiting: 0, aborted: 1 })
  })

  it('lets no name or password of an origin into events and errors', async () => {
    await using at = await stage({ guard: { ageMaxMs: 30 } })
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const origin = at.proxy.origin.replace('//', '//bo:hunter2@')
    const errors: unknown[] = []
    for (const method of ['POST', 'GET'] as const) {
      await new Promise<void>((resolve) => {
        at.dispatcher.dispatch(
          { origin, path: '/a', method },
          {
            onResponseError(_controller, error) {
              errors.push(error)
              resolve()
            }
          }
        )
      })
    }
    expect(errors).toMatchObject([{ code: 'REQUEST_REFUSED' }, { code: 'REQUEST_EXPIRED' }])
    expect(inspect([errors, at.events], { depth: 9 })).not.toMatch(/hunter2|bo:/)
  })

  it('survives a handler that throws when it hears of its end, and tells it once', async () => {
    await using at = await stage()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    let heard = 0
    at.dispatcher.dispatch(
      { origin: at.proxy.origin, path: '/a', method: 'POST' },
      {
        onResponseError() {
          heard += 1
          throw new Error('the handler is broken')
        }
      }
    )
    await at.dispatcher.close()
    expect(heard).toBe(1)
  })

  it.each(Object.entries(fetches))('passes over interim answers to %s', async (_name, send) => {
    const server = createServer((_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' })
      response.end('tea')
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using at = await stage()
    const init = { dispatcher: at.dispatcher } as unknown as RequestInit
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    await expect((await send(url, init)).text()).resolves.toBe('tea')
    const infos: unknown[] = []
    const raw = await request(url, {
      dispatcher: at.dispatcher,
      responseHeaders: 'raw',
      onInfo: (info) => void infos.push(info)
    })
    await expect(raw.body.text()).resolves.toBe('tea')
    expect(infos).toHaveLength(1)
    await at.dispatcher.destroy()
    server.close()
  })

  it('works without a guard, as an agent does', async () => {
    await using at = await stage()
    const plain = networkDispatcher({ undici })
    await (await request(`${at.proxy.origin}/a`, { ...post('k1'), dispatcher: plain })).body.dump()
    at.proxy.mode = 'drop-replies'
    await expect(request(`${at.proxy.origin}/a`, { dispatcher: plain })).rejects.toMatchObject({ code: 'ECONNRESET' })
    await plain.close()
    expect(at.guard.statistics().submitted).toBe(0)
  })

  it('refuses options that would have no effect', () => {
    const lookup: LookupFunction = (_hostname, _options, callback) => callback(null, '127.0.0.1', 4)
    expect(() => networkDispatcher({ undici, lookup, connect: () => undefined })).toThrow(/lookup: has no effect/)
    expect(() => networkDispatcher({ undici: {} } as never)).toThrow(/undici: must be undici, of version 8/)
    expect(() => networkDispatcher({ undici, gaurd: {} } as never)).toThrow(/gaurd: there is no such option/)
    expect(() => networkDispatcher({ undici, agent: { connect: {} } as never })).toThrow(/agent/)
  })
})

describe('bodies through a network dispatcher', () => {
  const chunks = (count: number, bytes: number, seen: { read: number } = { read: 0 }) =>
    Readable.from(
      (function* () {
        for (let at = 0; at < count; at++) {
          seen.read += 1
          yield Buffer.alloc(bytes, 97 + (at % 26))
        }
      })(),
      { objectMode: false }
    )

  it('reads a stream into the buffer, and replays it whole', async () => {
    await using at = await stage()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const waiting = request(`${at.proxy.origin}/a`, { ...post('k1', chunks(10, 1_000)), dispatcher: at.dispatcher })
    await at.seen('request.buffered')
    expect(at.guard.statistics().bytes).toBe(10_000)
    await at.proxy.heal()
    await (await waiting).body.dump()
    expect(at.server.bodies.get('k1')).toHaveLength(10_000)
    expect(at.guard.statistics().bytes).toBe(0)
  })

  it('keeps what an attempt has read of a stream, reads the rest, and sends it whole', async () => {
    await using at = await stage()
    const gate = Promise.withResolvers<void>()
    async function* slow() {
      yield Buffer.from('first,')
      await gate.promise
      yield Buffer.from('second,')
      yield Buffer.from('third')
    }
    const asked = request(`${at.proxy.origin}/a`, { ...post('k1', slow()), dispatcher: at.dispatcher })
    while (at.proxy.accepted < 2) await turn()
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    gate.resolve()
    await at.seen('request.buffered')
    await at.proxy.heal()
    await (await asked).body.dump()
    expect(at.server.bodies.get('k1')).toBe('first,second,third')
    expect(at.server.effects).toEqual(['k1'])
  })

  it('refuses a stream that is too large to wait, having read no more of it than that', async () => {
    await using at = await stage({ guard: { bodyBytesMax: 10_000 } })
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const seen = { read: 0 }
    const body = chunks(10_000, 1_000, seen)
    const refused = request(`${at.proxy.origin}/a`, { ...post('k1', body), dispatcher: at.dispatcher })
    await expect(refused).rejects.toMatchObject({ code: 'REQUEST_REFUSED', detail: { reason: 'body', sent: false } })
    expect(seen.read).toBeLessThan(200)
    expect(body.destroyed).toBe(true)
    const large = request(`${at.proxy.origin}/a`, { ...post('k2', 'x'.repeat(10_001)), dispatcher: at.dispatcher })
    await expect(large).rejects.toMatchObject({ code: 'REQUEST_REFUSED', detail: { reason: 'body' } })
  })

  it('sends a body of any size while the network is there, and keeps of it what may be kept', async () => {
    await using at = await stage({ guard: { bodyBytesMax: 10_000 } })
    const { body } = await request(`${at.proxy.origin}/a`, {
      ...post('k1', chunks(2_000, 1_000)),
      dispatcher: at.dispatcher
    })
    await body.dump()
    expect(at.server.bodies.get('k1')).toHaveLength(2_000_000)
    expect(at.guard.statistics().bytes).toBe(0)
  })

  it('gives back the memory of a body that turns out too large to be kept, while it is still being sent', async () => {
    await using at = await stage({ guard: { bodyBytesMax: 10_000, bytesMax: 10_000 } })
    const gate = Promise.withResolvers<void>()
    const sent = Promise.withResolvers<void>()
    async function* large() {
      for (let chunk = 0; chunk < 11; chunk++) yield Buffer.alloc(1_000, 97)
      sent.resolve()
      await gate.promise
    }
    const upload = request(`${at.proxy.origin}/a`, { ...post('k1', large()), dispatcher: at.dispatcher })
    await sent.promise
    expect(at.guard.statistics().bytes).toBe(0)
    gate.resolve()
    await (await upload).body.dump()
    expect(at.server.bodies.get('k1')).toHaveLength(11_000)
  })

  it('counts what a form holds, and replays it', async () => {
    await using at = await stage({ guard: { bodyBytesMax: 10_000 } })
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const form = (bytes: number): undici.FormData => {
      const made = new undici.FormData()
      made.set('note', 'x'.repeat(100))
      made.set('file', new Blob([new Uint8Array(bytes)]))
      return made
    }
    const large = request(`${at.proxy.origin}/a`, { ...post('k1', form(10_000)), dispatcher: at.dispatcher })
    await expect(large).rejects.toMatchObject({ code: 'REQUEST_REFUSED', detail: { reason: 'body' } })
    const waiting = request(`${at.proxy.origin}/a`, { ...post('k2', form(1_000)), dispatcher: at.dispatcher })
    await at.seen('request.buffered')
    expect(at.guard.statistics().bytes).toBe(1_108)
    await at.proxy.heal()
    await (await waiting).body.dump()
    expect(at.server.bodies.get('k2')).toContain('x'.repeat(100))
  })

  it('tells of a request whose stream fails when it is let go of', async () => {
    await using at = await stage({ guard: { bodyBytesMax: 1 } })
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const body = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: Buffer.alloc(2) }),
        return: () => {
          throw new Error('it will not be let go of')
        }
      })
    }
    const refused = request(`${at.proxy.origin}/a`, { ...post('k1', body), dispatcher: at.dispatcher })
    await expect(refused).rejects.toMatchObject({ code: 'REQUEST_REFUSED', detail: { reason: 'body' } })
  })

  it('gives the error of a stream that breaks, and does not blame the network', async () => {
    await using at = await stage()
    async function* broken() {
      yield Buffer.from('first')
      throw new Error('the disk is gone')
    }
    const connected = request(`${at.proxy.origin}/a`, { ...post('k1', broken()), dispatcher: at.dispatcher })
    await expect(connected).rejects.toThrow('the disk is gone')
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const waiting = request(`${at.proxy.origin}/a`, { ...post('k1', broken()), dispatcher: at.dispatcher })
    await expect(waiting).rejects.toMatchObject({ code: 'REQUEST_REFUSED', cause: { message: 'the disk is gone' } })
    expect(at.server.effects).toEqual([])
  })

  it('refuses a flood of requests while the buffer is full, and keeps neither sockets nor bodies of theirs', async () => {
    await using at = await stage({ guard: { entriesMax: 10 } })
    await at.proxy.partition('reset')
    await at.seen('network.partitioned')
    const url = `${at.proxy.origin}/a`
    const flood = Math.ceil(1_000 * scale)
    const kept = Array.from({ length: 10 }, (_, n) => request(url, { ...post(`k${n}`), dispatcher: at.dispatcher }))
    const before = at.proxy.accepted
    const refused = await Promise.allSettled(
      Array.from({ length: flood }, (_, n) =>
        request(url, { ...post(`late-${n}`, Buffer.alloc(1_000)), dispatcher: at.dispatcher })
      )
    )
    expect(refused.every(({ status }) => status === 'rejected')).toBe(true)
    expect(at.guard.statistics()).toMatchObject({ waiting: 10, refused: flood, sending: 0, bytes: 30 })
    expect(at.proxy.accepted).toBe(before)
    await at.proxy.heal()
    for (const reply of await Promise.all(kept)) await reply.body.dump()
    expect(at.server.effects).toEqual(Array.from({ length: 10 }, (_, n) => `k${n}`))
  })
})
