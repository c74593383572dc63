import assert from 'node:assert/strict'
import { days, hours, isSuiteError } from '@enablement/core'
import type { ConformanceKit } from '@enablement/core/testing'
import type { AddressHealth, AddressHealthRule, MailedInvitation, MailFinding } from './address-health.ts'

/** A fresh address health under examination. */
export interface AddressHealthSubject extends AsyncDisposable {
  readonly health: AddressHealth
  /** Another client of the same store. */
  another(): Promise<AddressHealth>
  /** The store's own clock, which stands until it is set. */
  readonly clock: {
    now(): number
    jumpWallTo(epochMs: number): void
  }
  /** A domain of which no address is known, so that subjects may share a database. */
  readonly domain: string
}

/** Makes a subject that goes by the rule. */
export type CreateAddressHealth = (rule: AddressHealthRule) => Promise<AddressHealthSubject>

const WINDOW_MS = days(1)
const SETTLE_MS = hours(1)
const INVALID_MS = days(2)
const RULE: AddressHealthRule = {
  hardBouncesMax: 3,
  windowMs: WINDOW_MS,
  settleMs: SETTLE_MS,
  invalidMs: INVALID_MS
}

/** Reports that come at the same time. */
const RACERS = 8
/** Of which the first only opens their connections. */
const ROUNDS = 5

interface Bench extends AddressHealthSubject {
  readonly ana: string
  /** Records a finding about a mail to ana, or to somebody else. */
  find(finding: MailFinding, messageId: string, address?: string): ReturnType<AddressHealth['record']>
  /** Hard bounces that count against ana, or `invalid`. */
  count(address?: string): Promise<number | 'invalid'>
  pass(durationMs: number): void
}

function exam(
  body: (bench: Bench) => Promise<void>,
  changes: AddressHealthRule = {}
): (create: CreateAddressHealth) => Promise<void> {
  return async (create) => {
    await using subject = await create({ ...RULE, ...changes })
    const { health, clock, domain } = subject
    const ana = `ana@${domain}`
    await body({
      health,
      clock,
      domain,
      ana,
      another: () => subject.another(),
      find: (finding, messageId, address = ana) => health.record({ address, messageId }, finding),
      async count(address = ana) {
        const standing = await health.standing(address)
        return standing.outcome === 'usable' ? standing.hardBounces : 'invalid'
      },
      pass: (durationMs) => clock.jumpWallTo(clock.now() + durationMs),
      [Symbol.asyncDispose]: async () => {}
    })
  }
}

/** What no store may take, with the path that the error names. */
const REFUSED: readonly (readonly [address: string, messageId: string, finding: MailFinding, path: string])[] = [
  ['ana', 'm', 'hard', 'address'],
  ['', 'm', 'hard', 'address'],
  ['ana@', 'm', 'hard', 'address'],
  ['an a@example.com', 'm', 'hard', 'address'],
  ['ana@example.com\nbcc: x@example.com', 'm', 'hard', 'address'],
  ['ana@example.com', '', 'hard', 'messageId'],
  ['ana@example.com', 'a\0b', 'hard', 'messageId'],
  ['ana@example.com', '\ud800', 'hard', 'messageId'],
  ['ana@example.com', 'x'.repeat(257), 'hard', 'messageId'],
  ['ana@example.com', 'm', 'harder' as MailFinding, '']
]

const asked = (...names: readonly string[]): readonly MailedInvitation[] =>
  names.map((name) => ({ requestId: `request ${name}`, invitationId: `invitation ${name}` }))

const isRefusedAt = (path: string) => (error: unknown) =>
  isSuiteError(error, 'INVALID_OPTIONS') &&
  (error.detail as { issues: readonly { path: string }[] }).issues[0]?.path === path

/** A mail is remembered for this long at least, whatever the window is. */
const KEPT_MS = days(30)

/** The exam of an `AddressHealth`. */
export const addressHealthConformance: ConformanceKit<CreateAddressHealth, never> = {
  name: 'AddressHealth',
  needs: [],
  cases: [
    {
      name: 'takes an address that it has heard nothing of for usable',
      run: exam(async ({ health, ana, count }) => {
        assert.equal(await count(), 0)
        const trace = await health.trace({ address: ana, messageId: 'm1' })
        assert.deepEqual(trace, { standing: { outcome: 'usable', hardBounces: 0 }, softFailures: 0, ended: false })
      })
    },
    {
      name: 'gives an address up at the third hard bounce of another mail each, not before, and says for how long',
      run: exam(async ({ health, clock, ana, find, count, pass }) => {
        for (const [at, messageId] of ['m1', 'm2'].entries()) {
          const { outcome, standing } = await find('hard', messageId)
          assert.deepEqual(
            { outcome, standing },
            { outcome: 'recorded', standing: { outcome: 'usable', hardBounces: at + 1 } }
          )
          pass(1_000)
        }
        const since = clock.now()
        const invalid = { outcome: 'invalid', since, until: since + INVALID_MS }
        assert.deepEqual((await find('hard', 'm3')).standing, invalid)
        assert.deepEqual(await health.standing(ana), invalid)
        assert.deepEqual((await find('hard', 'm4')).standing, invalid)
        assert.equal(await count(), 'invalid')
      })
    },
    {
      name: 'counts a mail that bounces again once, and says so',
      run: exam(async ({ find, count, pass }) => {
        await find('hard', 'm1')
        for (let time = 0; time < 5; time++) {
          pass(1_000)
          assert.equal((await find('hard', 'm1')).outcome, 'repeated')
        }
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'holds nothing but hard bounces against an address',
      run: exam(async ({ find, count }) => {
        for (const [at, finding] of (['soft', 'refused', 'accepted'] as const).entries()) {
          for (let mail = 0; mail < 5; mail++) await find(finding, `m${at}-${mail}`)
        }
        assert.equal(await count(), 0)
      })
    },
    {
      name: 'counts the soft failures of each mail to each address by themselves',
      run: exam(async ({ health, ana, domain, find }) => {
        assert.equal((await find('soft', 'm1')).softFailures, 1)
        assert.equal((await find('soft', 'm1')).softFailures, 2)
        assert.equal((await find('soft', 'm2')).softFailures, 1)
        assert.equal((await find('soft', 'm1', `bo@${domain}`)).softFailures, 1)
        const { softFailures, ended } = await health.trace({ address: ana, messageId: 'm1' })
        assert.deepEqual({ softFailures, ended }, { softFailures: 2, ended: false })
      })
    },
    {
      name: 'changes nothing about a mail that has ended',
      run: exam(async ({ health, ana, find, count }) => {
        await find('soft', 'm1')
        await find('refused', 'm1')
        await find('hard', 'm2')
        for (const finding of ['soft', 'refused', 'hard', 'accepted'] as const) {
          assert.equal((await find(finding, 'm1')).outcome, 'repeated')
          assert.equal((await find(finding, 'm2')).outcome, 'repeated')
        }
        const { softFailures, ended } = await health.trace({ address: ana, messageId: 'm1' })
        assert.deepEqual({ softFailures, ended }, { softFailures: 1, ended: true })
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'forgets bounces that the window has left behind, to the millisecond',
      run: exam(async ({ find, count, pass }) => {
        await find('hard', 'm1')
        pass(1)
        await find('hard', 'm2')
        pass(WINDOW_MS - 2)
        assert.equal(await count(), 2)
        pass(1)
        assert.equal(await count(), 1)
        assert.deepEqual((await find('hard', 'm3')).standing, { outcome: 'usable', hardBounces: 2 })
      })
    },
    {
      name: 'begins anew after a success, which is a mail that was accepted and did not bounce for a while',
      run: exam(async ({ find, count, pass }) => {
        await find('hard', 'm1')
        await find('hard', 'm2')
        pass(1)
        await find('accepted', 'm3')
        pass(SETTLE_MS - 1)
        assert.equal(await count(), 2)
        pass(1)
        assert.equal(await count(), 0)
        await find('hard', 'm4')
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'takes a mail that bounces after it was accepted for no success',
      run: exam(async ({ find, count, pass }) => {
        for (const messageId of ['m1', 'm2', 'm3']) {
          pass(1)
          await find('accepted', messageId)
          pass(1_000)
          await find('hard', messageId)
          pass(SETTLE_MS)
        }
        assert.equal(await count(), 'invalid')
      })
    },
    {
      name: 'counts what bounces after a success',
      run: exam(async ({ find, count, pass }) => {
        await find('hard', 'm1')
        pass(1)
        await find('accepted', 'm2')
        pass(1)
        await find('hard', 'm3')
        assert.equal(await count(), 2)
        pass(SETTLE_MS)
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'takes an address up again when its time is over, with a clean record',
      run: exam(async ({ find, count, pass }) => {
        for (const messageId of ['m1', 'm2', 'm3']) await find('hard', messageId)
        pass(INVALID_MS - 1)
        assert.equal(await count(), 'invalid')
        pass(1)
        assert.equal(await count(), 0)
        await find('hard', 'm4')
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'takes an address up again with a clean record although the window is longer than the exclusion',
      run: exam(
        async ({ find, count, pass }) => {
          for (const messageId of ['m1', 'm2', 'm3']) await find('hard', messageId)
          pass(INVALID_MS)
          assert.equal(await count(), 0)
          await find('hard', 'm4')
          assert.equal(await count(), 1)
        },
        { windowMs: INVALID_MS * 10 }
      )
    },
    {
      name: 'does not take an address up again for a mail that is accepted after all',
      run: exam(async ({ find, count, pass }) => {
        for (const messageId of ['m1', 'm2', 'm3']) await find('hard', messageId)
        pass(1)
        await find('accepted', 'm4')
        pass(SETTLE_MS)
        assert.equal(await count(), 'invalid')
      })
    },
    {
      name: 'reinstates an address with a clean record, and says when there was nothing to do',
      run: exam(async ({ health, ana, find, count, pass }) => {
        assert.deepEqual(await health.reinstate(ana), { outcome: 'not-invalid' })
        for (const messageId of ['m1', 'm2', 'm3']) await find('hard', messageId)
        pass(1)
        assert.deepEqual(await health.reinstate(ana), { outcome: 'reinstated' })
        assert.deepEqual(await health.reinstate(ana), { outcome: 'not-invalid' })
        assert.equal(await count(), 0)
        pass(1)
        await find('hard', 'm4')
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'knows an address in each of its forms, and others apart',
      run: exam(async ({ domain, find, count }) => {
        await find('hard', 'm1', `Ana@${domain.toUpperCase()}`)
        await find('hard', 'm2', `ANA@${domain}`)
        assert.equal(await count(), 2)
        await find('hard', 'm3', `ana@b\u00fccher.${domain}`)
        await find('hard', 'm4', `ana@xn--bcher-kva.${domain}`)
        assert.equal(await count(`ana@bu\u0308cher.${domain}`), 2)
        for (const local of ['ana+x', 'an.a', 'anna', '%', "o'neil", '__proto__']) {
          assert.equal(await count(`${local}@${domain}`), 0)
        }
      })
    },
    {
      name: 'says where a mail went and what it asked about, of that mail alone',
      run: exam(async ({ health, ana, domain }) => {
        const bo = `bo@${domain}`
        await health.enter({ address: bo, messageId: `m1 ${domain}` }, asked('1', '2'))
        await health.enter({ address: ana.toUpperCase(), messageId: `m1 ${domain}` }, asked('1', '2'))
        await health.enter({ address: ana, messageId: `m2 ${domain}` }, asked('3'))
        await health.enter({ address: ana, messageId: `m3 ${domain}` }, [])
        await health.record({ address: ana, messageId: `m4 ${domain}` }, 'hard')
        assert.deepEqual(await health.entries(`m1 ${domain}`), [
          { address: ana, invitations: asked('1', '2') },
          { address: bo, invitations: asked('1', '2') }
        ])
        assert.deepEqual(await health.entries(`m2 ${domain}`), [{ address: ana, invitations: asked('3') }])
        assert.deepEqual(await health.entries(`m3 ${domain}`), [{ address: ana, invitations: [] }])
        for (const unknown of ['m4', 'm5', '%', 'M1'])
          assert.deepEqual(await health.entries(`${unknown} ${domain}`), [])
      })
    },
    {
      name: 'keeps what a mail asked about when it hears more of it, and what it has heard when the mail is entered again',
      run: exam(async ({ health, ana, domain, find, count }) => {
        const mail = { address: ana, messageId: `m1 ${domain}` }
        await health.enter(mail, asked('1'))
        for (const finding of ['soft', 'accepted', 'soft', 'hard', 'refused'] as const) {
          await find(finding, mail.messageId)
          assert.deepEqual(await health.entries(mail.messageId), [{ address: ana, invitations: asked('1') }])
        }
        await health.enter(mail, asked('2'))
        assert.deepEqual(await health.entries(mail.messageId), [{ address: ana, invitations: asked('2') }])
        const { softFailures, ended } = await health.trace(mail)
        assert.deepEqual({ softFailures, ended }, { softFailures: 2, ended: true })
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'takes no mail that is entered for a success or a failure',
      run: exam(async ({ health, ana, domain, find, count, pass }) => {
        await find('hard', 'm1')
        pass(1)
        const mail = { address: ana, messageId: `m2 ${domain}` }
        await health.enter(mail, asked('1'))
        const { softFailures, ended } = await health.trace(mail)
        assert.deepEqual({ softFailures, ended }, { softFailures: 0, ended: false })
        pass(SETTLE_MS)
        assert.equal(await count(), 1)
      })
    },
    {
      name: 'forgets what a mail asked about 30 days after the last that it heard of it, to the millisecond',
      run: exam(async ({ health, ana, domain, find, pass }) => {
        const messageId = `m1 ${domain}`
        const entered = [{ address: ana, invitations: asked('1') }]
        await health.enter({ address: ana, messageId }, asked('1'))
        pass(KEPT_MS - 1)
        assert.deepEqual(await health.entries(messageId), entered)
        await find('soft', messageId)
        pass(KEPT_MS - 1)
        assert.deepEqual(await health.entries(messageId), entered)
        pass(1)
        assert.deepEqual(await health.entries(messageId), [])
      })
    },
    {
      name: 'refuses what is no entry, with the path, and changes nothing',
      run: exam(async ({ health, ana, domain }) => {
        const messageId = `m1 ${domain}`
        const enter = async (invitations: unknown): Promise<void> =>
          health.enter({ address: ana, messageId }, invitations as readonly MailedInvitation[])
        for (const [path, invitations] of [
          ['0.requestId', [{ requestId: '', invitationId: 'i' }]],
          ['0.invitationId', [{ requestId: 'r', invitationId: 'a\0b' }]],
          ['1.invitationId', [...asked('1'), { requestId: 'r', invitationId: 'x'.repeat(257) }]],
          ['0.requestId', [{ invitationId: 'i' }]],
          ['', Array.from({ length: 101 }, () => asked('1')[0])],
          ['', undefined]
        ] as const) {
          await assert.rejects(() => enter(invitations), isRefusedAt(path))
        }
        await assert.rejects(async () => health.enter({ address: 'ana', messageId }, []), isRefusedAt('address'))
        await assert.rejects(async () => health.enter({ address: ana, messageId: '' }, []), isRefusedAt('messageId'))
        for (const wrong of ['', 'a\0b', 'x'.repeat(257)]) {
          await assert.rejects(async () => health.entries(wrong), isRefusedAt(''))
        }
        assert.deepEqual(await health.entries(messageId), [])
        const most = Array.from({ length: 100 }, (_, at) => asked(`\ud83d\ude00"${at}`)[0] as MailedInvitation)
        await health.enter({ address: ana, messageId }, most)
        assert.deepEqual(await health.entries(messageId), [{ address: ana, invitations: most }])
      })
    },
    {
      name: 'refuses what is no address, no message and no finding, with the path, and changes nothing',
      run: exam(async ({ health, find, count }) => {
        for (const [address, messageId, finding, path] of REFUSED) {
          await assert.rejects(
            async () => health.record({ address, messageId }, finding),
            isRefusedAt(path),
            `${JSON.stringify(address.slice(0, 40))} should be refused`
          )
        }
        await assert.rejects(
          async () => health.standing('ana'),
          (error) => isSuiteError(error, 'INVALID_OPTIONS')
        )
        assert.equal(await count(), 0)
        assert.equal((await find('hard', 'x'.repeat(256))).outcome, 'recorded')
      })
    },
    {
      name: 'counts the bounces of one mail that come at the same time once',
      run: exam(async ({ another, domain, count }) => {
        const stores = await Promise.all(Array.from({ length: RACERS }, another))
        for (let round = 0; round < ROUNDS; round++) {
          const address = `round${round}@${domain}`
          const answers = await Promise.all(stores.map((store) => store.record({ address, messageId: 'm1' }, 'hard')))
          assert.equal(answers.filter(({ outcome }) => outcome === 'recorded').length, 1)
          assert.equal(await count(address), 1)
        }
      })
    },
    {
      name: 'loses none of the bounces and soft failures that come at the same time',
      run: exam(async ({ another, health, ana, domain }) => {
        const stores = await Promise.all(Array.from({ length: RACERS }, another))
        const bo = { address: `bo@${domain}`, messageId: 'm1' }
        await Promise.all(
          stores.flatMap((store, at) => [
            store.record({ address: ana, messageId: `m${at}` }, 'hard'),
            store.record(bo, 'soft')
          ])
        )
        assert.equal((await health.standing(ana)).outcome, 'invalid')
        assert.equal((await health.trace(bo)).softFailures, RACERS)
      })
    }
  ]
}
