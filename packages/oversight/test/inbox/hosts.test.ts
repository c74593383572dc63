import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { testPlatform } from '@enablement/core/testing'
import { createInbox, type Inbox } from '@enablement/oversight/inbox'
import { getRequestListener, serve } from '@hono/node-server'
import express from 'express'
import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { kernel } from './kernel.ts'
import { byHeader, FORM_KEY } from './stage.ts'

/** The ways in which the handbook says that an inbox is mounted. */
const hosts: Readonly<Record<string, (inbox: Inbox, listening: () => void) => Server>> = {
  Hono: (inbox, listening) => {
    const app = new Hono()
    app.all('/inbox/*', (c) => inbox.handle(c.req.raw))
    return serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, listening) as Server
  },
  Express: (inbox, listening) => {
    const app = express()
    app.all('/inbox{/*path}', getRequestListener(inbox.handle))
    return app.listen(0, '127.0.0.1', listening)
  }
}

describe.each(Object.entries(hosts))('an inbox mounted in %s', (_, mount) => {
  it('lists, decides and tells what is new, and notices who hangs up', async () => {
    const platform = testPlatform()
    await using ground = await kernel(platform)
    const { oversight } = ground
    await using inbox = createInbox({
      oversight,
      authenticate: byHeader,
      formKeys: [FORM_KEY],
      basePath: '/inbox',
      platform
    })
    const server = await new Promise<Server>((resolve) => {
      const one = mount(inbox, () => resolve(one))
    })
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const headers = { 'x-user': 'ana@acme' }
    try {
      const { id, path } = await ground.open({ summary: 'Refund' })
      expect(await (await fetch(`${origin}/inbox/`, { headers })).text()).toContain('Refund')
      const page = await (await fetch(`${origin}/inbox${path}`, { headers })).text()
      const field = (name: string): string => new RegExp(`name="${name}" value="([^"]*)"`).exec(page)?.[1] as string

      const leaving = new AbortController()
      const stream = await fetch(`${origin}/inbox/live?list=waiting`, {
        headers: { ...headers, accept: 'text/event-stream' },
        signal: leaving.signal
      })
      const reader = (stream.body as ReadableStream<Uint8Array>).getReader()
      let heard = ''
      while (!heard.includes(id)) heard += new TextDecoder().decode((await reader.read()).value)

      const body = new URLSearchParams({ form: field('form'), hash: field('hash'), decision: 'approve' })
      const decided = await fetch(`${origin}/inbox${path}/decide`, {
        method: 'POST',
        redirect: 'manual',
        headers: { ...headers, origin },
        body
      })
      expect([decided.status, decided.headers.get('location')]).toEqual([303, `/inbox${path}#outcome`])
      expect((await oversight.inspect(id)).status).toBe('approved')

      expect(platform.clock.pendingTimers).toBe(1)
      leaving.abort()
      await expect.poll(() => platform.clock.pendingTimers, { timeout: 15_000 }).toBe(0)
    } finally {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })
})
