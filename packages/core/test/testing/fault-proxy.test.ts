import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import process from 'node:process'
import type { FaultRule } from '@enablement/core/testing'
import { type FaultProxy, faultProxy } from '@enablement/core/testing/node'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

/** Answers every byte with the same one, in capitals, and half-closes after its client does. */
let server: Server
let received = ''
let ends = 0
let port = 0
beforeEach(async () => {
  received = ''
  ends = 0
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received += chunk
      socket.write(chunk.toString().toUpperCase())
    })
    socket.on('end', () => {
      ends += 1
      socket.end('.')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterEach(() => new Promise((resolve) => server.close(resolve)))

/** A client, what it was told, and how its connection ended. */
class Client {
  readonly socket: Socket
  text = ''
  readonly ended: Promise<string>
  #onText = (): void => {}

  constructor(to: number) {
    this.socket = connect({ port: to, host: '127.0.0.1', allowHalfOpen: true })
    this.ended = new Promise((resolve) => {
      this.socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
      this.socket.on('close', () => resolve('closed'))
      this.socket.on('end', () => resolve('ended'))
    })
    this.socket.on('data', (chunk) => {
      this.text += chunk
      this.#onText()
    })
  }

  /** Sends, and waits until it has been told all of `answer`. */
  async ask(text: string, answer: string): Promise<void> {
    this.socket.write(text)
    while (!this.text.endsWith(answer)) {
      await new Promise<void>((resolve) => {
        this.#onText = resolve
      })
    }
  }
}

/** Waits until the server has received all of `text`. */
async function arrived(text: string): Promise<void> {
  while (received !== text) await new Promise((resolve) => setImmediate(resolve))
}

/** With a proxy before the server, and clients that do not outlive it. */
async function through(
  faults: readonly FaultRule[],
  body: (proxy: FaultProxy, client: () => Client) => Promise<void>
): Promise<void> {
  const clients: Client[] = []
  await using proxy = await faultProxy({ target: { port }, faults })
  try {
    await body(proxy, () => {
      const client = new Client(proxy.port)
      clients.push(client)
      return client
    })
  } finally {
    for (const { socket } of clients) socket.destroy()
  }
}

describe('a proxy with faults', () => {
  it('passes everything on, both ways, to the end of each', () =>
    through([], async (proxy, client) => {
      const [one, other] = [client(), client()]
      await one.ask('abc', 'ABC')
      await other.ask('x'.repeat(300_000), 'X'.repeat(300_000))
      expect(proxy.connections).toBe(2)
      one.socket.end('d')
      expect(await one.ended).toBe('ended')
      expect(one.text).toBe('ABCD.')
    }))

  it('passes bytes on late, and in order', () =>
    through([{ kind: 'latency', latencyMs: 20, only: ['up'] }], async (_, client) => {
      const one = client()
      const startedAt = performance.now()
      one.socket.write('a')
      await one.ask('b', 'AB')
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(20)
    }))

  it('passes bytes on a few at a time', () =>
    through([{ kind: 'slice', sliceMaxBytes: 3, delayMs: 1 }], async (_, client) => {
      await client().ask('abcdefghij', 'ABCDEFGHIJ')
      expect(received).toBe('abcdefghij')
    }))

  it('swallows requests', () =>
    through([{ kind: 'drop', lose: 'request', only: ['up'], untilMs: 1e6 }], async (proxy, client) => {
      const one = client()
      one.socket.end('a')
      // The end comes behind the bytes.
      expect(await one.ended).toBe('ended')
      expect([one.text, received]).toEqual(['.', ''])
      proxy.faults.clear()
      await client().ask('b', 'B')
      expect(received).toBe('b')
    }))

  it('swallows replies', () =>
    through([{ kind: 'drop', lose: 'reply', times: 1 }], async (_, client) => {
      const one = client()
      one.socket.write('a')
      await arrived('a')
      await one.ask('b', 'B')
      expect(one.text).toBe('B')
    }))

  it('hangs one connection, one way, and no other', () =>
    through([{ kind: 'hang', only: ['down'], times: 1 }], async (_, client) => {
      const hung = client()
      hung.socket.write('a')
      await arrived('a')
      hung.socket.write('b')
      await arrived('ab')
      await client().ask('c', 'C')
      expect(hung.text).toBe('')
    }))

  it('resets a connection', () =>
    through([{ kind: 'reset', only: ['up'], times: 1 }], async (_, client) => {
      const one = client()
      one.socket.write('a')
      expect(await one.ended).toBe('ECONNRESET')
      await client().ask('b', 'B')
      expect(received).toBe('b')
    }))

  it('holds bytes, ends and new connections in a partition, and lets them through when it heals', () =>
    through([], async (proxy, client) => {
      const one = client()
      const quiet = client()
      await one.ask('a', 'A')
      await quiet.ask('q', 'Q')
      const heal = proxy.faults.add({ kind: 'partition' })
      one.socket.end('b')
      quiet.socket.end()
      const two = client()
      const asked = two.ask('c', 'C')
      // As long as others take to come and go: what the proxy let through would have been there before.
      const direct = new Client(port)
      for (let round = 0; round < 20; round++) await direct.ask('-', '-')
      direct.socket.destroy()
      expect([received.replaceAll('-', ''), one.text, quiet.text, two.text, ends]).toEqual(['aq', 'A', 'Q', '', 0])
      heal()
      await asked
      expect(await one.ended).toBe('ended')
      expect(one.text).toBe('AB.')
      expect(await quiet.ended).toBe('ended')
      expect(quiet.text).toBe('Q.')
    }))

  it('keeps no listener for what a slow reader had to be waited for (pitfall 15)', async () => {
    const bytes = 33_554_432
    let receivedBytes = 0
    let onAll = (): void => {}
    const all = new Promise<void>((resolve) => {
      onAll = resolve
    })
    const slow = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        receivedBytes += chunk.length
        if (receivedBytes >= bytes) onAll()
        socket.pause()
        setImmediate(() => socket.resume())
      })
    })
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve))
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const proxy = await faultProxy({ target: { port: (slow.address() as AddressInfo).port } })
    const client = new Client(proxy.port)
    client.socket.write(Buffer.alloc(bytes))
    await all
    expect(warned).not.toHaveBeenCalled()
    warned.mockRestore()
    await proxy.close()
    await new Promise((resolve) => slow.close(resolve))
  })

  it('resets what is open when it is closed, and lets nobody in any more', async () => {
    const proxy = await faultProxy({ target: { port } })
    const one = new Client(proxy.port)
    await one.ask('a', 'A')
    proxy.faults.add({ kind: 'partition' })
    await Promise.all([proxy.close(), proxy.close()])
    expect(await one.ended).toBe('ECONNRESET')
    expect(await new Client(proxy.port).ended).toBe('ECONNREFUSED')
    expect(proxy.connections).toBe(0)
  })

  it('passes on that there is nobody behind it', async () => {
    const gone = await faultProxy({ target: { port } })
    const { port: free } = gone
    await gone.close()
    await using proxy = await faultProxy({ target: { port: free } })
    expect(await new Client(proxy.port).ended).toBe('ECONNRESET')
  })

  it('refuses faults that bytes cannot have', () =>
    through([], async (proxy) => {
      expect(() => proxy.faults.add({ kind: 'duplicate' })).toThrow('a proxy of bytes has no such fault: duplicate')
      await expect(faultProxy({ target: { port }, faults: [{ kind: 'error', code: 'EIO' }] })).rejects.toMatchObject({
        code: 'INVALID_OPTIONS'
      })
    }))
})
