import type { Outbox, OutboxDraft, OutboxRef } from '@enablement/core/outbox'
import { execute, rows, type SqlDatabase } from '@enablement/core/sql'
import { fc } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { type Bench, type BenchOptions, bench as benchOn, open } from './receiver.ts'

const texts = (count: number, key?: string) =>
  Array.from({ length: count }, (_, at) => ({ payload: String(at), ...(key === undefined ? {} : { key }) }))

const few = fc.constantFrom('a', 'b', 'c')
const utf8 = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((text) => !text.includes('\0'))

/** Drafts of few keys, so that many are of one. */
const drafts: fc.Arbitrary<OutboxDraft[]> = fc.array(
  fc.record(
    {
      payload: fc.oneof(utf8, fc.uint8Array({ maxLength: 40 }), fc.constantFrom('', '7', 'null', '"')),
      key: fc.oneof(
        few,
        utf8.filter((text) => text !== '')
      ),
      destination: few,
      idempotencyKey: fc.oneof(few, fc.uuid()),
      delayMs: fc.integer({ min: 0, max: 1_000 })
    },
    { requiredKeys: ['payload'] }
  ),
  { maxLength: 30 }
)

const COLUMNS = `idempotency_key, message_key, case when destination = outbox then 'default' else destination end as receiver, payload_text, payload_bytes, put_at, budget_from_at, state,
  in_line, next_due_at, fence, attempts, unanswered, settled_at, reason`

/** Puts drafts by `how`, in calls of 12. Gives the table but for sequences and ids, and the refs by the ids' places. */
async function stored(db: SqlDatabase, outbox: Outbox, given: readonly OutboxDraft[], how: 'put' | 'putAll') {
  const refs: OutboxRef[] = []
  for (let at = 0; at < given.length; at += 12) {
    const call = given.slice(at, at + 12)
    const answers = await db.run(function* () {
      if (how === 'putAll') return yield* outbox.putAll(call)
      const each: OutboxRef[] = []
      for (const draft of call) each.push(yield* outbox.put(draft))
      return each
    })
    refs.push(...answers)
  }
  const [table, ids] = await db.run(function* () {
    const where = 'from outbox_messages where outbox = ? order by sequence'
    return [
      yield* rows(`select ${COLUMNS} ${where}`, outbox.name),
      (yield* rows(`select id ${where}`, outbox.name)).map(({ id }) => id)
    ]
  })
  return { table, refs: refs.map(({ outcome, id }) => [outcome, ids.indexOf(id)]) }
}

/**
 * What an outbox promises, on databases that `create` makes, each empty. `ofOneKey` messages are put at once and
 * `settled` ones removed: less of them where a statement takes long.
 */
export function outboxContract(
  name: string,
  create: () => Promise<SqlDatabase> | SqlDatabase,
  { ofOneKey = 500, settled = 1_200 } = {}
): void {
  const bench = async (options: BenchOptions = {}): Promise<Bench> => benchOn({ ...options, on: await create() })

  describe(`an outbox on ${name}`, () => {
    it('delivers what was committed, once each, text as text and bytes as bytes', async () => {
      await using one = await bench()
      const bytes = Uint8Array.of(0, 255, 7)
      const refs = await one.put({ payload: '{"a":1}', key: 'k', destination: 'host' }, { payload: bytes })
      expect(await one.deliverDue()).toMatchObject({ handled: 2 })
      expect(one.receiver.arrived).toEqual([
        expect.objectContaining({ id: refs[0]?.id, key: 'k', destination: 'host', payload: '{"a":1}', attempt: 1 }),
        expect.objectContaining({ id: refs[1]?.id, key: undefined, destination: 'mail', attempt: 1 })
      ])
      expect(one.receiver.arrived[1]?.payload).toEqual(bytes)
      expect(await one.deliverDue()).toEqual({ handled: 0, nextDueInMs: undefined })
      expect(await one.db.run(() => rows('select id from outbox_messages'))).toEqual([])
    })

    it('delivers nothing of a unit that was rolled back (pitfall 13)', async () => {
      await using one = await bench()
      const unit = one.db.run(function* () {
        yield* one.outbox.put({ payload: 'a' })
        throw new Error('no')
      })
      await expect(unit).rejects.toThrow('no')
      expect(await one.deliverDue()).toMatchObject({ handled: 0 })
    })

    it('delivers the messages of a key in order, however many workers there are, and one at a time', async () => {
      await using one = await bench()
      let inside = 0
      one.receiver.answer = async () => {
        inside += 1
        expect(inside).toBe(1)
        await new Promise((resolve) => setImmediate(resolve))
        inside -= 1
        return { outcome: 'delivered' }
      }
      await one.put(...texts(40, 'k'))
      const outboxes = [one.outbox, one.another(), one.another()]
      while ((await one.outbox.health()).pending > 0) {
        await Promise.all(outboxes.map((outbox) => one.deliverDue(outbox)))
        // For those that another worker claimed while the one before them was being removed.
        await one.platform.clock.advance(20)
      }
      expect(one.receiver.payloads()).toEqual(texts(40).map(({ payload }) => payload))
      const sequences = one.receiver.arrived.map(({ sequence }) => sequence)
      expect(sequences).toEqual([...new Set(sequences)].sort((a, b) => a - b))
    })

    it('holds the later messages of a key back while an earlier one is attempted again, and no other key', async () => {
      await using one = await bench({ backoff: { jitter: 'none', baseMs: 1_000, maxMs: 10_000 } })
      one.receiver.answer = ({ payload, attempt }) =>
        payload === '0' && attempt < 3 ? { outcome: 'failed', reason: 'HTTP_503' } : { outcome: 'delivered' }
      await one.put(...texts(3, 'k'), { payload: 'other', key: 'l' })
      expect(await one.deliverDue()).toEqual({ handled: 2, nextDueInMs: 1_000 })
      expect(one.receiver.payloads()).toEqual(['0', 'other'])
      await one.platform.clock.advance(999)
      await one.deliverDue()
      await one.platform.clock.advance(1)
      expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 2_000 })
      await one.platform.clock.advance(2_000)
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['0', 'other', '0', '0', '1', '2'])
      expect(new Set(one.receiver.arrived.filter(({ payload }) => payload === '0').map(({ id }) => id)).size).toBe(1)
      expect(one.events.filter(({ type }) => type === 'outbox.attempt-failed')).toEqual([
        expect.objectContaining({ attempt: 1, reason: 'HTTP_503', retryInMs: 1_000 }),
        expect.objectContaining({ attempt: 2, reason: 'HTTP_503', retryInMs: 2_000 })
      ])
    })

    it('commits what hangs on a settlement with it, and settles around one message for which that fails', async () => {
      await using one = await bench({
        *settled(settlements) {
          for (const { message, end, receipt } of settlements) {
            const place = message.payload === '3' ? 1 : Number(message.payload) + 10
            yield* execute('insert into told(place, ended, receipt) values (?, ?, ?)', place, end, receipt ?? null)
          }
        }
      })
      await one.db.run(function* () {
        yield* execute('create table told (place bigint primary key, ended text not null, receipt text)')
        yield* execute("insert into told(place, ended) values (1, 'taken')")
      })
      one.receiver.answer = ({ payload }) =>
        payload === '5'
          ? { outcome: 'refused', reason: 'GONE' }
          : { outcome: 'delivered', receipt: `r${String(payload)}` }
      await one.put(...texts(8))
      await one.deliverDue()
      const told = await one.db.run(() => rows('select place, ended, receipt from told where place > 1 order by place'))
      expect(told.map(({ place, ended, receipt }) => [place, ended, receipt])).toEqual(
        [0, 1, 2, 4, 5, 6, 7].map((at) => (at === 5 ? [15, 'dead', null] : [at + 10, 'delivered', `r${at}`]))
      )
      expect(one.receiver.arrived).toHaveLength(8)
      const dead = await one.outbox.list({ state: 'dead' })
      expect(new Set(dead.map(({ reason }) => reason))).toEqual(new Set(['CONSTRAINT_VIOLATED', 'GONE']))
    })

    it('waits with a message for its delay, and with the later ones of its key', async () => {
      await using one = await bench()
      await one.put({ payload: 'late', key: 'k', delayMs: 60_000 }, { payload: 'later', key: 'k' }, { payload: 'now' })
      expect(await one.deliverDue()).toEqual({ handled: 1, nextDueInMs: 60_000 })
      await one.platform.clock.advance(60_000)
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['now', 'late', 'later'])
    })

    it.each<[string, Partial<OutboxDraft>]>([
      ['after its delay', { delayMs: 100_000 }],
      ['when an earlier one of its key is gone', { key: 'k' }]
    ])('gives a message the whole time for its attempts %s', async (_name, draft) => {
      await using one = await bench({ ageMaxMs: 60_000, backoff: { jitter: 'none', baseMs: 1_000, maxMs: 1_000 } })
      one.receiver.answer = ({ attempt, payload }) =>
        payload === 'first' ? { outcome: 'refused' } : { outcome: attempt === 1 ? 'failed' : 'delivered' }
      const [first] = await one.put({ payload: 'first', key: 'k' }, { payload: 'a', ...draft })
      await one.deliverDue()
      await one.platform.clock.advance(100_000)
      await one.db.run(() => one.outbox.drop(first?.id ?? ''))
      await one.deliverDue()
      await one.platform.clock.advance(1_000)
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['first', 'a', 'a'])
      expect(one.events.at(-1)).toMatchObject({ type: 'outbox.delivered' })
    })

    it('lets a message be dropped over which a worker died, once its lease has ended', async () => {
      await using one = await bench()
      const [first] = await one.put({ payload: 'first', key: 'k' }, { payload: 'a', key: 'k' })
      const id = first?.id ?? ''
      const claimText = 'update outbox_messages set unanswered = 1, next_due_at = next_due_at + 1000 where id = ?'
      await one.db.run(() => execute(claimText, id))
      expect(await one.db.run(() => one.outbox.drop(id))).toEqual({ outcome: 'busy' })
      await one.platform.clock.advance(1_000)
      expect(await one.db.run(() => one.outbox.drop(id))).toEqual({ outcome: 'dropped' })
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['a'])
    })

    it('takes a repeated idempotency key for the same message for as long as that is kept', async () => {
      await using one = await bench({ retentionMs: 60_000 })
      const [first] = await one.put({ payload: 'a', idempotencyKey: 'order-1', key: 'k' })
      expect(await one.put({ payload: 'b', idempotencyKey: 'order-1' })).toEqual([
        { outcome: 'duplicate', id: first?.id }
      ])
      await one.deliverDue()
      expect(await one.put({ payload: 'c', idempotencyKey: 'order-1' })).toEqual([
        { outcome: 'duplicate', id: first?.id }
      ])
      expect(one.receiver.payloads()).toEqual(['a'])
    })

    it('shares a database with outboxes of other names and sees nothing of theirs', async () => {
      await using one = await bench()
      const other = one.another({ name: 'hooks', deliver: async () => ({ outcome: 'failed' }) })
      await one.put({ payload: 'a', key: 'k', idempotencyKey: 'i' })
      const ref = await one.db.run(() => other.put({ payload: 'b', key: 'k', idempotencyKey: 'i' }))
      expect(ref.outcome).toBe('queued')
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['a'])
      expect(await other.health()).toMatchObject({ pending: 1 })
      expect(await one.outbox.health()).toMatchObject({ pending: 0 })
      expect(await one.db.run(() => one.outbox.drop(ref.id))).toEqual({ outcome: 'unknown' })
    })

    it('keeps delivered messages for their time, and removes them in portions', async () => {
      await using one = await bench({ retentionMs: 60_000 })
      const purge = one.outbox.duties[1]
      await one.put(...texts(settled, 'k').map((draft, at) => ({ ...draft, key: `k${at % 100}` })))
      await one.deliverDue()
      expect(await one.outbox.list({ state: 'delivered', limit: 1_000 })).toHaveLength(Math.min(settled, 1_000))
      expect(await purge?.run({ signal: open })).toEqual({ handled: 0 })
      await one.platform.clock.advance(60_000)
      expect(await purge?.run({ signal: open })).toMatchObject({ handled: Math.min(settled, 1_000) })
      expect((await purge?.run({ signal: open }))?.handled).toBe(Math.max(settled - 1_000, 0))
      expect(await one.db.run(() => rows('select id from outbox_messages'))).toEqual([])
    })

    it('tells how much waits, how old it is, how late, and what is dead', async () => {
      await using one = await bench({ attemptsMax: 1 })
      one.receiver.answer = () => ({ outcome: 'failed', reason: 'HTTP_500' })
      await one.put({ payload: 'dead', key: 'k' }, { payload: 'held', key: 'k' })
      await one.platform.clock.advance(5_000)
      await one.deliverDue()
      await one.put({ payload: 'late', delayMs: 60_000 }, { payload: 'due' })
      await one.platform.clock.advance(2_000)
      expect(await one.outbox.health()).toEqual({
        pending: 3,
        oldestAgeMs: 7_000,
        lagMs: 2_000,
        dead: 1,
        heldKeys: 1,
        backlogMax: 100_000,
        brokenDestinations: []
      })
      expect(one.outbox.duties[0]?.status?.()).toEqual({ lagMs: 0, setAside: 1 })
    })
  })

  describe(`many messages put at once on ${name}`, () => {
    it('are as if they had been put one after the other', async () => {
      await using one = await bench()
      let run = 0
      await fc.assert(
        fc.asyncProperty(drafts, async (given) => {
          run += 1
          const each = await stored(one.db, one.another({ name: `each ${run}` }), given, 'put')
          const all = await stored(one.db, one.another({ name: `all ${run}` }), given, 'putAll')
          expect(all).toEqual(each)
        }),
        { numRuns: Math.ceil(20 * inject('scale')), examples: [[[{ payload: new Uint8Array() }]]] }
      )
    }, 600_000)

    it('are delivered in the order of the drafts, and those of one idempotency key once', async () => {
      await using one = await bench()
      const [first] = await one.put({ payload: 'first', idempotencyKey: 'i' })
      const bytes = Uint8Array.of(0, 255, 7)
      const refs = await one.db.run(() =>
        one.outbox.putAll([
          ...texts(ofOneKey, 'k').reverse(),
          { payload: bytes, key: 'k', idempotencyKey: 'j' },
          { payload: 'again', key: 'k', idempotencyKey: 'j' },
          { payload: 'again', key: 'l', idempotencyKey: 'i' }
        ])
      )
      expect(refs.slice(0, ofOneKey + 1).every(({ outcome }) => outcome === 'queued')).toBe(true)
      expect(refs.slice(ofOneKey + 1)).toEqual([
        { outcome: 'duplicate', id: refs[ofOneKey]?.id },
        { outcome: 'duplicate', id: first?.id }
      ])
      await one.deliverDue()
      const ofKey = one.receiver.arrived.filter(({ key }) => key === 'k')
      expect(ofKey.map(({ id }) => id)).toEqual(refs.slice(0, ofOneKey + 1).map(({ id }) => id))
      expect(ofKey.at(-1)?.payload).toEqual(bytes)
      expect(one.receiver.arrived).toHaveLength(ofOneKey + 2)
    })

    it('keep their order when what one of them repeats is removed before its id is read', async () => {
      await using one = await bench()
      const [gone, kept] = await one.put(
        { payload: 'gone', idempotencyKey: 'i' },
        { payload: 'kept', idempotencyKey: 'j' }
      )
      const given = ['i', undefined, 'j', undefined].map((idempotencyKey, at) => ({
        payload: String(at),
        key: 'k',
        ...(idempotencyKey === undefined ? {} : { idempotencyKey })
      }))
      const refs = await one.db.run(function* () {
        const put = one.outbox.putAll(given)
        let removed = 0
        for (let step = put.next(); ; ) {
          if (step.done === true) return step.value
          if (step.value.text.startsWith('select idempotency_key') && removed++ === 0) {
            yield* execute('delete from outbox_messages where id = ?', gone?.id ?? '')
          }
          step = put.next(yield step.value)
        }
      })
      expect(refs.map(({ outcome }) => outcome)).toEqual(['queued', 'queued', 'duplicate', 'queued'])
      expect(refs[2]?.id).toBe(kept?.id)
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['kept', '0', '1', '3'])
    })
  })

  describe(`a dead message on ${name}`, () => {
    const dying = (options = {}) => bench({ backoff: { jitter: 'none', baseMs: 1_000, maxMs: 1_000 }, ...options })

    it.each([
      ['after its attempts', { attemptsMax: 3 }, 'attempts', 3],
      ['when the next attempt would be too late', { ageMaxMs: 2_500 }, 'age', 3]
    ] as const)('is dead %s', async (_name, options, cause, attempts) => {
      await using one = await dying(options)
      one.receiver.answer = () => {
        throw Object.assign(new Error('no'), { code: 'ECONNRESET' })
      }
      const [ref] = await one.put({ payload: 'a' })
      for (let round = 0; round < 5; round++) {
        await one.deliverDue()
        await one.platform.clock.advance(1_000)
      }
      expect(one.receiver.arrived).toHaveLength(attempts)
      expect(one.events.at(-1)).toMatchObject({
        type: 'outbox.dead-lettered',
        cause,
        reason: 'ECONNRESET',
        attempt: attempts
      })
      expect(await one.outbox.list({ state: 'dead' })).toEqual([
        expect.objectContaining({ id: ref?.id, state: 'dead', reason: 'ECONNRESET', attempts, nextDueAt: undefined })
      ])
    })

    it('is dead at once when the receiver refuses it', async () => {
      await using one = await dying()
      one.receiver.answer = () => ({ outcome: 'refused', reason: 'HTTP_422' })
      await one.put({ payload: 'a' })
      await one.deliverDue()
      expect(one.events).toEqual([
        expect.objectContaining({ type: 'outbox.dead-lettered', cause: 'refused', reason: 'HTTP_422', attempt: 1 })
      ])
    })

    it('holds its key until it is revived, and then comes first', async () => {
      await using one = await dying({ attemptsMax: 1 })
      one.receiver.answer = ({ payload }) => (payload === '0' ? { outcome: 'failed' } : { outcome: 'delivered' })
      const [ref] = await one.put(...texts(3, 'k'), { payload: 'other' })
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['0', 'other'])
      expect(await one.outbox.list({ state: 'dead' })).toMatchObject([
        { id: ref?.id, holdsKey: true, reason: 'UNSPECIFIED' }
      ])
      one.receiver.answer = () => ({ outcome: 'delivered' })
      expect(await one.db.run(() => one.outbox.revive(ref?.id ?? ''))).toEqual({ outcome: 'revived' })
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['0', 'other', '0', '1', '2'])
      expect(one.receiver.arrived[2]).toMatchObject({ id: ref?.id, attempt: 1 })
    })

    it('holds its key until it is dropped', async () => {
      await using one = await dying({ attemptsMax: 1 })
      one.receiver.answer = ({ payload }) => (payload === '0' ? { outcome: 'failed' } : { outcome: 'delivered' })
      const [ref] = await one.put(...texts(3, 'k'))
      await one.deliverDue()
      expect(await one.db.run(() => one.outbox.drop(ref?.id ?? ''))).toEqual({ outcome: 'dropped' })
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['0', '1', '2'])
      expect(await one.db.run(() => one.outbox.drop(ref?.id ?? ''))).toEqual({ outcome: 'unknown' })
    })

    it('lets the later ones of its key go on where that is chosen, and comes after them when it is revived', async () => {
      await using one = await dying({ attemptsMax: 1, onDead: 'continue' })
      one.receiver.answer = ({ payload }) => (payload === '0' ? { outcome: 'failed' } : { outcome: 'delivered' })
      const [ref] = await one.put(...texts(2, 'k').map((draft) => ({ ...draft, idempotencyKey: draft.payload })))
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['0', '1'])
      expect(await one.outbox.list({ state: 'dead' })).toMatchObject([{ id: ref?.id, holdsKey: false }])
      await one.put({ payload: '2', key: 'k' })
      one.receiver.answer = () => ({ outcome: 'delivered' })
      expect(await one.db.run(() => one.outbox.revive(ref?.id ?? ''))).toEqual({ outcome: 'revived' })
      await one.deliverDue()
      expect(one.receiver.payloads()).toEqual(['0', '1', '2', '0'])
      expect(one.receiver.arrived[3]?.id).toBe(ref?.id)
      const sequences = one.receiver.arrived.map(({ sequence }) => sequence)
      expect(sequences[3]).toBeGreaterThan(sequences[2] as number)
    })

    it('is listed in pages, and nothing else is', async () => {
      await using one = await dying({ attemptsMax: 1 })
      one.receiver.answer = () => ({ outcome: 'refused' })
      await one.put(...texts(5))
      await one.deliverDue()
      await one.put({ payload: 'waits', delayMs: 1 })
      const first = await one.outbox.list({ state: 'dead', limit: 2 })
      const rest = await one.outbox.list({ state: 'dead', after: first[1]?.sequence ?? 0 })
      expect([...first, ...rest].map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5])
      expect(await one.outbox.list({ state: 'pending' })).toHaveLength(1)
    })

    it('is not revived when it is not dead, nor dropped while it is under way', async () => {
      await using one = await dying()
      const [waiting] = await one.put({ payload: 'a', delayMs: 1_000 })
      const id = waiting?.id ?? ''
      expect(await one.db.run(() => one.outbox.revive(id))).toEqual({ outcome: 'not-dead', state: 'pending' })
      expect(await one.db.run(() => one.outbox.revive('nobody'))).toEqual({ outcome: 'unknown' })
      await one.platform.clock.advance(1_000)
      let dropped: unknown
      one.receiver.answer = async () => {
        dropped = await one.db.run(() => one.outbox.drop(id))
        return { outcome: 'failed' }
      }
      await one.deliverDue()
      expect(dropped).toEqual({ outcome: 'busy' })
      expect(await one.db.run(() => one.outbox.drop(id))).toEqual({ outcome: 'dropped' })
    })
  })
}
