import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests } from '@enablement/core/testing'
import { createSealingKey } from '@enablement/messaging'
import { messagingSchema, sqlMessageStore } from '@enablement/messaging/sql'
import { type MessageStoreSubject, messageStoreConformance } from '@enablement/messaging/testing'
import { describe, expect, it } from 'vitest'

async function subject(
  sealingKey = createSealingKey()
): Promise<MessageStoreSubject & { db: ReturnType<typeof sqliteDatabase> }> {
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [messagingSchema])
  return {
    db,
    store: sqlMessageStore(db, { sealingKey }),
    owner: 'alice#1',
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]()
  }
}

describe('the SQL message store on SQLite', () => {
  for (const { name, run } of conformanceTests(messageStoreConformance, { create: subject, supports: {} }))
    it(name, run)

  it('says that it seals, and survives what its database does', async () => {
    await using own = await subject()
    expect(own.store.supports).toEqual({ durable: own.db.supports.durable, sealedAtRest: true })
  })

  it('opens no record that was moved, rolled back under a newer version, damaged, or sealed with another key', async () => {
    await using own = await subject()
    const { db, store, owner } = own
    const session = (peer: string, expectedVersion: number) => ({
      session: { peer, record: Uint8Array.of(expectedVersion, 7), expectedVersion }
    })
    await store.commit(owner, session('bob', 0))
    await store.commit(owner, session('carol', 0))
    const run = (text: string) =>
      db.run(function* () {
        yield { text, values: [] }
      })
    await run("create table kept as select record from messaging_session where peer = 'bob'")
    await store.commit(owner, session('bob', 1))

    const tamperings = [
      `update messaging_session set record = (select record from messaging_session where peer = 'carol') where peer = 'bob'`,
      `update messaging_session set record = (select record from kept) where peer = 'bob'`,
      `update messaging_session set record = x'00' where peer = 'bob'`,
      `update messaging_session set version = 1 where peer = 'bob'`
    ]
    await run(`create table genuine as select version, record from messaging_session where peer = 'bob'`)
    for (const tampering of tamperings) {
      await run(tampering)
      await expect(store.loadSession(owner, 'bob')).rejects.toMatchObject({
        code: 'RECORD_NOT_AUTHENTIC',
        detail: { record: 'session bob' }
      })
      await run(
        `update messaging_session set record = (select record from genuine), version = (select version from genuine)
         where peer = 'bob'`
      )
    }
    expect(await store.loadSession(owner, 'bob')).toEqual({ version: 2, record: Uint8Array.of(1, 7) })
    const stranger = sqlMessageStore(db, { sealingKey: createSealingKey() })
    await expect(stranger.loadSession(owner, 'bob')).rejects.toMatchObject({ code: 'RECORD_NOT_AUTHENTIC' })
  })

  it('does not guess how a message ended whose status it does not know', async () => {
    await using own = await subject()
    const { db, store, owner } = own
    const entry = {
      id: 'id',
      peer: 'bob',
      idempotencyKey: 'k',
      digest: new Uint8Array(32),
      envelope: new Uint8Array(1)
    }
    await store.commit(owner, { outbox: { ...entry, status: 'queued', queuedAt: 1, expiresAt: 2 } })
    await db.run(function* () {
      yield { text: "update messaging_outbox set status = 'recalled'", values: [] }
    })
    await expect(store.loadSent(owner, 'k')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
  })

  it('takes no key but one of 32 bytes, and does not repeat it', async () => {
    await using own = await subject()
    const make = () => sqlMessageStore(own.db, { sealingKey: new Uint8Array(16).fill(201) })
    expect(make).toThrow('sealingKey: must be 32 bytes')
    expect(make).not.toThrow('201')
  })
})
