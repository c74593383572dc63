import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import { Hono } from 'hono'
import { afterEach, describe, expect, it } from 'vitest'
import { invited, pageOf, stage } from './stage.ts'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** Listens on the loopback, with links that lead there. */
async function served(mount: (handle: (request: Request) => Promise<Response>) => Parameters<typeof createServer>[1]) {
  const server = createServer((...exchange) => listener?.(...exchange))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => server.close(resolve)))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const one = stage({ baseUrl: `${origin}/decide` })
  const listener = mount(one.links.handle)
  return { ...one, origin }
}

const mounts: readonly [string, Parameters<typeof served>[0]][] = [
  ['hono', (handle) => getRequestListener(new Hono().all('/decide/*', (context) => handle(context.req.raw)).fetch)],
  ['express', (handle) => express().use('/decide', getRequestListener(handle)) as never],
  ['node:http', (handle) => getRequestListener(handle)]
]

describe.each(mounts)('links mounted in %s', (_where, mount) => {
  it('show their page, do nothing for what fetches them, and decide when the form is sent', async () => {
    const { links, origin, written } = await served(mount)
    const { approve } = links.linksOf(invited)
    const head = await fetch(approve, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
    const page = await pageOf(await fetch(approve))
    expect([page.status, page.headers.get('cache-control')]).toEqual([200, 'no-store'])
    expect(written).toEqual([])
    const send = (from: string) =>
      fetch(approve, {
        method: 'POST',
        headers: { origin: from },
        body: new URLSearchParams({ form: page.seal ?? '', decision: 'deny', reason: 'no' })
      })
    expect((await send('https://evil.example.com')).status).toBe(403)
    expect(written).toEqual([])
    expect((await send(origin)).status).toBe(200)
    expect(written.at(-1)).toMatchObject(['decide', { approver: 'ana', decision: 'deny', reason: 'no' }])
    expect((await fetch(`${approve}x`)).status).toBe(404)
  })
})
