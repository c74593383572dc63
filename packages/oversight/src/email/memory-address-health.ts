import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import {
  type AddressHealth,
  type AddressHealthRule,
  type AddressRecord,
  blankRecord,
  checkAddress,
  checkFinding,
  checkInvitations,
  checkMail,
  checkMessageId,
  countedAfter,
  type MailEntry,
  type MailedInvitation,
  type MailTrace,
  mailKeptMs,
  recordAt,
  recordKeptUntil,
  ruleShape,
  standingOf,
  wholeRule,
  withAcceptance,
  withHardBounce
} from './address-health.ts'

export interface MemoryAddressHealthOptions extends AddressHealthRule {
  readonly platform?: Platform
  /** Addresses, and mails, remembered at once: 10,000 of each unless given. Beyond it the oldest are forgotten. */
  readonly entriesMax?: number
}

/** What happened to one mail to one address. */
interface MailRecord {
  readonly softFailures: number
  readonly ended: 'refused' | 'hard' | undefined
  readonly endedAt: number
  readonly invitations: readonly MailedInvitation[] | undefined
  readonly keptUntil: number
}

const blankMail = { softFailures: 0, ended: undefined, endedAt: 0, invitations: undefined } as const

interface AddressEntry {
  readonly record: AddressRecord
  readonly keptUntil: number
}

/** A few MB: addresses that have bounced, and mails that went out or were refused. */
const ENTRIES_MAX = 10_000

const optionsSchema: z.ZodType<MemoryAddressHealthOptions> = z.strictObject({
  ...ruleShape,
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  entriesMax: z.int().min(1).max(1_000_000).exactOptional()
})

/**
 * Address health of one process, for tests and demos: the model that the SQL store is held to. Throws `INVALID_OPTIONS`.
 */
export function memoryAddressHealth(options: MemoryAddressHealthOptions = {}): AddressHealth {
  const {
    platform = systemPlatform,
    entriesMax = ENTRIES_MAX,
    ...given
  } = parseOptions(optionsSchema, 'memoryAddressHealth', options)
  const rule = wholeRule(given)
  const { clock } = platform
  const addresses = new Map<string, AddressEntry>()
  /** By address, then by message. */
  const mails = new Map<string, Map<string, MailRecord>>()
  let mailCount = 0

  const recordOf = (address: string, now: number): AddressRecord | undefined => {
    const entry = addresses.get(address)
    return entry === undefined || entry.keptUntil <= now ? undefined : recordAt(entry.record, rule, now)
  }

  const hardBounces = (address: string, record: AddressRecord, now: number): number => {
    const from = countedAfter(record, rule, now)
    let count = 0
    for (const { ended, endedAt } of mails.get(address)?.values() ?? []) {
      if (ended === 'hard' && endedAt > from) count += 1
    }
    return count
  }

  const traceOf = (address: string, messageId: string, now: number): MailTrace => {
    const record = recordOf(address, now) ?? blankRecord
    const mail = mails.get(address)?.get(messageId)
    return {
      standing: standingOf(record, hardBounces(address, record, now), rule),
      softFailures: mail?.softFailures ?? 0,
      ended: mail?.ended !== undefined
    }
  }

  const keepRecord = (address: string, record: AddressRecord, now: number): void => {
    addresses.delete(address)
    addresses.set(address, { record, keptUntil: recordKeptUntil(record, rule, now) })
    for (const [oldest, { keptUntil }] of addresses) {
      if (keptUntil > now && addresses.size <= entriesMax) break
      addresses.delete(oldest)
    }
  }

  const keepMail = (address: string, messageId: string, mail: MailRecord, now: number): void => {
    const ofAddress = mails.get(address) ?? new Map<string, MailRecord>()
    // Set anew, so that the order of both maps is that of the last change.
    mailCount += ofAddress.delete(messageId) ? 0 : 1
    ofAddress.set(messageId, mail)
    mails.delete(address)
    mails.set(address, ofAddress)
    for (const [oldestAddress, theirs] of mails) {
      for (const [oldest, { keptUntil }] of theirs) {
        if (keptUntil > now && mailCount <= entriesMax) return
        theirs.delete(oldest)
        mailCount -= 1
      }
      mails.delete(oldestAddress)
    }
  }

  return {
    async standing(address) {
      const checked = checkAddress('memoryAddressHealth.standing', address)
      const now = clock.now()
      const record = recordOf(checked, now) ?? blankRecord
      return standingOf(record, hardBounces(checked, record, now), rule)
    },
    async trace(mail) {
      const { address, messageId } = checkMail('memoryAddressHealth.trace', mail)
      return traceOf(address, messageId, clock.now())
    },
    async enter(mail, invitations) {
      const { address, messageId } = checkMail('memoryAddressHealth.enter', mail)
      const entered = checkInvitations('memoryAddressHealth.enter', invitations)
      const now = clock.now()
      const known = mails.get(address)?.get(messageId) ?? blankMail
      keepMail(address, messageId, { ...known, invitations: entered, keptUntil: now + mailKeptMs(rule) }, now)
    },
    async entries(messageId) {
      const checked = checkMessageId('memoryAddressHealth.entries', messageId)
      const now = clock.now()
      const found: MailEntry[] = []
      for (const [address, ofAddress] of mails) {
        const { invitations, keptUntil = 0 } = ofAddress.get(checked) ?? {}
        if (invitations !== undefined && keptUntil > now) found.push({ address, invitations })
      }
      return found.toSorted((one, other) => (one.address < other.address ? -1 : 1))
    },
    async record(mail, finding) {
      const { address, messageId } = checkMail('memoryAddressHealth.record', mail)
      checkFinding('memoryAddressHealth.record', finding)
      const now = clock.now()
      const known = mails.get(address)?.get(messageId)
      if (known?.ended !== undefined) return { ...traceOf(address, messageId, now), outcome: 'repeated' }
      const keptUntil = now + mailKeptMs(rule)
      if (finding === 'accepted') {
        const record = recordOf(address, now)
        if (record !== undefined) keepRecord(address, withAcceptance(record, messageId, now), now)
      } else {
        const before = known ?? blankMail
        const after = finding === 'soft' ? { softFailures: before.softFailures + 1 } : { ended: finding, endedAt: now }
        keepMail(address, messageId, { ...before, ...after, keptUntil }, now)
      }
      if (finding === 'hard') {
        const record = recordOf(address, now) ?? blankRecord
        const bounce = { messageId, hardBounces: hardBounces(address, record, now) }
        keepRecord(address, withHardBounce(record, bounce, rule, now), now)
      }
      return { ...traceOf(address, messageId, now), outcome: 'recorded' }
    },
    async reinstate(address) {
      const checked = checkAddress('memoryAddressHealth.reinstate', address)
      const now = clock.now()
      if (recordOf(checked, now)?.invalidSince === undefined) return { outcome: 'not-invalid' }
      keepRecord(checked, { ...blankRecord, countedFrom: now }, now)
      return { outcome: 'reinstated' }
    }
  }
}
