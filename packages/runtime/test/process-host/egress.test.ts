import { createServer as createHttp, type Server } from 'node:http'
import { type AddressInfo, connect, createServer as createTcp } from 'node:net'
import type { EgressLookup, ProcessEvent } from '@enablement/runtime/process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bwrap, type Guest, hostOf, openGuest, temporary } from './support.ts'

describe('the way out of a sandbox', () => {
  const place = temporary()
  const events: ProcessEvent[] = []
  const seen: { readonly url: string; readonly host: string; readonly proxyHeader: boolean }[] = []
  let server: Server
  const connected: string[] = []
  let port = 0
  let guest: Guest
  let close: () => Promise<void>
  const names: Record<string, readonly string[]> = {
    'exact.test': ['127.0.0.1'],
    'a.wild.test': ['127.0.0.1'],
    'bent.wild.test': ['93.184.216.34', '127.0.0.1'],
    'nowhere.test': []
  }
  const lookup: EgressLookup = async (host) => names[host] ?? []

  beforeAll(async () => {
    server = createHttp((request, answer) => {
      seen.push({
        url: request.url ?? '',
        host: request.headers.host ?? '',
        proxyHeader: 'proxy-authorization' in request.headers || 'proxy-connection' in request.headers
      })
      answer.end('hello')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
    const host = hostOf(
      {
        bwrap,
        egress: {
          // A private address is reached only when it is listed itself.
          allow: [`exact.test:${port}`, `127.0.0.1:${port}`, `*.wild.test:${port}`, 'nowhere.test:80'],
          lookup,
          // What is out there is played by the server here.
          connect(to) {
            connected.push(to.host)
            return connect({ host: '127.0.0.1', port, allowHalfOpen: true })
          }
        },
        observe: (event) => void events.push(event)
      },
      place.folder
    )
    expect(host.capabilities.network).toBe('filtered')
    guest = await openGuest(host)
    close = () => host.close()
  })
  afterAll(async () => {
    await close()
    server.close()
    place[Symbol.dispose]()
  })

  /** What the guest gets of a request through the proxy that its environment names. */
  const ask = async (code: string): Promise<unknown> => {
    const end = await guest.sandbox.run(`(async () => { ${code} })()`)
    if (end.outcome !== 'completed') throw new Error(JSON.stringify(end))
    return JSON.parse(end.json ?? 'null')
  }
  const through = (url: string, headers = '{}'): Promise<unknown> =>
    ask(`const { hostname, port } = new URL(process.env.HTTP_PROXY)
      return await new Promise((resolve, reject) => require('node:http').get({ host: hostname, port, path: ${JSON.stringify(url)}, headers: ${headers} }, (answer) => {
        let text = ''; answer.on('data', (piece) => { text += piece }); answer.on('end', () => resolve([answer.statusCode, text.trim()]))
      }).on('error', reject))`)
  const tunnel = (target: string): Promise<unknown> =>
    ask(`const { hostname, port } = new URL(process.env.HTTPS_PROXY)
      return await new Promise((resolve, reject) => require('node:http').request({ host: hostname, port, method: 'CONNECT', path: ${JSON.stringify(target)} }).on('connect', (answer, socket) => {
        if (answer.statusCode !== 200) { socket.destroy(); return resolve(answer.statusCode) }
        socket.write('GET /inner HTTP/1.0\\r\\n\\r\\n'); let text = ''
        socket.on('data', (piece) => { text += piece }); socket.on('close', () => resolve(text.split('\\r\\n').at(-1)))
      }).on('error', reject).end())`)

  it('leads to what is listed, by request and by tunnel', async () => {
    expect(await through(`http://exact.test:${port}/a?b=1`)).toEqual([200, 'hello'])
    expect(await tunnel(`exact.test:${port}`)).toBe('hello')
    expect(await through(`http://127.0.0.1:${port}/ip`)).toEqual([200, 'hello'])
    expect(events.at(-1)).toMatchObject({ type: 'process.egress', host: '127.0.0.1', port, outcome: 'allowed' })
  })

  it('leads to names below a wildcard, and not to itself, nor to another port', async () => {
    expect(await through(`http://a.wild.test:${port}/`)).toEqual([200, 'hello'])
    expect(await tunnel(`wild.test:${port}`)).toBe(403)
    expect(await tunnel(`evilwild.test:${port}`)).toBe(403)
    expect(await tunnel(`exact.test:${port + 1}`)).toBe(403)
  })

  it('refuses addresses in every spelling, and names that lead to private ones', async () => {
    for (const host of ['127.1', '0x7f.0.0.1', '2130706433', '[::1]', '[::ffff:127.0.0.1]', 'localhost']) {
      expect(await tunnel(`${host}:${port}`), host).toBe(403)
    }
    names['b.wild.test'] = ['10.0.0.7']
    names['c.wild.test'] = ['169.254.169.254']
    names['d.wild.test'] = ['::1']
    for (const host of ['b', 'c', 'd']) expect(await tunnel(`${host}.wild.test:${port}`), host).toBe(403)
    names['bent.wild.test'] = ['93.184.216.34', '10.0.0.7']
    expect(await tunnel(`bent.wild.test:${port}`)).toBe(403)
    expect(events.at(-1)).toMatchObject({ outcome: 'refused', reason: 'its name leads to a private address' })
  })

  it('connects to the public address that it has judged, of either family', async () => {
    for (const address of ['93.184.216.34', '2606:2800:220:1:248:1893:25c8:1946']) {
      names['public.wild.test'] = [address]
      expect(await tunnel(`public.wild.test:${port}`)).toBe('hello')
      expect(connected.at(-1)).toBe(address)
    }
    for (const address of [
      '::ffff:93.184.216.34',
      '64:ff9b::5db8:d822',
      'fe80::1',
      '100.64.0.1',
      '0.0.0.0',
      'no address'
    ]) {
      names['public.wild.test'] = [address]
      expect(await tunnel(`public.wild.test:${port}`), address).toBe(403)
    }
  })

  it('says that a listed name is not to be found, and does not say it of one that is not listed', async () => {
    expect(await tunnel('nowhere.test:80')).toBe(502)
    expect(await tunnel('unlisted.test:80')).toBe(403)
  })

  it('sends the request for what it was judged by, without what was for the proxy', async () => {
    const headers = `{ host: 'other.test', 'proxy-authorization': 'Basic eA==', 'proxy-connection': 'keep-alive' }`
    await through(`http://exact.test:${port}/header`, headers)
    expect(seen.at(-1)).toEqual({ url: '/header', host: `exact.test:${port}`, proxyHeader: false })
  })

  it('is the only one', async () => {
    const direct = await ask(`return await new Promise((resolve) => {
      const socket = require('node:net').connect(${port}, '127.0.0.1')
      socket.on('error', (error) => resolve(error.code)); socket.on('connect', () => resolve('connected')) })`)
    expect(direct).toBe('ECONNREFUSED')
    expect(
      await ask(
        `return await new Promise((resolve) => require('node:dns').lookup('example.com', (error) => resolve(error?.code)))`
      )
    ).toMatch(/^E/)
  })

  it('refuses what is no request of a proxy', async () => {
    expect(await through('/relative')).toEqual([400, ''])
    expect(await through(`https://exact.test:${port}/`)).toEqual([400, ''])
    expect(await tunnel('user@exact.test:80')).toBe(400)
  })

  it('ends with the sandbox', async () => {
    const kept = createTcp((socket) => socket.on('close', () => kept.emit('gone')).on('error', () => undefined))
    await new Promise<void>((resolve) => kept.listen(0, '127.0.0.1', resolve))
    const keptPort = (kept.address() as AddressInfo).port
    const host = hostOf({ bwrap, egress: { allow: [`127.0.0.1:${keptPort}`] } }, place.folder)
    const { sandbox } = await openGuest(host)
    const gone = new Promise((resolve) => kept.once('gone', resolve))
    await sandbox.run(
      `await new Promise((resolve, reject) => require('node:http').request({ host: '127.0.0.1', port: 3128, method: 'CONNECT', path: '127.0.0.1:${keptPort}' }).on('connect', resolve).on('error', reject).end())`
    )
    await sandbox.kill()
    await gone
    kept.close()
    await host.close()
  })
})
