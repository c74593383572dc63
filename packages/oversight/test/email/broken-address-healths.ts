import {
  type AddressHealth,
  type AddressHealthRule,
  type MailEntry,
  memoryAddressHealth
} from '@enablement/oversight/email'

type Make = (rule: AddressHealthRule, now: () => number) => AddressHealth

interface Bounce {
  readonly messageId: string
  readonly at: number
}

interface Mail {
  softFailures: number
  ended: boolean
}

interface Entered {
  readonly invitations: MailEntry['invitations']
  keptUntil: number
}

interface Address {
  bounces: Bounce[]
  accepted: Bounce | undefined
  invalidSince: number | undefined
  readonly mails: Map<string, Mail>
}

/** What address health decides; each broken one gets one of these wrong. */
interface Decisions {
  keyOf(address: string): string
  mailKeyOf(messageId: string): string
  isRepeated(mail: Mail): boolean
  counts(finding: 'refused' | 'hard'): boolean
  inWindow(bounce: Bounce, now: number, windowMs: number): boolean
  isSettled(accepted: Bounce, now: number, settleMs: number): boolean
  afterSuccess(bounces: readonly Bounce[], accepted: Bounce): Bounce[]
  bouncedAfterAll(accepted: Bounce | undefined, messageId: string): Bounce | undefined
  isTooMany(bounces: number, hardBouncesMax: number): boolean
  isOver(since: number, now: number, invalidMs: number): boolean
  revives(address: Address): void
  reinstated(address: Address): void
  entryOf(entered: Entered | undefined, invitations: MailEntry['invitations']): MailEntry['invitations']
  entryKeyOf(messageId: string): string
  keptMs: number
  /** What becomes of an entry when more is heard of its mail. */
  heard(entered: Entered, until: number): Entered | undefined
  enteredAgain(mail: Mail): Mail
  refuse(call: (health: AddressHealth) => Promise<unknown>): Promise<unknown>
  /** What may happen between reading and writing. */
  gap: (() => Promise<void>) | undefined
}

const strict = memoryAddressHealth()

const right: Decisions = {
  // The library's own form of an address is no secret of a store.
  keyOf: (address) => {
    const at = address.lastIndexOf('@')
    return `${address.slice(0, at).toLowerCase()}@${new URL(`http://${address.slice(at + 1)}`).hostname}`
  },
  mailKeyOf: (messageId) => messageId,
  isRepeated: ({ ended }) => ended,
  counts: (finding) => finding === 'hard',
  inWindow: ({ at }, now, windowMs) => at > now - windowMs,
  isSettled: ({ at }, now, settleMs) => at + settleMs <= now,
  afterSuccess: (bounces, accepted) => bounces.filter(({ at }) => at > accepted.at),
  bouncedAfterAll: (accepted, messageId) => (accepted?.messageId === messageId ? undefined : accepted),
  isTooMany: (bounces, hardBouncesMax) => bounces >= hardBouncesMax,
  isOver: (since, now, invalidMs) => since + invalidMs <= now,
  revives: () => {},
  reinstated: (address) => {
    address.invalidSince = undefined
    address.bounces = []
    address.accepted = undefined
  },
  entryOf: (_, invitations) => invitations,
  entryKeyOf: (messageId) => messageId,
  keptMs: 30 * 86_400_000,
  heard: (entered, until) => ({ ...entered, keptUntil: until }),
  enteredAgain: (mail) => mail,
  refuse: (call) => call(strict),
  gap: undefined
}

function healthThat(changed: Partial<Decisions>): Make {
  const decide: Decisions = { ...right, ...changed }
  return ({ hardBouncesMax = 3, windowMs = 0, settleMs = 0, invalidMs = 0 }, now) => {
    const addresses = new Map<string, Address>()
    /** By message, then by address. */
    const entries = new Map<string, Map<string, Entered>>()
    const keptUntil = (): number => now() + Math.max(windowMs, decide.keptMs)
    const blank = (): Address => ({ bounces: [], accepted: undefined, invalidSince: undefined, mails: new Map() })
    const current = (given: string): Address => {
      const key = decide.keyOf(given)
      const address = addresses.get(key) ?? blank()
      addresses.set(key, address)
      if (address.invalidSince !== undefined && decide.isOver(address.invalidSince, now(), invalidMs)) {
        Object.assign(address, { ...blank(), mails: address.mails })
      }
      if (address.accepted !== undefined && decide.isSettled(address.accepted, now(), settleMs)) {
        address.bounces = decide.afterSuccess(address.bounces, address.accepted)
        address.accepted = undefined
      }
      address.bounces = address.bounces.filter((bounce) => decide.inWindow(bounce, now(), windowMs))
      return address
    }
    const standing = (address: string): Awaited<ReturnType<AddressHealth['standing']>> => {
      const { invalidSince, bounces } = current(address)
      return invalidSince === undefined
        ? { outcome: 'usable', hardBounces: bounces.length }
        : { outcome: 'invalid', since: invalidSince, until: invalidSince + invalidMs }
    }
    const trace = (address: string, messageId: string): Awaited<ReturnType<AddressHealth['trace']>> => ({
      standing: standing(address),
      softFailures: 0,
      ended: false,
      ...current(address).mails.get(decide.mailKeyOf(messageId))
    })
    return {
      async standing(address) {
        await decide.refuse((health) => health.standing(address))
        return standing(address)
      },
      async trace(mail) {
        await decide.refuse((health) => health.trace(mail))
        return trace(mail.address, mail.messageId)
      },
      async enter(mail, invitations) {
        await decide.refuse((health) => health.enter(mail, invitations))
        const address = decide.keyOf(mail.address)
        const key = decide.entryKeyOf(mail.messageId)
        const ofMessage = entries.get(key) ?? new Map<string, Entered>()
        const entered = decide.entryOf(ofMessage.get(address), invitations)
        entries.set(key, ofMessage.set(address, { invitations: entered, keptUntil: keptUntil() }))
        const { mails } = current(mail.address)
        const known = mails.get(decide.mailKeyOf(mail.messageId))
        if (known !== undefined) mails.set(decide.mailKeyOf(mail.messageId), decide.enteredAgain(known))
      },
      async entries(messageId) {
        await decide.refuse((health) => health.entries(messageId))
        return [...(entries.get(decide.entryKeyOf(messageId)) ?? [])]
          .filter(([, entered]) => entered.keptUntil > now())
          .map(([address, { invitations }]) => ({ address, invitations }))
          .toSorted((one, other) => (one.address < other.address ? -1 : 1))
      },
      async record(mail, finding) {
        // A mail of its own each time, so that the model has heard of none.
        await decide.refuse((health) => health.trace(mail))
        if (!['accepted', 'soft', 'refused', 'hard'].includes(finding))
          await decide.refuse((health) => health.record(mail, finding))
        const address = current(mail.address)
        const key = decide.mailKeyOf(mail.messageId)
        const known = { softFailures: 0, ended: false, ...address.mails.get(key) }
        if (decide.gap !== undefined) await decide.gap()
        if (decide.isRepeated(known)) return { ...trace(mail.address, mail.messageId), outcome: 'repeated' }
        const bounce = { messageId: mail.messageId, at: now() }
        if (finding === 'accepted') {
          if (address.invalidSince === undefined) address.accepted ??= bounce
          else decide.revives(address)
        } else {
          const softFailures = known.softFailures + (finding === 'soft' ? 1 : 0)
          address.mails.set(key, { softFailures, ended: finding !== 'soft' })
          const ofMessage = entries.get(decide.entryKeyOf(mail.messageId))
          const entered = ofMessage?.get(decide.keyOf(mail.address))
          const after = entered === undefined ? undefined : decide.heard(entered, keptUntil())
          if (after === undefined) ofMessage?.delete(decide.keyOf(mail.address))
          else ofMessage?.set(decide.keyOf(mail.address), after)
          if (finding !== 'soft' && decide.counts(finding)) {
            address.bounces = [...address.bounces, bounce]
            address.accepted = decide.bouncedAfterAll(address.accepted, mail.messageId)
            if (decide.isTooMany(address.bounces.length, hardBouncesMax)) address.invalidSince ??= now()
          }
        }
        return { ...trace(mail.address, mail.messageId), outcome: 'recorded' }
      },
      async reinstate(given) {
        const address = current(given)
        if (address.invalidSince === undefined) return { outcome: 'not-invalid' }
        decide.reinstated(address)
        return { outcome: 'reinstated' }
      }
    }
  }
}

/** The same with nothing wrong: it passes, so what the others fail by is what is wrong with them. */
export const soundAddressHealth: Make = healthThat({})

/** Wrong in one place each. */
export const brokenAddressHealths: readonly { readonly name: string; readonly make: Make }[] = [
  { name: 'gives up at the second bounce', make: healthThat({ isTooMany: (bounces, max) => bounces >= max - 1 }) },
  { name: 'gives up at the fourth bounce', make: healthThat({ isTooMany: (bounces, max) => bounces > max }) },
  { name: 'counts a mail as often as it bounces', make: healthThat({ isRepeated: () => false }) },
  { name: 'counts what is the sender’s problem', make: healthThat({ counts: () => true }) },
  { name: 'never forgets a bounce', make: healthThat({ inWindow: () => true }) },
  { name: 'forgets a bounce a millisecond late', make: healthThat({ inWindow: ({ at }, now, ms) => at >= now - ms }) },
  { name: 'takes acceptance for success', make: healthThat({ isSettled: () => true }) },
  { name: 'knows no success', make: healthThat({ isSettled: () => false }) },
  { name: 'settles a millisecond late', make: healthThat({ isSettled: ({ at }, now, ms) => at + ms < now }) },
  { name: 'takes a mail that bounced for a success', make: healthThat({ bouncedAfterAll: (accepted) => accepted }) },
  { name: 'forgets what bounced after a success', make: healthThat({ afterSuccess: () => [] }) },
  { name: 'gives up for ever', make: healthThat({ isOver: () => false }) },
  { name: 'takes up again a millisecond late', make: healthThat({ isOver: (since, now, ms) => since + ms < now }) },
  {
    name: 'revives an address when it accepts',
    make: healthThat({
      revives: (address) => {
        address.invalidSince = undefined
      }
    })
  },
  {
    name: 'reinstates without a clean record',
    make: healthThat({
      reinstated: (address) => {
        address.invalidSince = undefined
      }
    })
  },
  { name: 'knows addresses by their letters', make: healthThat({ keyOf: (address) => address }) },
  { name: 'knows addresses by their domain', make: healthThat({ keyOf: (address) => address.split('@')[1] ?? '' }) },
  {
    name: 'ignores what follows a plus',
    make: healthThat({ keyOf: (address) => right.keyOf(address.replace(/\+[^@]*/, '')) })
  },
  { name: 'knows what one mail asked', make: healthThat({ entryKeyOf: () => 'mail' }) },
  {
    name: 'goes by what a mail asked first',
    make: healthThat({ entryOf: (entered, invitations) => entered?.invitations ?? invitations })
  },
  { name: 'forgets what a mail asked when it bounces', make: healthThat({ heard: () => undefined }) },
  { name: 'keeps what a mail asked from when it was entered', make: healthThat({ heard: (entered) => entered }) },
  { name: 'forgets what a mail asked too soon', make: healthThat({ keptMs: 29 * 86_400_000 }) },
  { name: 'never forgets what a mail asked', make: healthThat({ keptMs: Number.POSITIVE_INFINITY }) },
  {
    name: 'begins a mail anew that is entered again',
    make: healthThat({ enteredAgain: () => ({ softFailures: 0, ended: false }) })
  },
  { name: 'knows one mail', make: healthThat({ mailKeyOf: () => 'mail' }) },
  { name: 'takes anything', make: healthThat({ refuse: async () => {}, keyOf: (address) => address.toLowerCase() }) },
  {
    name: 'reads and writes in two steps',
    make: healthThat({ gap: () => new Promise((resolve) => setImmediate(resolve)) })
  }
]
