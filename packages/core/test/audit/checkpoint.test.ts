import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { inspect } from 'node:util'
import {
  type CheckpointSigner,
  createCheckpointKey,
  ed25519Signer,
  originOf,
  readCheckpoint,
  signCheckpoint,
  splitNotes,
  tenantOf,
  verifierKeyOf
} from '@enablement/core/audit'
import { describe, expect, it } from 'vitest'

const { signal } = new AbortController()
const root = new Uint8Array(32).fill(7)

/** The key and the note of the documentation of golang.org/x/mod/sumdb/note. */
const PETER = {
  signingKey: 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz',
  verifierKey: 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
  text: 'If you think cryptography is the answer to your problem,\nthen you don\u2019t know what your problem is.\n'.replace(
    '\u2019',
    "'"
  ),
  signature: 'x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM='
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('a checkpoint key', () => {
  it('is read, and signs, as Go’s signed notes do', async () => {
    const signer = ed25519Signer(PETER.signingKey)
    expect(signer.name).toBe('PeterNeumann')
    expect(verifierKeyOf(signer.name, signer.publicKey)).toBe(PETER.verifierKey)
    const signature = await signer.sign(utf8(PETER.text), { signal })
    expect(Buffer.concat([Buffer.from('c74f20a3', 'hex'), signature]).toString('base64')).toBe(PETER.signature)
  })

  it('signs what Node’s own Ed25519 verifies', async () => {
    const signer = ed25519Signer(createCheckpointKey('audit.example.com').signingKey)
    const key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(signer.publicKey).toString('base64url') },
      format: 'jwk'
    })
    expect(verify(null, utf8('text'), key, await signer.sign(utf8('text'), { signal }))).toBe(true)
  })

  it('is another one each time', () => {
    expect(createCheckpointKey('a').signingKey).not.toBe(createCheckpointKey('a').signingKey)
  })

  it('is made and read from text alone', () => {
    for (const wrong of [undefined, 5, null, {}]) {
      expect(() => createCheckpointKey(wrong as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
      expect(() => ed25519Signer(wrong as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    }
  })

  it('stands in nothing that a signer shows of itself, nor in an error', () => {
    const { signingKey } = createCheckpointKey('audit.example.com')
    // What follows the name and the key's id; a plus sign may be part of it.
    const secret = signingKey.split('+').slice(4).join('+')
    expect(secret.length).toBeGreaterThan(40)
    const shown = inspect(ed25519Signer(signingKey), { depth: 9, showHidden: true })
    expect(shown + JSON.stringify(ed25519Signer(signingKey))).not.toContain(secret)
    for (const wrong of [signingKey.slice(12), signingKey.replace(/[0-9a-f]{8}/, '00000000'), `${signingKey}=`]) {
      const thrown = (() => {
        try {
          ed25519Signer(wrong)
        } catch (error) {
          return error
        }
        return undefined
      })()
      expect(thrown).toMatchObject({ code: 'INVALID_OPTIONS', detail: { issues: [{ path: 'signingKey' }] } })
      expect(inspect(thrown, { depth: 9 })).not.toContain(secret)
    }
  })

  it.for(['', 'a b', 'a+b', 'a\nb', 'a\u3000b', 'a\u0085b', 'a\u0007', '\ud800', 'a'.repeat(513)])(
    'has no name like %j',
    (name) => {
      expect(() => createCheckpointKey(name)).toThrow(/name/)
    }
  )
})

describe('a checkpoint', () => {
  const key = createCheckpointKey('audit.example.com')
  const signer = ed25519Signer(key.signingKey)
  const origin = originOf(signer.name, 'org 42')

  it('is a signed note of the form of c2sp.org/tlog-checkpoint, named like its log', async () => {
    const note = await signCheckpoint(signer, { origin, size: 12, root }, { signal })
    const [first, size, hash, blank, signature, end, ...rest] = note.split('\n')
    expect([first, size, hash, blank, end, rest]).toEqual([
      'audit.example.com/org%2042',
      '12',
      Buffer.from(root).toString('base64'),
      '',
      '',
      []
    ])
    const [dash, name, base64 = ''] = signature?.split(' ') ?? []
    expect([dash, name]).toEqual(['\u2014', origin])
    // The log's own verifier key, with which standard tools open the note.
    expect(verifierKeyOf(origin, signer.publicKey).split('+')[1]).toBe(
      Buffer.from(base64, 'base64').subarray(0, 4).toString('hex')
    )
    expect(readCheckpoint(note)).toEqual({ origin, size: 12, root })
  })

  it('is signed by whatever signs: a signer may ask somebody else', async () => {
    const privateKey = createPrivateKey({
      key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 3)]),
      format: 'der',
      type: 'pkcs8'
    })
    const jwk = createPublicKey(privateKey).export({ format: 'jwk' })
    const remote: CheckpointSigner = {
      name: 'kms.example.com',
      publicKey: new Uint8Array(Buffer.from(jwk.x as string, 'base64url')),
      sign: async (message) => new Uint8Array(sign(null, message, privateKey))
    }
    const note = await signCheckpoint(remote, { origin: originOf(remote.name, 'a'), size: 1, root }, { signal })
    expect(readCheckpoint(note)).toMatchObject({ origin: 'kms.example.com/a', size: 1 })
  })

  it.for(['a', 'a b', 'a/b', 'a+b', 'ü', '%2F', '\n', '\u{1f512}', '..', 'x'.repeat(512)])(
    'has an origin of its own for the tenant %j',
    (tenant) => {
      const made = originOf('audit.example.com/eu', tenant)
      expect(made).not.toMatch(/[\s+]/u)
      expect(tenantOf(made)).toBe(tenant)
    }
  )

  it.for(['', 'audit', 'audit/', '/%zz', 'audit/a b', 'audit/%61'])('finds no tenant in %j', (made) => {
    expect(tenantOf(made)).toBeUndefined()
  })

  it('is read from nothing that is not one', async () => {
    const note = await signCheckpoint(signer, { origin, size: 12, root }, { signal })
    const [text = '', signature = ''] = note.split('\n\n')
    const broken = [
      '',
      text,
      `${text}\n\n`,
      note.slice(0, -1),
      note.replace('\n12\n', '\n012\n'),
      note.replace('\n12\n', '\n1e3\n'),
      note.replace('\n12\n', '\n9007199254740992\n'),
      note.replace('\n12\n', '\n12\r\n'),
      note.replace('\u2014', '-'),
      note.replace('=\n', '\n'),
      `\n${note}`,
      `${text}\n\n${Array.from({ length: 65 }, () => signature.trim()).join('\n')}\n`,
      note.replace(/ [^ ]+\n$/, ' AAAA\n'),
      'x'.repeat(600_000)
    ]
    expect(broken.filter((one) => readCheckpoint(one) !== undefined)).toEqual([])
  })

  it('is found among others in a file, whatever else stands there', async () => {
    const notes = await Promise.all([1, 2, 3].map((size) => signCheckpoint(signer, { origin, size, root }, { signal })))
    const [first = '', second = '', third = ''] = notes
    expect(splitNotes(notes.join(''))).toEqual({ notes, strayLines: 0 })
    expect(splitNotes(notes.join('\n\n\n'))).toEqual({ notes, strayLines: 0 })
    expect(splitNotes('')).toEqual({ notes: [], strayLines: 0 })
    // What is too long for a note is not held until the next empty line.
    expect(splitNotes(`${'x'.repeat(524_289)}\n${first}`)).toEqual({ notes: [first], strayLines: 1 })
    // Cut at any character and mended as a writer does, a note is lost by itself alone.
    for (let cut = 1; cut < second.length; cut++) {
      const file = `${first}\n${second.slice(0, cut)}${second[cut - 1] === '\n' ? '' : '~\n'}\n${third}`
      const found = splitNotes(file)
      expect(found.notes).toEqual([first, third])
      expect(found.strayLines).toBeGreaterThan(0)
    }
  })
})
