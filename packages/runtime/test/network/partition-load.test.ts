import process from 'node:process'
import { sleep, systemClock } from '@enablement/core'
import type { PartitionEvent } from '@enablement/runtime/network'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { stage } from './stage.ts'

/** `npm run soak` keeps the network away for a minute; `npm test` until everything has been sent that should wait. */
const SOAK = process.env['SOAK'] === '1'
const AWAY_MS = SOAK ? 60_000 : 0
/** Of each kind, in each of the phases. */
const REQUESTS = SOAK ? 100 : 25

type Kind = 'keyed' | 'put' | 'get' | 'once'

interface Sent {
  readonly name: string
  readonly kind: Kind
  readonly whileAway: boolean
  /** The status, or the code that it was refused with. */
  readonly ended: Promise<number | string>
}

describe('a partition under load', () => {
  it.each(['reset', 'silent'] as const)(
    'of a %s network: what may be repeated takes effect once each, in order, and the rest gets a typed answer',
    { timeout: 30_000 + 4 * AWAY_MS },
    async (standing) => {
      await using at = await stage({ dispatcher: { agent: { headersTimeout: SOAK ? 90_000 : 1_000 } } })
      const { proxy, server, guard, dispatcher } = at
      const all: Sent[] = []

      const send = (kind: Kind): void => {
        const number = all.length
        const method = kind === 'get' ? 'GET' : kind === 'put' ? 'PUT' : 'POST'
        const path = `/${kind}/${number}`
        const name = kind === 'keyed' ? `key-${number}` : `${method} ${path}`
        const ended = request(proxy.origin + path, {
          method,
          ...(method === 'GET' ? {} : { body: `body ${number}` }),
          ...(kind === 'keyed' ? { headers: { 'idempotency-key': name } } : {}),
          dispatcher
        }).then(
          async ({ statusCode, body }) => {
            await body.dump()
            return statusCode
          },
          (error: { readonly code?: string }) => error.code ?? 'an error without a code'
        )
        all.push({ name, kind, whileAway: guard.state !== 'connected', ended })
      }
      const load = async (pauseMs: number): Promise<void> => {
        for (let round = 0; round < REQUESTS; round++) {
          for (const kind of ['keyed', 'put', 'get', 'once'] as const) send(kind)
          // Turns, so that probes, replies and failures come in between.
          await (pauseMs > 0 ? sleep(systemClock, pauseMs) : new Promise((resolve) => setImmediate(resolve)))
        }
      }

      await load(0)
      proxy.repliesToDrop = 10
      await load(0)
      await proxy.partition(standing)
      await load(AWAY_MS / 10 / REQUESTS)
      if (guard.state === 'connected') await at.seen('network.partitioned')
      // 3 of 4 wait, and 1,000 may.
      await load(AWAY_MS / REQUESTS)
      await proxy.heal()
      await load(0)
      const ends = await Promise.all(all.map(({ ended }) => ended))

      const codes = ['REQUEST_REFUSED', 'REPLY_LOST', 'ECONNREFUSED', 'ECONNRESET', 'UND_ERR_SOCKET']
      for (const [index, { kind, name, whileAway }] of all.entries()) {
        const end = ends[index]
        if (kind === 'once') {
          expect([200, ...codes], name).toContain(end)
          if (whileAway) expect(['REQUEST_REFUSED', 200], name).toContain(end)
          expect(server.arrivals.filter((arrival) => arrival === name).length, name).toBeLessThanOrEqual(1)
          if (end === 200) expect(server.effects, name).toContain(name)
        } else {
          expect(end, name).toBe(200)
          expect(server.arrivals, name).toContain(name)
        }
      }
      expect(new Set(server.effects).size, 'no effect twice').toBe(server.effects.length)

      const keyedAndPut = all.filter(({ kind, whileAway }) => whileAway && (kind === 'keyed' || kind === 'put'))
      expect(keyedAndPut.length).toBeGreaterThanOrEqual(REQUESTS)
      const names = new Set(keyedAndPut.map(({ name }) => name))
      expect(
        server.effects.filter((name) => names.has(name)),
        'in order'
      ).toEqual(keyedAndPut.map(({ name }) => name))

      const { submitted, replied, refused, failed, replyLost, waiting, sending, bytes } = guard.statistics()
      expect(submitted).toBe(all.length)
      expect(replied + refused + failed + replyLost).toBe(submitted)
      expect({ waiting, sending, bytes }).toEqual({ waiting: 0, sending: 0, bytes: 0 })
      const drained = at.events.findLast(
        (event): event is Extract<PartitionEvent, { type: 'network.drained' }> => event.type === 'network.drained'
      )
      expect(drained?.counts.replayed).toBe(drained?.counts.buffered)
      expect(drained?.counts.buffered).toBeGreaterThanOrEqual(keyedAndPut.length)
    }
  )
})
