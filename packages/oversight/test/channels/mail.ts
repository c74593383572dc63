import type { TestPlatform } from '@enablement/core/testing'
import {
  type AddressHealth,
  createReturnPath,
  type EmailChannelOptions,
  emailChannel,
  memoryAddressHealth
} from '@enablement/oversight/email'
import type { SmtpStage } from '../email/smtp.ts'
import { SECRET } from '../email/stage.ts'
import type { Traffic } from './stage.ts'

/** A channel before a real mail server, and what it shares with an intake of bounces. */
export function mailOn(
  smtp: SmtpStage,
  {
    platform,
    traffic,
    ...more
  }: Partial<EmailChannelOptions> & { readonly platform: TestPlatform; readonly traffic: Traffic }
) {
  const health: AddressHealth = memoryAddressHealth({ platform })
  const returnPath = createReturnPath({ domain: 'bounces.example.net', secrets: [SECRET], platform })
  const email = emailChannel({
    transport: { sendMail: traffic.watched((mail) => smtp.transport.sendMail(mail)) },
    from: { name: 'Approvals', address: 'approvals@example.net' },
    health,
    returnPath,
    verdicts: 'mail',
    platform,
    ...more
  })
  return { email, health, returnPath }
}
