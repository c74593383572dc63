import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type Clock, systemPlatform } from '@enablement/core'
import {
  createCertificateJudge,
  createPartitionGuard,
  createPartitionMonitor,
  createResolver,
  networkDispatcher,
  type PartitionEvent,
  tcpProbe
} from '@enablement/runtime/network'
import * as undici from 'undici'
import { describe, expect, it } from 'vitest'
import { bundle, issue, makeAuthority, START_AT } from '../fakes/certificates.ts'
import { failing, fakeNameServer, rcode } from '../fakes/fake-name-server.ts'
import { faultProxy } from './fault-proxy.ts'

/** The machine's timers, and the wall clock that the certificates are of. */
const clock: Clock = { ...systemPlatform.clock, now: () => START_AT }
const platform = { ...systemPlatform, clock }

/** Resolver, judge, monitor and guard as one dispatcher, before a TLS server behind a proxy that fails. */
async function network(hosts: readonly string[]) {
  const authority = await makeAuthority()
  const leaf = await issue('api', { issuer: authority.intermediate, hosts })
  const names: (string | false | null)[] = []
  const server = createServer(
    { cert: bundle(leaf, authority.intermediate), key: leaf.keyPem },
    (incoming, response) => {
      names.push((incoming.socket as unknown as { readonly servername: string | false | null }).servername)
      response.end(incoming.headers.host)
    }
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await faultProxy((server.address() as AddressInfo).port)
  const dns = await fakeNameServer(failing(rcode.servfail))
  const resolver = createResolver({ primary: [dns.address], pinned: { 'api.test': ['127.0.0.1'] }, platform })
  const { lookup } = resolver
  const judged: string[] = []
  const judge = createCertificateJudge({
    warningDays: 14,
    ca: authority.root.pem,
    lookup,
    platform,
    observe: ({ type }) => void judged.push(type)
  })

  const monitor = createPartitionMonitor({
    endpoints: [{ host: 'api.test', port: proxy.port }],
    probe: tcpProbe({ lookup }),
    intervalMs: 20,
    reconnect: { jitter: 'full', baseMs: 5, maxMs: 20 }
  })
  const events: PartitionEvent[] = []
  const found = Promise.withResolvers<void>()
  const guard = createPartitionGuard({
    monitor,
    observe(event) {
      events.push(event)
      if (event.type === 'request.buffered') found.resolve()
    }
  })
  const dispatcher = networkDispatcher({ undici, guard, connect: judge.connect })
  return {
    origin: `https://api.test:${proxy.port}`,
    proxy,
    guard,
    dispatcher,
    names,
    judged,
    events,
    buffered: found.promise,
    async [Symbol.asyncDispose]() {
      await guard.close()
      await dispatcher.destroy()
      await monitor.close()
      await resolver.close()
      await dns[Symbol.asyncDispose]()
      await proxy.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

describe('a network of resolver, judge and guard', () => {
  it('reaches a pinned address under the original name while every name server fails, also after a partition', async () => {
    await using at = await network(['api.test'])
    const { dispatcher } = at
    const before = await undici.request(at.origin, { dispatcher })
    expect(await before.body.text()).toBe(new URL(at.origin).host)
    await at.proxy.partition('reset')
    while (at.guard.state === 'connected') await new Promise((resolve) => setImmediate(resolve))
    const waiting = undici.request(at.origin, { dispatcher })
    await at.buffered
    await at.proxy.heal()
    await (await waiting).body.dump()
    expect(at.names).toEqual(['api.test', 'api.test'])
  })

  it('does not take a refused certificate for a partition, nor try it again', async () => {
    await using at = await network(['other.test'])
    const refused = undici.request(at.origin, { dispatcher: at.dispatcher })
    await expect(refused).rejects.toMatchObject({ code: 'CERTIFICATE_REJECTED' })
    expect(at.guard.statistics()).toMatchObject({ failed: 1, waiting: 0 })
    expect(at.judged).toHaveLength(1)
    expect(at.events).toEqual([])
  })
})
