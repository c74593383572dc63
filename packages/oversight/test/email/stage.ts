import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import type { Channel, Invitation } from '@enablement/oversight'
import {
  type AddressHealth,
  createReturnPath,
  type EmailChannelOptions,
  type EmailEvent,
  emailChannel,
  memoryAddressHealth,
  type ReturnPath
} from '@enablement/oversight/email'
import PostalMime, { type Email } from 'postal-mime'
import { type SmtpScript, type SmtpStage, smtpStage, type TakenMail } from './smtp.ts'

export const SECRET = 'a secret of thirty-two characters'

export const ana = {
  id: 'ana',
  name: 'Ana Müller',
  address: 'ana@example.com',
  alternatives: ['ana.mueller@example.org']
} as const

export const invitation: Invitation = {
  id: '0199d4e2-7c1b-7a3e-9f00-1234567890ab',
  kind: 'invitation',
  requestId: '0199d4e2-7c1b-7a3e-9f00-1234567890cd',
  tenant: 'acme',
  action: 'payments.refund',
  risk: 'high',
  summary: 'Refund 120 EUR to customer 7',
  excerpt: { amount: 120, currency: 'EUR' },
  argumentHash: 'f00d',
  version: 1,
  requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
  context: { outcome: 'complete' },
  approver: ana,
  tier: 0,
  attempt: 1,
  receipt: undefined,
  openedAt: 1_767_225_600_000,
  escalatesAt: 1_767_226_500_000,
  deadlineAt: 1_767_229_200_000
}

export interface EmailStage extends AsyncDisposable {
  readonly smtp: SmtpStage
  readonly platform: TestPlatform
  readonly health: AddressHealth
  readonly returnPath: ReturnPath
  readonly channel: Channel
  readonly events: readonly EmailEvent[]
  /** Delivers the invitation with these changes. */
  deliver(changes?: Partial<Invitation>): ReturnType<Channel['deliver']>
}

export const signal = new AbortController().signal

/** A channel, on a virtual clock, before a real server. */
export async function emailStage(
  script: SmtpScript = {},
  options: Partial<EmailChannelOptions> & { readonly smtp?: Parameters<typeof smtpStage>[0] } = {}
): Promise<EmailStage> {
  const { smtp: smtpOptions, ...channelOptions } = options
  const smtp = await smtpStage(smtpOptions)
  smtp.script = script
  const platform = testPlatform()
  const health = memoryAddressHealth({ platform })
  const returnPath = createReturnPath({ domain: 'bounces.example.net', secrets: [SECRET], platform })
  const events: EmailEvent[] = []
  const channel = emailChannel({
    transport: smtp.transport,
    from: { name: 'Approvals', address: 'approvals@example.net' },
    health,
    returnPath,
    verdicts: 'mail',
    platform,
    observe: (event) => events.push(event),
    ...channelOptions
  })
  return {
    smtp,
    platform,
    health,
    returnPath,
    channel,
    events,
    deliver: (changes = {}) => channel.deliver({ ...invitation, ...changes }, { signal }),
    [Symbol.asyncDispose]: () => smtp[Symbol.asyncDispose]()
  }
}

/** A mail as programs of people see it. */
export const read = (mail: TakenMail | undefined): Promise<Email> => PostalMime.parse(mail?.raw ?? '')

/** An id of its own for each mail. */
export const idOf = (number: number): string => number.toString(16).padStart(32, '0')
