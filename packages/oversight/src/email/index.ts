export type {
  AddressHealth,
  AddressHealthRule,
  AddressStanding,
  MailEntry,
  MailedInvitation,
  MailFinding,
  MailId,
  MailTrace
} from './address-health.ts'
export {
  type Bounce,
  type BounceIntake,
  type BounceIntakeOptions,
  type BounceOutcome,
  bounceIntake,
  type MailParser
} from './bounce-intake.ts'
export type { ParsedMail } from './delivery-report.ts'
export { type EmailChannelOptions, emailChannel } from './email-channel.ts'
export type { EmailEvent } from './email-event.ts'
export { emailSchema } from './email-schema.ts'
export type { Letter } from './letter.ts'
export type { InvitationLinks, Occasion } from './letter-content.ts'
export type { MailTransport, OutgoingMail } from './mail-transport.ts'
export { type MemoryAddressHealthOptions, memoryAddressHealth } from './memory-address-health.ts'
export {
  createReturnPath,
  type MailKind,
  type ReturnPath,
  type ReturnPathMail,
  type ReturnPathOptions,
  type ReturnPathReading
} from './return-path.ts'
export { type Refusal, type RefusalClass, type RefusedStage, readReply } from './server-reply.ts'
export { type SqlAddressHealth, type SqlAddressHealthOptions, sqlAddressHealth } from './sql-address-health.ts'
