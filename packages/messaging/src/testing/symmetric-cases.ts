import assert from 'node:assert/strict'
import type { ConformanceCase } from '@enablement/core/testing'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { bytesOfHex, withFlippedBit } from './vector-bytes.ts'

/** RFC 4231 §4.2 to §4.4, §4.7, §4.8: key, data, HMAC-SHA-256. The last two keys are longer than a block. */
const HMAC_VECTORS = [
  ['0b'.repeat(20), '4869205468657265', 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
  [
    '4a656665',
    '7768617420646f2079612077616e7420666f72206e6f7468696e673f',
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  ],
  ['aa'.repeat(20), 'dd'.repeat(50), '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'],
  [
    'aa'.repeat(131),
    '54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374',
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54'
  ],
  [
    'aa'.repeat(131),
    `54686973206973206120746573742075 73696e672061206c6172676572207468 616e20626c6f636b2d73697a65206b65
     7920616e642061206c61726765722074 68616e20626c6f636b2d73697a652064 6174612e20546865206b6579206e6565
     647320746f2062652068617368656420 6265666f7265206265696e6720757365 642062792074686520484d414320616c
     676f726974686d2e`,
    '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2'
  ]
] as const

const sequence = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, at) => (from + at).toString(16).padStart(2, '0')).join('')

/** RFC 5869 appendix A.1 to A.3: secret, salt, info, length, output. */
const HKDF_VECTORS = [
  [
    '0b'.repeat(22),
    sequence(0x00, 0x0c),
    sequence(0xf0, 0xf9),
    42,
    '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865'
  ],
  [
    sequence(0x00, 0x4f),
    sequence(0x60, 0xaf),
    sequence(0xb0, 0xff),
    82,
    `b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09
     da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87`
  ],
  ['0b'.repeat(22), '', '', 42, '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8']
] as const

/** RFC 8439 §2.8.2. */
const AEAD_VECTOR = {
  key: bytesOfHex(sequence(0x80, 0x9f)),
  nonce: bytesOfHex('070000004041424344454647'),
  associatedData: bytesOfHex('50515253c0c1c2c3c4c5c6c7'),
  plaintext: new TextEncoder().encode(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
  ),
  sealed: bytesOfHex(
    `d31a8d34648e60db7b86afbc53ef7ec2 a4aded51296e08fea9e2b5a736ee62d6 3dbea45e8ca9671282fafb69da92728b
     1a71de0a9e060b2905d6a5b67ecd3b36 92ddbd7f2d778b8c9803aee328091b58 fab324e4fad675945585808b4831d7bc
     3ff4def08e4b7a9de576d26586cec64b 6116 1ae10b594f09e26a7e902ecbd0600691`
  )
}

/** The hash and AEAD clauses of the exam. */
export const symmetricCases: readonly ConformanceCase<() => CryptoProvider, never>[] = [
  {
    name: 'SHA-256 of nothing and of "abc" are those of FIPS 180-4',
    async run(create) {
      const crypto = create()
      const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
      const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
      assert.deepEqual(crypto.sha256(new Uint8Array(0)), bytesOfHex(empty))
      assert.deepEqual(crypto.sha256(bytesOfHex('616263')), bytesOfHex(abc))
    }
  },
  {
    name: 'HMAC-SHA256 gives the tags of RFC 4231',
    async run(create) {
      const crypto = create()
      for (const [key, message, tag] of HMAC_VECTORS) {
        assert.deepEqual(crypto.hmac(bytesOfHex(key), bytesOfHex(message)), bytesOfHex(tag))
      }
    }
  },
  {
    name: 'HMAC-SHA256 takes an empty key and an empty message',
    async run(create) {
      const tag = create().hmac(new Uint8Array(0), new Uint8Array(0))
      assert.deepEqual(tag, bytesOfHex('b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad'))
    }
  },
  {
    name: 'HKDF-SHA256 gives the keys of RFC 5869',
    async run(create) {
      const crypto = create()
      for (const [secret, salt, info, length, output] of HKDF_VECTORS) {
        const derived = crypto.hkdf(bytesOfHex(secret), bytesOfHex(salt), bytesOfHex(info), length)
        assert.deepEqual(derived, bytesOfHex(output))
      }
    }
  },
  {
    name: 'ChaCha20-Poly1305 gives the ciphertext and tag of RFC 8439 §2.8.2',
    async run(create) {
      const crypto = create()
      const { key, nonce, associatedData, plaintext, sealed } = AEAD_VECTOR
      assert.deepEqual(crypto.seal(key, nonce, associatedData, plaintext), sealed)
      assert.deepEqual(crypto.open(key, nonce, associatedData, sealed), plaintext)
    }
  },
  {
    name: 'what was sealed opens again, empty, short and long, under any associated data',
    async run(create) {
      const crypto = create()
      const key = crypto.random(32)
      const nonce = crypto.random(12)
      for (const length of [0, 1, 63, 64, 65, 2_031, 2_032, 2_033, 2_047, 2_048, 2_049, 65_536]) {
        const plaintext = crypto.random(length)
        const associatedData = crypto.random(length % 67)
        const sealed = crypto.seal(key, nonce, associatedData, plaintext)
        assert.equal(sealed.length, length + 16)
        assert.deepEqual(crypto.open(key, nonce, associatedData, sealed), plaintext, `${length} bytes`)
      }
    }
  },
  {
    name: 'nothing opens that was changed, cut short, extended or sealed for other associated data',
    async run(create) {
      const crypto = create()
      const key = crypto.random(32)
      const nonce = crypto.random(12)
      for (const length of [0, 5, 3_000]) {
        const sealed = crypto.seal(key, nonce, key, crypto.random(length))
        const changed = [0, sealed.length * 4, sealed.length * 8 - 1].map((bit) => withFlippedBit(sealed, bit))
        const resized = [sealed.subarray(1), sealed.subarray(0, -1), Uint8Array.of(...sealed, 0), new Uint8Array(0)]
        for (const forged of [...changed, ...resized]) assert.equal(crypto.open(key, nonce, key, forged), undefined)
        assert.equal(crypto.open(key, nonce, nonce, sealed), undefined)
        assert.equal(crypto.open(withFlippedBit(key, 3), nonce, key, sealed), undefined)
      }
    }
  },
  {
    name: 'comparison tells equal values from different ones and from those of another length',
    async run(create) {
      const crypto = create()
      const value = crypto.random(32)
      assert.equal(crypto.equal(value, value.slice()), true)
      assert.equal(crypto.equal(value, withFlippedBit(value, 255)), false)
      assert.equal(crypto.equal(value, value.subarray(1)), false)
      assert.equal(crypto.equal(new Uint8Array(0), new Uint8Array(0)), true)
    }
  }
]
