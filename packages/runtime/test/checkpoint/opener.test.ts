import { createOpener as createNodeOpener } from '@enablement/runtime/opener/node'
import { createOpener as createWebOpener } from '@enablement/runtime/opener/web'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

const master = new Uint8Array(32).fill(7)
const info = new TextEncoder().encode('a use')
const nonce = new Uint8Array(12).fill(3)

/** What WebCrypto makes of it, under the key that it derives by itself. */
async function sealed(content: Uint8Array, authenticated: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const secret = await crypto.subtle.importKey('raw', master, 'HKDF', false, ['deriveKey'])
  const hkdf = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info }
  const key = await crypto.subtle.deriveKey(hkdf, secret, { name: 'AES-GCM', length: 256 }, false, ['encrypt'])
  const parameters = { name: 'AES-GCM', iv: nonce, additionalData: Uint8Array.from(authenticated) }
  return new Uint8Array(await crypto.subtle.encrypt(parameters, key, Uint8Array.from(content)))
}

describe('the opener of Node', () => {
  const opener = createNodeOpener(master, info)

  test.prop([fc.uint8Array({ maxLength: 5_000 }), fc.uint8Array({ maxLength: 300 })])(
    'opens what WebCrypto has sealed',
    async (content, authenticated) => {
      const opened = opener?.open(nonce, authenticated, await sealed(content, authenticated))
      expect(Uint8Array.from(opened ?? [1])).toEqual(Uint8Array.from(content))
    }
  )

  it('gives nothing of what was changed, cut short, or bound to something else', async () => {
    const [content, authenticated] = [new Uint8Array(40).fill(1), new Uint8Array([1, 2])]
    const whole = await sealed(content, authenticated)
    for (let at = 0; at < whole.length; at += 1) {
      const changed = whole.slice()
      changed[at] = (changed[at] as number) ^ 1
      expect(() => opener?.open(nonce, authenticated, changed)).toThrow(/authenticat/)
      expect(() => opener?.open(nonce, authenticated, whole.subarray(0, at))).toThrow(/authenticat/)
    }
    expect(() => opener?.open(nonce, new Uint8Array([1, 3]), whole)).toThrow(/authenticat/)
    expect(() => createNodeOpener(master, new Uint8Array(1))?.open(nonce, authenticated, whole)).toThrow(/authenticat/)
  })
})

describe('the opener of other platforms', () => {
  it('is none', () => {
    expect(createWebOpener(master, info)).toBeUndefined()
  })
})
