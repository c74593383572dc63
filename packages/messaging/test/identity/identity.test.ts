import { createIdentity, createMessenger, exportIdentity, type Identity, importIdentity } from '@enablement/messaging'
import { cryptoProvider as noble } from '@enablement/messaging/crypto/noble'
import { inProcessDirectory, inProcessTransport, memoryMessageStore } from '@enablement/messaging/memory'
import { describe, expect, it } from 'vitest'

describe('an identity', () => {
  it('comes back from its export the same, also with the other provider', async () => {
    const identity = await createIdentity()
    const exported = await exportIdentity(identity)
    expect(exported).toHaveLength(65)
    for (const options of [{}, { crypto: noble }]) {
      const again = await importIdentity(exported, options)
      expect(again).toEqual(identity)
      expect(await exportIdentity(again)).toEqual(exported)
    }
  })

  it('has a fingerprint of 64 hex digits that no other has', async () => {
    const fingerprints = await Promise.all(
      [createIdentity(), createIdentity()].map(async (made) => (await made).fingerprint)
    )
    for (const fingerprint of fingerprints) expect(fingerprint).toMatch(/^[0-9a-f]{64}$/)
    expect(fingerprints[0]).not.toBe(fingerprints[1])
  })

  it('cannot be changed', async () => {
    const identity = await createIdentity()
    expect(Object.isFrozen(identity)).toBe(true)
    expect(Object.isFrozen(identity.publicIdentity)).toBe(true)
  })

  it('is not brought back from anything but an export', async () => {
    const exported = await exportIdentity(await createIdentity())
    const wrong = [new Uint8Array(0), exported.subarray(1), exported.subarray(0, 64), Uint8Array.of(...exported, 0)]
    for (const bytes of [...wrong, Uint8Array.of(2, ...exported.subarray(1))]) {
      await expect(importIdentity(bytes)).rejects.toMatchObject({
        code: 'RECORD_DAMAGED',
        detail: { record: 'exported identity' }
      })
    }
  })

  it('is not taken from a look-alike', async () => {
    const identity = await createIdentity()
    const lookAlike: Identity = { ...identity }
    await expect(exportIdentity(lookAlike)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(
      createMessenger({
        address: 'alice#1',
        identity: lookAlike,
        store: memoryMessageStore(),
        directory: inProcessDirectory(),
        transport: inProcessTransport(),
        trust: () => true
      })
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', detail: { path: 'identity' } })
  })
})

describe('createMessenger', () => {
  it('refuses options that are unknown, missing or wrong, with their path', async () => {
    const good = {
      address: 'alice#1',
      identity: await createIdentity(),
      store: memoryMessageStore(),
      directory: inProcessDirectory(),
      transport: inProcessTransport(),
      trust: () => true
    }
    const wrong: [object, string][] = [
      [{ ...good, observer: () => {} }, 'observer'],
      [{ ...good, address: '' }, 'address'],
      [{ ...good, address: 'x'.repeat(256) }, 'address'],
      [{ ...good, trust: true }, 'trust'],
      [{ ...good, store: undefined }, 'store']
    ]
    for (const [options, path] of wrong) {
      await expect(createMessenger(options as never)).rejects.toThrow(path)
    }
  })
})
