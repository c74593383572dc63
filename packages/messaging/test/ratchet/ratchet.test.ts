import { cryptoProvider as crypto } from '@enablement/messaging/crypto/node'
import {
  classifyHeader,
  decodeRatchet,
  encodeRatchet,
  initiatorState,
  type OpenInput,
  open,
  type RatchetMessage,
  type RatchetState,
  RECEIVING_CHAINS_MAX,
  RETIRED_KEYS_MAX,
  responderState,
  SKIP_MAX,
  SKIPPED_AGE_MAX_MINUTES,
  SKIPPED_KEYS_MAX,
  seal,
  suiteOneProfile,
  wipeReplaced
} from '@enablement/messaging/ratchet'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { bytesOf, textOf } from '../support/town.ts'

const NOW = Date.UTC(2026, 0, 1)
const context = bytesOf('context')
const scale = inject('scale')

/** One end, which commits what opens and what is sealed. */
class End {
  state: RatchetState
  now = NOW
  constructor(state: RatchetState) {
    this.state = state
  }
  async seal(text: string): Promise<Uint8Array> {
    const { state, output } = await seal(this.state, { plaintext: bytesOf(text), context }, crypto, suiteOneProfile)
    this.state = state
    return Uint8Array.of(...output.head, ...output.ciphertext)
  }
  async open(message: Uint8Array): Promise<string> {
    const opened = await this.try({ message })
    if (opened.outcome !== 'opened') return opened.outcome
    this.state = opened.state
    return textOf(opened.plaintext)
  }
  try(input: Pick<OpenInput, 'message'>): ReturnType<typeof open> {
    return open(this.state, { context, now: this.now, ...input }, crypto, suiteOneProfile)
  }
}

async function pair(): Promise<{ alice: End; bob: End }> {
  const sessionId = crypto.random(32)
  const secret = crypto.random(32)
  const prekey = await crypto.generateAgreementKey()
  const alice = new End(initiatorState(sessionId, secret.slice(), await crypto.importPeerKey(prekey.publicKey)))
  const bob = new End(responderState(sessionId, secret.slice(), prekey))
  expect(await bob.open(await alice.seal('first'))).toBe('first')
  return { alice, bob }
}

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')
const snapshot = async (end: End): Promise<string> => hex(await encodeRatchet(end.state, crypto))
const parse = (message: Uint8Array): RatchetMessage => {
  const parsed = suiteOneProfile.parse(message)
  if (parsed === undefined) throw new Error('a message of ours parses')
  return parsed
}

describe('the double ratchet', () => {
  test.prop([fc.integer({ min: 1, max: 60 })], { numRuns: Math.ceil(8 * scale), examples: [[1_000]] })(
    'changes root key and ratchet key with every DH step and repeats no message key, over 1 to 1,000 alternating messages',
    async (count) => {
      const { alice, bob } = await pair()
      const keys = { root: new Set<string>(), ratchet: new Set<string>(), message: new Set<string>() }
      const spying: typeof suiteOneProfile = {
        ...suiteOneProfile,
        seal(provider, messageKey, associatedData, plaintext) {
          keys.message.add(hex(messageKey))
          return suiteOneProfile.seal(provider, messageKey, associatedData, plaintext)
        }
      }
      for (let at = 0; at < count; at += 1) {
        const [from, to] = at % 2 === 0 ? [bob, alice] : [alice, bob]
        const plaintext = bytesOf(String(at))
        const { state, output } = await seal(from.state, { plaintext, context }, crypto, spying)
        from.state = state
        keys.root.add(hex(state.rootKey))
        keys.ratchet.add(hex(state.ratchetKey?.publicKey))
        expect(await to.open(Buffer.concat([output.head, output.ciphertext]))).toBe(String(at))
      }
      expect([keys.root.size, keys.ratchet.size, keys.message.size]).toEqual([count, count, count])
    },
    600_000
  )

  test.prop(
    [
      fc.array(fc.record({ fromAlice: fc.boolean(), copies: fc.integer({ min: 0, max: 2 }) }), {
        minLength: 1,
        maxLength: 40
      }),
      fc.infiniteStream(fc.nat()),
      fc.boolean()
    ],
    { numRuns: Math.ceil(60 * scale) }
  )(
    'opens each message once, whatever is lost, repeated and reordered',
    async (schedule, choices, restart) => {
      const { alice, bob } = await pair()
      expect(await alice.open(await bob.seal('second'))).toBe('second')
      const underWay: { to: End; message: Uint8Array; text: string }[] = []
      const opened = new Map<string, number>()
      const deliver = async (): Promise<void> => {
        const [chosen] = underWay.splice((choices.next().value ?? 0) % underWay.length, 1)
        if (chosen === undefined) return
        const answer = await chosen.to.open(chosen.message)
        if (answer === chosen.text) opened.set(answer, (opened.get(answer) ?? 0) + 1)
        else expect(answer).toBe('already-processed')
        if (restart) chosen.to.state = await decodeRatchet(await encodeRatchet(chosen.to.state, crypto), crypto)
      }
      let expected = 0
      for (const [at, { fromAlice, copies }] of schedule.entries()) {
        const text = `message ${at}`
        const message = await (fromAlice ? alice : bob).seal(text)
        if (copies > 0) expected += 1
        for (let copy = 0; copy < copies; copy += 1) underWay.push({ to: fromAlice ? bob : alice, message, text })
        if ((choices.next().value ?? 0) % 3 === 0 && underWay.length > 0) await deliver()
      }
      while (underWay.length > 0) await deliver()
      for (const times of opened.values()) expect(times).toBe(1)
      // More than five changes of ratchet key may overtake a message, which is then given up; never more than that.
      const turns = schedule.filter(({ fromAlice }, at) => fromAlice !== schedule[at - 1]?.fromAlice).length
      if (turns <= RECEIVING_CHAINS_MAX) expect(opened.size).toBe(expected)
    },
    600_000
  )

  it('gives no state for a message with any byte changed, and opens the genuine one afterwards', async () => {
    const { alice, bob } = await pair()
    const overtaken = await alice.seal('overtaken')
    const next = await alice.seal('next')
    expect(await bob.open(next)).toBe('next')
    await alice.open(await bob.seal('turn'))
    const turned = await alice.seal('new chain')
    for (const message of [overtaken, turned]) {
      const before = await snapshot(bob)
      for (let at = 0; at < message.length; at += 1) {
        const forged = message.slice()
        forged[at] = (forged[at] as number) ^ 0x55
        expect((await bob.try({ message: forged })).outcome, `byte ${at}`).not.toBe('opened')
      }
      expect(await snapshot(bob)).toBe(before)
    }
    expect(await bob.open(turned)).toBe('new chain')
    expect(await bob.open(overtaken)).toBe('overtaken')
  })

  it('opens nothing under another context', async () => {
    const { alice, bob } = await pair()
    const message = await alice.seal('bound')
    const input = { message, context: bytesOf('other'), now: NOW }
    expect((await open(bob.state, input, crypto, suiteOneProfile)).outcome).toBe('not-authentic')
    expect(await bob.open(message)).toBe('bound')
  })

  it('leaves the state it was given as it was, so that a commit that fails can be repeated', async () => {
    const { alice, bob } = await pair()
    const late = await alice.seal('late')
    await bob.open(await alice.seal('early'))
    const before = bob.state
    expect(await bob.open(late)).toBe('late')
    bob.state = before
    expect(await bob.open(late)).toBe('late')
  })

  it('refuses a ratchet key that is of small order or not canonical', async () => {
    const { alice, bob } = await pair()
    await alice.open(await bob.seal('turn'))
    const message = await alice.seal('genuine')
    for (const [key, outcome] of [
      [new Uint8Array(32), 'not-authentic'],
      [Uint8Array.of(1, ...new Uint8Array(31)), 'not-authentic'],
      [new Uint8Array(32).fill(0xff), 'malformed']
    ] as const) {
      const forged = message.slice()
      forged.set(key)
      expect((await bob.try({ message: forged })).outcome).toBe(outcome)
    }
    expect(await bob.open(message)).toBe('genuine')
  })

  it('refuses what is too short to be a message', async () => {
    const { bob } = await pair()
    for (const length of [0, 39, 40, 55]) {
      expect((await bob.try({ message: new Uint8Array(length) })).outcome).toBe('malformed')
    }
  })
})

describe('a gap in a chain', () => {
  it('is bounded by the numbers of the catalog', () => {
    expect([SKIP_MAX, SKIPPED_KEYS_MAX, RECEIVING_CHAINS_MAX]).toEqual([1_000, 2_000, 5])
  })

  it('may be of 1,000 messages and no more', async () => {
    const { alice, bob } = await pair()
    for (let lost = 0; lost < SKIP_MAX; lost += 1) await alice.seal('lost')
    const reachable = await alice.seal('reachable')
    const tooFar = await alice.seal('too far')
    expect(await bob.try({ message: tooFar })).toEqual({
      outcome: 'too-far-ahead',
      expected: 1,
      received: SKIP_MAX + 2
    })
    expect(await bob.open(reachable)).toBe('reachable')
    expect(await bob.open(tooFar)).toBe('too far')
  })

  it('before the end of a chain is bounded too, and names the numbers', async () => {
    const { alice, bob } = await pair()
    for (let lost = 0; lost <= SKIP_MAX; lost += 1) await alice.seal('lost')
    await alice.open(await bob.seal('turn'))
    expect(await bob.try({ message: await alice.seal('next chain') })).toEqual({
      outcome: 'too-far-ahead',
      expected: 1,
      received: SKIP_MAX + 2
    })
  })

  it('costs the oldest keys when a session holds 2,000', async () => {
    const { alice, bob } = await pair()
    const late = [await alice.seal('oldest')]
    for (let round = 0; round < 3; round += 1) {
      for (let lost = 0; lost < 900; lost += 1) late.push(await alice.seal(`late ${late.length}`))
      expect(await bob.open(await alice.seal('arrived'))).toBe('arrived')
    }
    const held = bob.state.chains.reduce((sum, { skipped }) => sum + skipped.size, 0)
    expect(held).toBe(SKIPPED_KEYS_MAX)
    expect(await bob.open(late[0] as Uint8Array)).toBe('already-processed')
    expect(await bob.open(late[late.length - SKIPPED_KEYS_MAX - 1] as Uint8Array)).toBe('already-processed')
    expect(await bob.open(late[late.length - SKIPPED_KEYS_MAX] as Uint8Array)).toMatch(/^late/)
    expect(await bob.open(late.at(-1) as Uint8Array)).toBe('late 2700')
  })

  it('is closed after 30 days: the keys set aside are dropped with the next message', async () => {
    const { alice, bob } = await pair()
    const [late, other] = [await alice.seal('late'), await alice.seal('other')]
    await bob.open(await alice.seal('arrived'))
    bob.now = NOW + SKIPPED_AGE_MAX_MINUTES * 60_000
    expect(await bob.open(late)).toBe('late')
    bob.now += 60_000
    await bob.open(await alice.seal('next'))
    expect(await bob.open(other)).toBe('already-processed')
  })
})

describe('a header', () => {
  it('is classified without deriving anything', async () => {
    const { alice, bob } = await pair()
    const late = await alice.seal('late')
    const next = await alice.seal('next')
    expect(classifyHeader(bob.state, parse(late).header)).toEqual({ kind: 'in-chain', skips: 0 })
    expect(classifyHeader(bob.state, parse(next).header)).toEqual({ kind: 'in-chain', skips: 1 })
    await bob.open(next)
    expect(classifyHeader(bob.state, parse(late).header)).toEqual({ kind: 'skipped', chain: 0 })
    expect(classifyHeader(bob.state, parse(next).header)).toEqual({ kind: 'already-processed' })
    await alice.open(await bob.seal('turn'))
    const turned = await alice.seal('turned')
    expect(classifyHeader(bob.state, parse(turned).header)).toEqual({ kind: 'new-chain', skipsBefore: 0, skips: 0 })
  })

  it('of a chain that is gone is known for one, up to 32 chains back', async () => {
    const { alice, bob } = await pair()
    const old: Uint8Array[] = []
    for (let turn = 0; turn < RETIRED_KEYS_MAX + 4; turn += 1) {
      await alice.open(await bob.seal('turn'))
      old.push(await alice.seal(`turn ${turn}`))
      expect(await bob.open(old.at(-1) as Uint8Array)).toBe(`turn ${turn}`)
    }
    expect(bob.state.retired).toHaveLength(RETIRED_KEYS_MAX)
    expect(await bob.open(old.at(-RETIRED_KEYS_MAX) as Uint8Array)).toBe('already-processed')
    // Beyond, it is no longer told from a new key, and fails to verify: either way nothing changes.
    expect(await bob.open(old[0] as Uint8Array)).toBe('not-authentic')
  })
})

describe('a ratchet record', () => {
  it('stays below 1 KB over any number of turns, with nothing missing', async () => {
    const { alice, bob } = await pair()
    for (let turn = 0; turn < 100; turn += 1) {
      await alice.open(await bob.seal('there'))
      await bob.open(await alice.seal('and back'))
    }
    expect((await encodeRatchet(alice.state, crypto)).length).toBeLessThan(1_024)
    expect((await encodeRatchet(bob.state, crypto)).length).toBeLessThan(1_024)
  })

  it('reads back to the same state, with skipped keys and in the middle of a step', async () => {
    const { alice, bob } = await pair()
    const late = await alice.seal('late')
    await bob.open(await alice.seal('arrived'))
    for (const end of [alice, bob]) {
      const record = await encodeRatchet(end.state, crypto)
      end.state = await decodeRatchet(record, crypto)
      expect(await encodeRatchet(end.state, crypto)).toEqual(record)
    }
    expect(await bob.open(late)).toBe('late')
    expect(await alice.open(await bob.seal('answer'))).toBe('answer')
  })

  it('is refused cut short, extended, of another version, or claiming more than there can be', async () => {
    const { bob } = await pair()
    const record = await encodeRatchet(bob.state, crypto)
    const damaged = { code: 'RECORD_DAMAGED' }
    for (let length = 0; length < record.length; length += 1) {
      await expect(decodeRatchet(record.subarray(0, length), crypto)).rejects.toMatchObject(damaged)
    }
    await expect(decodeRatchet(Uint8Array.of(...record, 0), crypto)).rejects.toMatchObject(damaged)
    for (const at of [0, 65, record.length - 1]) {
      const wrong = record.slice()
      wrong[at] = 200
      await expect(decodeRatchet(wrong, crypto)).rejects.toMatchObject(damaged)
    }
  })

  test.prop([fc.uint8Array({ maxLength: 400 })], { numRuns: Math.ceil(300 * scale) })(
    'of random bytes is refused with the typed error',
    async (bytes) => {
      await expect(decodeRatchet(bytes, crypto)).rejects.toMatchObject({ code: 'RECORD_DAMAGED' })
    }
  )
})

describe('wiping what a step replaced', () => {
  it('clears the old keys and leaves the new state working', async () => {
    const { alice, bob } = await pair()
    const late = [await alice.seal('late 0'), await alice.seal('late 1')] as const
    let before = bob.state
    await bob.open(await alice.seal('arrived'))
    wipeReplaced(before, bob.state)
    expect(hex(before.chains[0]?.chainKey)).toBe('00'.repeat(32))

    before = bob.state
    const key = before.chains[0]?.skipped.get(parse(late[0]).header.count)?.messageKey
    expect(await bob.open(late[0])).toBe('late 0')
    wipeReplaced(before, bob.state)
    expect(hex(key)).toBe('00'.repeat(32))

    before = alice.state
    expect(await alice.open(await bob.seal('turn'))).toBe('turn')
    wipeReplaced(before, alice.state)
    expect(hex(before.rootKey)).toBe('00'.repeat(32))
    expect(await bob.open(await alice.seal('on'))).toBe('on')
    expect(await bob.open(late[1])).toBe('late 1')

    before = bob.state
    wipeReplaced(before, undefined)
    expect(hex(before.rootKey), 'nothing came after: the session was dropped').toBe('00'.repeat(32))
    for (const { chainKey } of before.chains) if (chainKey !== undefined) expect(hex(chainKey)).toBe('00'.repeat(32))
  })
})
