import type { SqlDatabase } from '@enablement/core/sql'
import { migrate, rows } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, unlessCrashed } from '@enablement/core/testing'
import { createIdentity, createSealingKey } from '@enablement/messaging'
import { messagingSchema, sqlMessageStore } from '@enablement/messaging/sql'
import { describe, expect, inject, it } from 'vitest'
import { bytesOf, quiet, type Town, town } from '../support/town.ts'

const sealingKey = createSealingKey()

/** Each crash point is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))

async function disk(): Promise<SqlDatabase> {
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [messagingSchema])
  return db
}

const settled = async (place: Town): Promise<void> => {
  for (let turn = 0; turn < 4; turn += 1) await quiet(place)
}

describe('messengers on SQLite', () => {
  it('carry a conversation on after both have restarted', async () => {
    await using db = await disk()
    const place = town()
    const identities = { alice: await createIdentity(), bob: await createIdentity() }
    const start = async () => ({
      alice: await place.settle('alice#1', { identity: identities.alice, store: sqlMessageStore(db, { sealingKey }) }),
      bob: await place.settle('bob#1', { identity: identities.bob, store: sqlMessageStore(db, { sealingKey }) })
    })
    const heard: string[] = []
    for (let life = 0; life < 3; life += 1) {
      const { alice, bob } = await start()
      expect(await alice.messenger.send('bob#1', bytesOf(`a${life}`))).toMatchObject({ outcome: 'delivered' })
      expect(await bob.messenger.send('alice#1', bytesOf(`b${life}`))).toMatchObject({ outcome: 'delivered' })
      await settled(place)
      heard.push(...bob.heard, ...alice.heard)
      await alice.messenger.close()
      await bob.messenger.close()
    }
    expect(heard).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2'])
  })

  it('write no plaintext and no key to the database', async () => {
    const place = town()
    await using db = await disk()
    const alice = await place.settle('alice#1', { store: sqlMessageStore(db, { sealingKey }) })
    await place.settle('bob#1', { store: sqlMessageStore(db, { sealingKey }), receive: false })
    await alice.messenger.send('bob#1', bytesOf('a plaintext that must not be at rest'), { idempotencyKey: 'k' })
    const kept: Buffer[] = []
    for (const table of ['session', 'prekey', 'outbox', 'inbox']) {
      for (const row of await db.run(() => rows(`select * from messaging_${table}`))) {
        for (const value of Object.values(row)) {
          kept.push(Buffer.from(value instanceof Uint8Array ? value : String(value)))
        }
      }
    }
    const everything = Buffer.concat(kept)
    expect(everything.includes('must not be at rest')).toBe(false)
    const secret = (await alice.store.loadPrekey('alice#1', 'one-time', 1))?.secret
    expect(secret).toHaveLength(32)
    expect(everything.includes(Buffer.from(secret as Uint8Array))).toBe(false)
  })
})

describe('a process that dies at any point', () => {
  it('while it sends: the message arrives once, after the same call with the same key', async () => {
    for (let at = 0; ; at += stride) {
      await using db = await disk()
      const place = town()
      const identity = await createIdentity()
      const bob = await place.settle('bob#1')
      const dying = crashPoints(db, { at })
      await place
        .settle('alice#1', { identity, store: sqlMessageStore(dying, { sealingKey }), publish: false })
        .then(({ messenger }) => messenger.send('bob#1', bytesOf('once'), { idempotencyKey: 'k' }))
        .catch(unlessCrashed)
      const alice = await place.settle('alice#1', {
        identity,
        store: sqlMessageStore(db, { sealingKey }),
        publish: false
      })
      const sent = await alice.messenger.send('bob#1', bytesOf('once'), { idempotencyKey: 'k' })
      expect(sent, `crash point ${at}`).toMatchObject({ outcome: 'delivered' })
      await settled(place)
      expect(bob.heard, `crash point ${at}`).toEqual(['once'])
      expect(await bob.messenger.send('alice#1', bytesOf('answer'))).toMatchObject({ outcome: 'delivered' })
      if (dying.crashed === undefined) break
    }
  }, 20_000)

  it('while it receives: the message is handed over under one id, and no prekey is lost with it', async () => {
    for (let at = 0; ; at += stride) {
      await using db = await disk()
      const place = town()
      const identity = await createIdentity()
      const alice = await place.settle('alice#1')
      const healthy = await place.settle('bob#1', {
        identity,
        store: sqlMessageStore(db, { sealingKey }),
        receive: false
      })
      await healthy.messenger.close()
      const dying = crashPoints(db, { at })
      const ids: string[] = []
      const victim = await place
        .settle('bob#1', { identity, store: sqlMessageStore(dying, { sealingKey }), publish: false, receive: false })
        .catch(unlessCrashed)
      const stop = victim?.messenger.receive(async (message) => {
        ids.push(message.id)
        await message.ack()
      })
      const sent = await alice.messenger.send('bob#1', bytesOf('once'))
      await settled(place)
      stop?.()

      const bob = await place.settle('bob#1', {
        identity,
        store: sqlMessageStore(db, { sealingKey }),
        publish: false,
        receive: false
      })
      bob.messenger.receive(async (message) => {
        ids.push(message.id)
        await message.ack()
      })
      await alice.messenger.flush()
      await settled(place)
      expect(new Set(ids), `crash point ${at}`).toEqual(
        new Set([sent.outcome === 'delivered' ? sent.id : sent.outcome === 'queued' ? sent.queueId : ''])
      )
      expect(await bob.store.countWaiting('bob#1')).toEqual({ queued: 0, unacknowledged: 0 })
      expect(await bob.messenger.send('alice#1', bytesOf('answer'))).toMatchObject({ outcome: 'delivered' })
      if (dying.crashed === undefined) break
    }
  }, 20_000)
})
