import assert from 'node:assert/strict'
import { isSuiteError } from '@enablement/core'
import type { ConformanceCase } from '@enablement/core/testing'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { bytesOfHex, withFlippedBit } from './vector-bytes.ts'

/** RFC 7748 §5.2: scalar, u-coordinate, result. The second u-coordinate has bit 255 set. */
const X25519_VECTORS = [
  [
    'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
    'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
    'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552'
  ],
  [
    '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
    'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
    '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957'
  ]
] as const

/** Points of small order on Curve25519 and its twist, with their aliases from p on. */
const SMALL_ORDER_POINTS = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
]

/** RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature. */
const ED25519_VECTORS = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    `e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b
     d25bf5f0595bbe24655141438e7a100b`
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    `92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c
     387b2eaeb4302aeeb00d291612bb0c00`
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    `6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659
     4a7c15e9716ed28dc027beceea1ec40a`
  ]
] as const

/** The order of the base point, RFC 8032 §5.1, little-endian. */
const GROUP_ORDER = bytesOfHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010')

/** The curve clauses of the exam. */
export const curveCases: readonly ConformanceCase<() => CryptoProvider, never>[] = [
  {
    name: 'X25519 gives the results of RFC 7748 §5.2',
    async run(create) {
      const crypto = create()
      for (const [scalar, point, result] of X25519_VECTORS) {
        const key = await crypto.importAgreementKey(bytesOfHex(scalar))
        const peer = await crypto.importPeerKey(bytesOfHex(point))
        assert.deepEqual(await crypto.agree(key, peer), bytesOfHex(result))
      }
    }
  },
  {
    name: 'X25519 agrees from both ends as in RFC 7748 §6.1',
    async run(create) {
      const crypto = create()
      const alice = await crypto.importAgreementKey(
        bytesOfHex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a')
      )
      const bob = await crypto.importAgreementKey(
        bytesOfHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb')
      )
      const shared = bytesOfHex('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742')
      assert.deepEqual(await crypto.agree(alice, await crypto.importPeerKey(bob.publicKey)), shared)
      assert.deepEqual(await crypto.agree(bob, await crypto.importPeerKey(alice.publicKey)), shared)
    }
  },
  {
    name: 'X25519 refuses points of small order, also under their aliases',
    async run(create) {
      const crypto = create()
      const key = await crypto.generateAgreementKey()
      for (const point of SMALL_ORDER_POINTS) {
        for (const bytes of [bytesOfHex(point), withFlippedBit(bytesOfHex(point), 255)]) {
          await assert.rejects(
            async () => crypto.agree(key, await crypto.importPeerKey(bytes)),
            (error) => isSuiteError(error, 'INVALID_KEY'),
            point
          )
        }
      }
    }
  },
  {
    name: 'X25519 ignores bit 255 of a public key',
    async run(create) {
      const crypto = create()
      const key = await crypto.generateAgreementKey()
      const { publicKey } = await crypto.generateAgreementKey()
      const alias = await crypto.importPeerKey(withFlippedBit(publicKey, 255))
      assert.deepEqual(await crypto.agree(key, alias), await crypto.agree(key, await crypto.importPeerKey(publicKey)))
    }
  },
  {
    name: 'X25519 reduces a public key from p on',
    async run(create) {
      const crypto = create()
      const key = await crypto.generateAgreementKey()
      // 9 + p, the non-canonical encoding of the base point.
      const alias = bytesOfHex('f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f')
      const base = await crypto.importPeerKey(bytesOfHex(`09${'00'.repeat(31)}`))
      assert.deepEqual(await crypto.agree(key, await crypto.importPeerKey(alias)), await crypto.agree(key, base))
      assert.deepEqual(await crypto.agree(key, base), key.publicKey)
    }
  },
  {
    name: 'keys of any length but 32 bytes are refused',
    async run(create) {
      const crypto = create()
      for (const length of [0, 31, 33, 64]) {
        const bytes = new Uint8Array(length).fill(7)
        const takes = [
          async () => crypto.importAgreementKey(bytes),
          async () => crypto.importPeerKey(bytes),
          async () => crypto.importSigningKey(bytes)
        ]
        for (const take of takes) await assert.rejects(take, (error) => isSuiteError(error, 'INVALID_KEY'))
      }
    }
  },
  {
    name: 'Ed25519 gives the keys and signatures of RFC 8032 §7.1',
    async run(create) {
      const crypto = create()
      for (const [seed, publicKey, message, signature] of ED25519_VECTORS) {
        const key = await crypto.importSigningKey(bytesOfHex(seed))
        assert.deepEqual(key.publicKey, bytesOfHex(publicKey))
        assert.deepEqual(await crypto.sign(key, bytesOfHex(message)), bytesOfHex(signature))
        assert.equal(await crypto.verify(key.publicKey, bytesOfHex(message), bytesOfHex(signature)), true)
      }
    }
  },
  {
    name: 'Ed25519 refuses a signature, a message or a key with one bit changed, and any wrong length',
    async run(create) {
      const crypto = create()
      const key = await crypto.generateSigningKey()
      const message = crypto.random(40)
      const signature = await crypto.sign(key, message)
      for (const bit of [0, 100, 255, 256, 400, 511]) {
        assert.equal(await crypto.verify(key.publicKey, message, withFlippedBit(signature, bit)), false, `bit ${bit}`)
      }
      assert.equal(await crypto.verify(key.publicKey, withFlippedBit(message, 5), signature), false)
      assert.equal(await crypto.verify(withFlippedBit(key.publicKey, 9), message, signature), false)
      for (const wrong of [new Uint8Array(0), signature.subarray(1), new Uint8Array(65)]) {
        assert.equal(await crypto.verify(key.publicKey, message, wrong), false)
        assert.equal(await crypto.verify(wrong, message, signature), false)
      }
    }
  },
  {
    name: 'Ed25519 refuses a signature whose S was raised by the group order',
    async run(create) {
      const crypto = create()
      const key = await crypto.generateSigningKey()
      const message = crypto.random(16)
      const malleated = await crypto.sign(key, message)
      let carry = 0
      for (let at = 0; at < 32; at += 1) {
        const sum = (malleated[32 + at] as number) + (GROUP_ORDER[at] as number) + carry
        malleated[32 + at] = sum
        carry = sum >> 8
      }
      assert.equal(await crypto.verify(key.publicKey, message, malleated), false)
    }
  },
  {
    name: 'Ed25519 verifies nothing under a public key of small order',
    async run(create) {
      const crypto = create()
      // With the neutral element as key and as R, S = 0 satisfies the equation for every message.
      const neutral = bytesOfHex(`01${'00'.repeat(31)}`)
      const signature = new Uint8Array(64)
      signature.set(neutral)
      for (const alias of [neutral, withFlippedBit(neutral, 255), bytesOfHex(`ee${'ff'.repeat(30)}7f`)]) {
        assert.equal(await crypto.verify(alias, crypto.random(8), signature), false)
      }
    }
  }
]
