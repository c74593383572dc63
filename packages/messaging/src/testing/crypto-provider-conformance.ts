import assert from 'node:assert/strict'
import { isSuiteError } from '@enablement/core'
import type { ConformanceCase, ConformanceKit } from '@enablement/core/testing'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { curveCases } from './curve-cases.ts'
import { symmetricCases } from './symmetric-cases.ts'

/** Makes the provider under test. */
export type CreateCryptoProvider = () => CryptoProvider

const handleCases: readonly ConformanceCase<CreateCryptoProvider, never>[] = [
  {
    name: 'private key handles show their public half and nothing else',
    async run(create) {
      const crypto = create()
      for (const key of [await crypto.generateAgreementKey(), await crypto.generateSigningKey()]) {
        assert.deepEqual(Object.keys(key).sort(), ['kind', 'publicKey'])
        assert.equal(Object.isFrozen(key), true)
      }
    }
  },
  {
    name: 'a handle that the provider did not make is refused',
    async run(create) {
      const crypto = create()
      const { publicKey } = await crypto.generateAgreementKey()
      const foreign = { kind: 'x25519-private', publicKey } as const
      await assert.rejects(
        async () => crypto.exportAgreementKey(foreign),
        (error) => isSuiteError(error, 'INVALID_KEY')
      )
    }
  },
  {
    name: 'an exported key is a copy: wiping it leaves the handle usable',
    async run(create) {
      const crypto = create()
      const key = await crypto.generateAgreementKey()
      const exported = await crypto.exportAgreementKey(key)
      const again = await crypto.importAgreementKey(exported)
      assert.deepEqual(again.publicKey, key.publicKey)
      exported.fill(0)
      const peer = await crypto.importPeerKey((await crypto.generateAgreementKey()).publicKey)
      assert.deepEqual(await crypto.agree(again, peer), await crypto.agree(key, peer))
    }
  },
  {
    name: 'random bytes have the length asked for and do not repeat',
    async run(create) {
      const crypto = create()
      assert.equal(crypto.random(0).length, 0)
      const seen = new Set(Array.from({ length: 64 }, () => crypto.random(32).join()))
      assert.equal(seen.size, 64)
    }
  }
]

/**
 * The exam of the crypto provider port: vectors of RFC 7748, 8032, 5869, 4231 and 8439, and the edges where providers
 * are known to differ. Data, for any test framework: `conformanceTests` of `@enablement/core/testing` runs it.
 */
export const cryptoProviderConformance: ConformanceKit<CreateCryptoProvider, never> = {
  name: 'CryptoProvider',
  needs: [],
  cases: [...curveCases, ...symmetricCases, ...handleCases]
}
