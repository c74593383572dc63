import { inspect } from 'node:util'
import { testPlatform } from '@enablement/core/testing'
import { createReturnPath, type MailKind, type ReturnPathOptions } from '@enablement/oversight/email'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const scale = inject('scale')
const SECRET = 'a secret of thirty-two characters'
const ID = '0199d4e2-7c1b-7a3e-9f00-1234567890ab'
const ANA = 'ana@example.com'

const returnPath = (options: Partial<ReturnPathOptions> = {}) =>
  createReturnPath({ domain: 'bounces.example.com', secrets: [SECRET], platform: testPlatform(), ...options })

const mail = { kind: 'invitation', id: ID, address: ANA } as const

describe('a return path', () => {
  test.prop([fc.constantFrom<MailKind>('invitation', 'digest', 'notice'), fc.uuid(), fc.boolean()], {
    numRuns: Math.ceil(100 * scale)
  })('gives back kind, id and address of a mail, in an address that every server takes', (kind, uuid, bare) => {
    const path = returnPath({ prefix: 'bounces-to-1+'.slice(0, 12) })
    const id = bare ? uuid.replaceAll('-', '') : uuid
    const address = path.addressFor({ kind, id, address: ANA })
    const [local = '', domain] = address.split('@')
    expect(local).toMatch(/^[a-z0-9+-]{1,64}$/)
    expect(domain).toBe('bounces.example.com')
    const reading = path.read(address.toUpperCase())
    expect(reading).toMatchObject({ outcome: 'ours', kind, id })
    if (reading.outcome !== 'ours') return
    expect(reading.sentTo('Ana@EXAMPLE.com')).toBe(true)
    expect(reading.sentTo('bo@example.com')).toBe(false)
    expect(reading.sentTo('')).toBe(false)
  })

  it('is forged when any of its characters is another', () => {
    const path = returnPath()
    const address = path.addressFor(mail)
    for (let at = 'bounce+'.length; at < address.indexOf('@'); at++) {
      for (const other of ['a', 'q', '7', '-', '0']) {
        if (address[at] === other) continue
        const changed = address.slice(0, at) + other + address.slice(at + 1)
        expect([changed, path.read(changed)]).toEqual([changed, { outcome: 'forged' }])
      }
    }
    for (const local of ['bounce+', 'bounce+x', `${address.split('@')[0]}a`, 'bounce+'.padEnd(59, 'a')]) {
      expect(path.read(`${local}@bounces.example.com`)).toEqual({ outcome: 'forged' })
    }
  })

  it('is forged when it was made with another secret or for another place', () => {
    const address = returnPath().addressFor(mail)
    expect(returnPath({ secrets: [`${SECRET}!`] }).read(address)).toEqual({ outcome: 'forged' })
    const elsewhere = returnPath({ prefix: 'b+' })
    const moved = address.replace('bounce+', 'b+')
    expect(elsewhere.read(moved)).toEqual({ outcome: 'forged' })
    expect(returnPath({ domain: 'other.example.com' }).read(address)).toEqual({ outcome: 'not-ours' })
  })

  it('is nothing of ours when it is another address', () => {
    for (const address of ['', 'ana', ANA, 'bounce@bounces.example.com', 'bounce+x@example.com']) {
      expect(returnPath().read(address)).toEqual({ outcome: 'not-ours' })
    }
  })

  it('expires, to the minute', async () => {
    const platform = testPlatform()
    const path = returnPath({ platform, lifetimeMs: 86_400_000 })
    const address = path.addressFor(mail)
    platform.clock.jumpWallTo(platform.clock.now() + 86_400_000 - 1)
    expect(path.read(address).outcome).toBe('ours')
    platform.clock.jumpWallTo(platform.clock.now() + 1)
    expect(path.read(address)).toEqual({ outcome: 'expired' })
  })

  it('is read with each secret and made with the first', () => {
    const old = returnPath().addressFor(mail)
    const rotated = returnPath({ secrets: [new Uint8Array(32).fill(7), SECRET] })
    const reading = rotated.read(old)
    expect(reading.outcome === 'ours' && reading.sentTo(ANA)).toBe(true)
    expect(returnPath().read(rotated.addressFor(mail))).toEqual({ outcome: 'forged' })
  })

  it('stays the same when the bytes of its secret are wiped', () => {
    const secret = new Uint8Array(32).fill(7)
    const path = returnPath({ secrets: [secret] })
    const before = path.addressFor(mail)
    secret.fill(0)
    expect(path.addressFor(mail)).toBe(before)
  })

  it('takes ids that it can give back, and no others', () => {
    for (const id of ['', 'x', ID.toUpperCase(), `${ID}0`, '12', 'request:1:ana']) {
      expect(() => returnPath().addressFor({ ...mail, id })).toThrow(
        expect.objectContaining({
          code: 'INVALID_OPTIONS',
          detail: expect.objectContaining({ issues: [expect.objectContaining({ path: 'id' })] })
        })
      )
    }
  })

  it('refuses options that would make it unsafe or too long, with the path and without the secret', () => {
    for (const [path, options] of [
      ['secrets', { secrets: [] }],
      ['secrets.0', { secrets: ['hush, too short a secret'] }],
      ['secrets.1', { secrets: [SECRET, new Uint8Array(31)] }],
      ['domain', { domain: 'not a domain' }],
      ['domain', { domain: `${'a.'.repeat(100)}com` }],
      ['prefix', { prefix: 'a-long-prefix+' }],
      ['prefix', { prefix: 'Bounce+' }],
      ['prefix', { prefix: 'a@' }],
      ['lifetimeMs', { lifetimeMs: 31 * 86_400_000 }],
      ['lifetimeMs', { lifetimeMs: Number.NaN }],
      ['secret', { secret: SECRET } as object]
    ] as const) {
      const refused = (() => {
        try {
          returnPath(options)
        } catch (error) {
          return error
        }
      })()
      expect(refused).toMatchObject({ code: 'INVALID_OPTIONS', detail: { issues: [{ path }] } })
      expect(inspect(refused)).not.toContain('hush')
    }
  })

  it('shows no secret', () => {
    const path = returnPath()
    expect(inspect(path, { depth: 10, showHidden: true }) + JSON.stringify(path)).not.toContain(SECRET)
  })
})
