import { once } from 'node:events'
import { type AddressInfo, createServer, type LookupFunction, type Socket } from 'node:net'
import { tcpProbe } from '@enablement/runtime/network'
import { describe, expect, it } from 'vitest'

const never = new AbortController().signal

async function listening(): Promise<{ readonly port: number; readonly sockets: Socket[]; close(): Promise<unknown> }> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    close: () => new Promise((resolve) => server.close(resolve))
  }
}

describe('a TCP probe', () => {
  it('makes a connection, and leaves none', async () => {
    const server = await listening()
    await tcpProbe()({ host: '127.0.0.1', port: server.port }, { signal: never })
    // A server closes only when its connections have ended.
    await server.close()
  })

  it('fails where nobody listens', async () => {
    const { port, close } = await listening()
    await close()
    await expect(tcpProbe()({ host: '127.0.0.1', port }, { signal: never })).rejects.toMatchObject({
      code: 'ECONNREFUSED'
    })
  })

  it('resolves names as it is told, and fails when they cannot be', async () => {
    const server = await listening()
    const asked: string[] = []
    const lookup: LookupFunction = (hostname, options, callback) => {
      asked.push(hostname)
      if (hostname === 'gone.test') callback(Object.assign(new Error('gone'), { code: 'ENOTFOUND' }), '', 0)
      else if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
      else callback(null, '127.0.0.1', 4)
    }
    const probe = tcpProbe({ lookup })
    await probe({ host: 'egress.test', port: server.port }, { signal: never })
    await expect(probe({ host: 'gone.test', port: server.port }, { signal: never })).rejects.toMatchObject({
      code: 'ENOTFOUND'
    })
    expect(asked).toEqual(['egress.test', 'gone.test'])
    await server.close()
  })

  it('ends with its signal, before and during', async () => {
    const lookup: LookupFunction = () => undefined
    const giveUp = new AbortController()
    const hanging = tcpProbe({ lookup })({ host: 'egress.test', port: 443 }, { signal: giveUp.signal })
    giveUp.abort(new Error('too late'))
    await expect(hanging).rejects.toThrow('too late')
    await expect(tcpProbe()({ host: '127.0.0.1', port: 443 }, { signal: giveUp.signal })).rejects.toThrow('too late')
  })
})
