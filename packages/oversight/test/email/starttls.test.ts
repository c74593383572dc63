import { describe, expect, it } from 'vitest'
import { certificate, privateKey } from './certificate.ts'
import { emailStage } from './stage.ts'

/** A server that takes nothing in the clear, and a transporter that sends nothing in the clear. */
const encrypted = (tls: object) => {
  const secured: boolean[] = []
  return {
    secured,
    smtp: {
      server: {
        disabledCommands: [],
        key: privateKey,
        cert: certificate,
        onMailFrom: (_: unknown, { secure }: { readonly secure: boolean }, answer: () => void) => {
          secured.push(secure)
          answer()
        }
      },
      client: { ignoreTLS: false, requireTLS: true, tls: { servername: 'mail.test', ...tls } }
    }
  }
}

describe('a mail server with STARTTLS', () => {
  it('is sent to when its certificate is good', async () => {
    const { smtp, secured } = encrypted({ ca: certificate })
    await using stage = await emailStage({}, { smtp })
    expect(await stage.deliver()).toMatchObject({ outcome: 'delivered' })
    expect(secured).toEqual([true])
  })

  it('is sent nothing when its certificate is nobody’s or another’s', async () => {
    for (const tls of [{}, { ca: certificate, servername: 'other.test' }]) {
      const { smtp, secured } = encrypted(tls)
      await using stage = await emailStage({}, { smtp })
      expect(await stage.deliver()).toMatchObject({
        outcome: 'retry',
        reason: expect.stringMatching(/: E(TLS|SOCKET)$/)
      })
      expect(secured).toEqual([])
      expect(stage.smtp.taken).toEqual([])
    }
  })

  it('is sent nothing when it does not offer encryption any more', async () => {
    const { smtp } = encrypted({ ca: certificate })
    await using stage = await emailStage({}, { smtp: { ...smtp, server: { disabledCommands: ['STARTTLS'] } } })
    expect(await stage.deliver()).toMatchObject({ outcome: 'unreachable' })
    expect(stage.events).toMatchObject([{ type: 'email.refused', finding: 'sender', address: undefined }])
    expect(stage.smtp.taken).toEqual([])
  })
})
