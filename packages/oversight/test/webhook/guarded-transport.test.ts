import { isSuiteError } from '@enablement/core'
import { type GuardedTransportOptions, guardedTransport, type WebhookReply } from '@enablement/oversight/webhook'
import { describe, expect, it, vi } from 'vitest'
import { certificate } from './certificate.ts'
import { hang, localEndpoint, status } from './local-endpoint.ts'

const body = new TextEncoder().encode('{"a":1}')
const { signal } = new AbortController()

const post = (url: string, options: GuardedTransportOptions = {}): Promise<WebhookReply> =>
  guardedTransport(options).post(url, { headers: { 'webhook-id': 'one' }, body }, { signal })

const loopback = ['127.0.0.0/8']

describe('a guarded transport', () => {
  it('posts over TLS to the address that was checked, under the name', async () => {
    await using endpoint = await localEndpoint({ tls: true })
    const asked: string[] = []
    const reply = await post(`https://hooks.test:${endpoint.port}/hook?a=b`, {
      allow: { ports: [endpoint.port], addresses: loopback, hosts: ['hooks.test'] },
      ca: certificate,
      resolve: async (host) => {
        asked.push(host)
        return ['127.0.0.1']
      }
    })
    expect(reply).toEqual({ outcome: 'answered', status: 200, retryAfter: undefined })
    expect(asked).toEqual(['hooks.test'])
    expect(endpoint.received).toMatchObject([
      {
        path: '/hook?a=b',
        body: '{"a":1}',
        headers: { host: `hooks.test:${endpoint.port}`, 'content-length': '7', 'webhook-id': 'one' }
      }
    ])
  })

  it('trusts no certificate of another name, and none that is not signed by who is trusted', async () => {
    await using endpoint = await localEndpoint({ tls: true })
    const allow = { ports: [endpoint.port], addresses: loopback, hosts: ['hooks.test', 'other.test'] }
    const resolve = async () => ['127.0.0.1']
    await expect(
      post(`https://other.test:${endpoint.port}/`, { allow, resolve, ca: certificate })
    ).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID'
    })
    await expect(post(`https://hooks.test:${endpoint.port}/`, { allow, resolve })).rejects.toThrow(/self-signed/)
    expect(endpoint.received).toEqual([])
  })

  it.each([
    ['127.0.0.1'],
    ['::1'],
    ['169.254.169.254'],
    ['10.0.0.8'],
    ['::ffff:127.0.0.1'],
    ['64:ff9b::7f00:1'],
    ['fe80::1%lo']
  ])('calls no name that resolves to %s', async (address) => {
    const reply = await post('https://hooks.example.com/', { resolve: async () => [address] })
    expect(reply.outcome).toBe('refused')
  })

  it('calls no name of which one address is inside', async () => {
    const resolve = async () => ['8.8.8.8', '10.0.0.8']
    expect(await post('https://hooks.example.com/', { resolve })).toEqual({ outcome: 'refused', because: 'private' })
  })

  it('calls no name that has no address', async () => {
    const resolve = async () => []
    expect(await post('https://hooks.example.com/', { resolve })).toEqual({ outcome: 'refused', because: 'unresolved' })
  })

  it('resolves a name once, so that a second answer (DNS rebinding) is never asked for', async () => {
    await using inside = await localEndpoint()
    const answers = [['127.0.0.2'], ['127.0.0.1']]
    const resolve = vi.fn<(host: string) => Promise<string[]>>(async () => answers.shift() ?? [])
    // Only 127.0.0.2 is allowed, and nothing listens there; 127.0.0.1 stands for what is inside.
    const allow = { plainHttp: true, ports: [inside.port], addresses: ['127.0.0.2/32'], hosts: ['rebinding.test'] }
    const transport = guardedTransport({ allow, resolve })
    const send = () => transport.post(`http://rebinding.test:${inside.port}/`, { headers: {}, body }, { signal })
    await expect(send()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(resolve).toHaveBeenCalledTimes(1)
    expect(await send()).toEqual({ outcome: 'refused', because: 'loopback' })
    expect(inside.received).toEqual([])
  })

  it('refuses what the system itself resolves to the inside', async () => {
    const allow = { plainHttp: true, hosts: ['localhost'] }
    expect(await post('http://localhost/', { allow })).toEqual({ outcome: 'refused', because: 'loopback' })
  })

  it('follows no redirect', async () => {
    await using inside = await localEndpoint()
    await using endpoint = await localEndpoint()
    endpoint.answer(status(307, { location: inside.url }))
    const allow = { plainHttp: true, ports: [endpoint.port, inside.port], addresses: loopback }
    expect(await post(endpoint.url, { allow })).toMatchObject({ outcome: 'answered', status: 307 })
    expect(inside.received).toEqual([])
  })

  it('reads nothing of an answer but its head, however long it is', async () => {
    await using endpoint = await localEndpoint()
    let written = 0
    const closed = new Promise<void>((resolve) => {
      endpoint.answer((response) => {
        response.on('close', resolve)
        response.writeHead(200)
        const chunk = 'x'.repeat(65_536)
        const more = (): void => {
          while (!response.destroyed && response.write(chunk)) written += chunk.length
        }
        response.on('drain', more)
        more()
      })
    })
    const allow = { plainHttp: true, ports: [endpoint.port], addresses: loopback }
    expect(await post(endpoint.url, { allow })).toMatchObject({ outcome: 'answered', status: 200 })
    await closed
    expect(written).toBeLessThan(64 * 1_048_576)
  })

  it('takes the head of an answer that breaks off for the answer', async () => {
    await using endpoint = await localEndpoint()
    endpoint.answer((response) => {
      response.writeHead(202, { 'content-length': '100' })
      response.write('half', () => response.socket?.destroy())
    })
    const allow = { plainHttp: true, ports: [endpoint.port], addresses: loopback }
    expect(await post(endpoint.url, { allow })).toMatchObject({ outcome: 'answered', status: 202 })
  })

  it('throws when the answer breaks off before its head has ended', async () => {
    await using endpoint = await localEndpoint()
    endpoint.answer((response) => response.socket?.end('HTTP/1.1 200 OK\r\ncontent-le'))
    const allow = { plainHttp: true, ports: [endpoint.port], addresses: loopback }
    await expect(post(endpoint.url, { allow })).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  it('gives up when its signal aborts', async () => {
    await using endpoint = await localEndpoint()
    endpoint.answer(hang)
    const allow = { plainHttp: true, ports: [endpoint.port], addresses: loopback }
    const given = new AbortController()
    const posted = guardedTransport({ allow }).post(endpoint.url, { headers: {}, body }, { signal: given.signal })
    await endpoint.got(1)
    given.abort()
    await expect(posted).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('does not connect when its signal aborts while a name is resolved', async () => {
    const given = new AbortController()
    const resolve = async () => {
      given.abort(new Error('enough'))
      return ['8.8.8.8']
    }
    const posted = guardedTransport({ resolve }).post(
      'https://hooks.example.com/',
      { headers: {}, body },
      { signal: given.signal }
    )
    await expect(posted).rejects.toThrow('enough')
  })

  it('is not made where there are no sockets of Node', () => {
    const built = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined)
    try {
      guardedTransport()
      expect.unreachable()
    } catch (error) {
      expect(isSuiteError(error, 'INVALID_OPTIONS')).toBe(true)
    } finally {
      built.mockRestore()
    }
  })
})
