import {
  createPartitionGuard,
  type OutboundRequest,
  type PartitionEvent,
  type SendOutcome
} from '@enablement/runtime/network'
import { describe, expect, it } from 'vitest'
import { simulatedNetwork } from './simulated-network.ts'

const types = (events: readonly PartitionEvent[]): string[] => events.map(({ type }) => type)

describe('a partition guard', () => {
  it('sends at once while the network is there', async () => {
    const net = simulatedNetwork()
    await expect(net.guard.send(net.request('a', { policy: 'never' }))).resolves.toEqual({
      outcome: 'replied',
      reply: 'a',
      attempts: 1,
      waitedMs: 0
    })
    await net.close()
    expect(net.platform.clock.pendingTimers).toBe(0)
  })

  it('holds what may be repeated, and replays it in order, one after the other', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const order: string[] = []
    const sent = ['a', 'b', 'c'].map((name, at) =>
      net.guard
        .send(net.request(name, at === 1 ? { policy: 'keyed', idempotencyKey: 'key-b' } : { policy: 'safe' }))
        .then((outcome) => order.push(`${name} ${outcome.outcome}`))
    )
    await net.platform.clock.advance(1_000)
    expect(net.arrivals).toEqual([])
    await net.recover()
    await Promise.all(sent)
    expect(net.arrivals).toEqual(['a', 'b', 'c'])
    expect(order).toEqual(['a replied', 'b replied', 'c replied'])
    expect(net.keys).toEqual([undefined, 'key-b', undefined])
    expect(types(net.events)).toEqual([
      'network.partitioned',
      'request.buffered',
      'request.buffered',
      'request.buffered',
      'network.recovering',
      'network.recovered',
      'request.replayed',
      'request.replayed',
      'request.replayed',
      'network.drained'
    ])
    expect(net.events.at(-1)).toMatchObject({
      counts: { buffered: 3, replayed: 3, waiting: 0, refused: 0, expired: 0, aborted: 0, failed: 0 }
    })
    await net.close()
  })

  it('refuses at once what must not be repeated', async () => {
    const net = simulatedNetwork()
    await net.partition()
    await expect(net.guard.send(net.request('a', { policy: 'never' }))).resolves.toEqual({
      outcome: 'refused',
      reason: 'not-repeatable',
      sent: false
    })
    expect(net.events.at(-1)).toEqual({ type: 'request.refused', lane: 'x', reason: 'not-repeatable', sent: false })
    await net.close()
  })

  it('gives what must not be repeated its own error when it was never sent, or holds it where that is wanted', async () => {
    const refusing = simulatedNetwork()
    refusing.fate = () => 'unsent'
    const failed = await refusing.guard.send(refusing.request('a', { policy: 'never' }))
    expect(failed).toMatchObject({ outcome: 'failed', attempts: 1, sent: false, error: { message: 'unsent' } })
    await refusing.close()

    const buffering = simulatedNetwork({ unsentWrites: 'buffer' })
    buffering.up = false
    const held = buffering.guard.send(buffering.request('a', { policy: 'never' }))
    await buffering.partition()
    await buffering.recover()
    await expect(held).resolves.toMatchObject({ outcome: 'replied' })
    expect(buffering.arrivals).toEqual(['a'])
    await buffering.close()
  })

  it('does not send again what was sent and must not be repeated, although it was held before', async () => {
    const net = simulatedNetwork({ unsentWrites: 'buffer' })
    await net.partition()
    const held = net.guard.send(net.request('a', { policy: 'never' }))
    net.fate = () => 'late'
    await net.recover()
    await expect(held).resolves.toMatchObject({ outcome: 'reply-lost' })
    expect(net.arrivals).toEqual(['a'])
    await net.close()
  })

  it.each(['early', 'late'] as const)('repeats a request that lost its %s part only if it may', async (fate) => {
    const net = simulatedNetwork()
    net.fate = (_name, attempt) => (attempt === 1 ? fate : 'reply')
    const once = net.guard.send(net.request('once', { policy: 'never' }))
    const again = net.guard.send(net.request('again', { policy: 'keyed', idempotencyKey: 'k' }))
    await net.platform.clock.advance(2_000)
    await expect(once).resolves.toMatchObject({ outcome: 'reply-lost', error: { message: fate } })
    await expect(again).resolves.toMatchObject({ outcome: 'replied', attempts: 2 })
    expect(net.arrivals.filter((name) => name === 'once').length).toBeLessThan(2)
    expect(net.keys).toEqual([undefined, 'k', 'k'])
    await net.close()
  })

  it('tries three times while the network is there, each request for itself, and then gives the error', async () => {
    const net = simulatedNetwork()
    net.fate = (name) => (name.startsWith('dead') ? 'unsent' : 'reply')
    const dead = Array.from({ length: 50 }, (_, at) => net.guard.send(net.request(`dead ${at}`)))
    const alive = net.guard.send(net.request('alive'))
    await net.platform.clock.advance(0)
    await expect(alive).resolves.toMatchObject({ outcome: 'replied', attempts: 1 })
    // Two waits of up to 250 and 500 ms after looks that are 250 ms apart: in a lane of one they would take 25 times as long.
    await net.platform.clock.advance(3_000)
    for (const outcome of await Promise.all(dead)) expect(outcome).toMatchObject({ outcome: 'failed', attempts: 3 })
    expect(types(net.events)).toEqual([])
    await net.close()
  })

  it('does not try again what the network is not to blame for', async () => {
    const net = simulatedNetwork()
    net.fate = () => 'failed'
    await expect(net.guard.send(net.request('a'))).resolves.toMatchObject({ outcome: 'failed', attempts: 1 })
    net.fate = () => {
      throw new Error('a sender that breaks')
    }
    await expect(net.guard.send(net.request('b'))).resolves.toMatchObject({ outcome: 'failed' })
    await net.close()
  })

  it('ends what is under way over a half-open connection, and replays it in its own place', async () => {
    const net = simulatedNetwork()
    net.fate = (_name, attempt) => (attempt === 1 ? 'silent' : 'reply')
    const never = net.guard.send(net.request('never', { policy: 'never' }))
    const first = net.guard.send(net.request('first'))
    await net.platform.clock.advance(1_000)
    net.fate = (name, attempt) => (name === 'never' && attempt === 1 ? 'silent' : 'reply')
    await net.partition()
    const second = net.guard.send(net.request('second'))
    await net.recover()
    await Promise.all([first, second])
    expect(net.arrivals).toEqual(['never', 'first', 'first', 'second'])
    expect(net.guard.statistics()).toMatchObject({ sending: 1, waiting: 0, replied: 2 })
    await net.close()
    void never
  })

  it('puts what was under way before what was made since, however late it ends', async () => {
    const net = simulatedNetwork()
    const { clock } = net.platform
    const late: OutboundRequest<string> = {
      policy: 'idempotent',
      lane: 'x',
      send: async ({ attempt }) => {
        if (attempt > 1) return net.request('late').send({} as never)
        await new Promise<void>((resolve) => clock.startTimer(40_000, resolve))
        return { outcome: 'lost', error: new Error('reset at last') }
      }
    }
    const sent = [net.guard.send(late)]
    await net.partition()
    sent.push(net.guard.send(net.request('since')))
    await clock.advance(60_000)
    expect(net.guard.statistics()).toMatchObject({ waiting: 2 })
    await net.recover()
    await Promise.all(sent)
    expect(net.arrivals).toEqual(['late', 'since'])
    await net.close()
  })

  it('does not hold it against a request that its attempt was ended for it', async () => {
    const net = simulatedNetwork({ attemptsMax: 1 })
    net.fate = (_name, attempt) => (attempt === 1 ? 'silent' : 'reply')
    const sent = net.guard.send(net.request('a'))
    net.monitor.subscribe(({ changedFrom }) => {
      // The next look, which the ended attempt asks for, finds the network there.
      if (changedFrom === 'connected') net.up = true
    })
    await net.platform.clock.advance(0)
    net.up = false
    await net.platform.clock.advance(60_000)
    expect(net.guard.partitions).toBe(1)
    await expect(sent).resolves.toMatchObject({ outcome: 'replied', attempts: 2 })
    await net.close()
  })

  it('refuses the 1,001st, keeps the oldest, and refuses 10,000 more with memory that does not grow', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const kept = Array.from({ length: 1_000 }, (_, at) => net.guard.send(net.request(`kept ${at}`, { bytes: 10 })))
    const refused = await Promise.all(
      Array.from({ length: 10_000 }, (_, at) => net.guard.send(net.request(`late ${at}`, { bytes: 1_000 })))
    )
    expect(refused.every((outcome) => outcome.outcome === 'refused' && outcome.reason === 'entries')).toBe(true)
    expect(net.guard.statistics()).toMatchObject({ waiting: 1_000, refused: 10_000, sending: 0, bytes: 10_000 })
    await net.recover()
    await net.platform.clock.advance(30_000)
    const replied = (await Promise.all(kept)).filter(({ outcome }) => outcome === 'replied')
    expect(replied).toHaveLength(1_000)
    expect(net.arrivals).toEqual(kept.map((_, at) => `kept ${at}`))
    expect(net.guard.statistics()).toMatchObject({ waiting: 0, bytes: 0 })
    await net.close()
    expect(net.platform.clock.pendingTimers).toBe(0)
  })

  it('bounds one body and all bodies, and says which bound it was', async () => {
    const net = simulatedNetwork({ bytesMax: 100, bodyBytesMax: 60 })
    await net.partition()
    const send = (bytes: number): Promise<SendOutcome<string>> => net.guard.send(net.request('a', { bytes }))
    await expect(send(61)).resolves.toMatchObject({ outcome: 'refused', reason: 'body' })
    const kept = send(60)
    await expect(send(41)).resolves.toMatchObject({ outcome: 'refused', reason: 'bytes' })
    const loaded = net.guard.send(net.request('b', { load: async (room) => room.take(20) && room.take(20) }))
    await net.platform.clock.advance(0)
    expect(net.guard.statistics().bytes).toBe(100)
    const tooMuch = net.guard.send(net.request('c', { load: async (room) => room.take(1) }))
    await expect(tooMuch).resolves.toMatchObject({ outcome: 'refused', reason: 'bytes' })
    const broken = net.guard.send(
      net.request('d', {
        load: async () => {
          throw new Error('the stream broke')
        }
      })
    )
    await expect(broken).resolves.toMatchObject({
      outcome: 'refused',
      reason: 'body',
      error: { message: 'the stream broke' }
    })
    await net.recover()
    await Promise.all([kept, loaded])
    await net.close()
  })

  it('keeps the place of a request whose body is still being read', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const slow = net.guard.send(net.request('slow', { load: () => promise }))
    const quick = net.guard.send(net.request('quick'))
    await net.recover()
    await net.platform.clock.advance(1_000)
    expect(net.arrivals).toEqual([])
    resolve(true)
    await Promise.all([slow, quick])
    expect(net.arrivals).toEqual(['slow', 'quick'])
    await net.close()
  })

  it('goes on at once with a lane whose first turned out not to fit', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const slow = net.guard.send(net.request('slow', { load: () => promise }))
    const quick = net.guard.send(net.request('quick'))
    await net.recover()
    resolve(false)
    await expect(slow).resolves.toMatchObject({ outcome: 'refused', reason: 'body' })
    await net.platform.clock.advance(0)
    expect(net.arrivals).toEqual(['quick'])
    await quick
    await net.close()
  })

  it('counts a request as buffered once, when its body has been read, whatever partitions begin meanwhile', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const slow = net.guard.send(net.request('slow', { load: () => promise }))
    await net.recover()
    await net.partition()
    resolve(true)
    await net.platform.clock.advance(0)
    await net.recover()
    await slow
    const drained = net.events.findLast(({ type }) => type === 'network.drained')
    expect(drained).toMatchObject({ counts: { buffered: 1, replayed: 1, waiting: 0 } })
    await net.close()
  })

  it('reports and settles what is 300 s old, to the millisecond, whatever the wall clock does', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const { clock } = net.platform
    let outcome: SendOutcome<string> | undefined
    void net.guard.send(net.request('a')).then((settled) => {
      outcome = settled
    })
    clock.jumpWallTo(clock.now() + 86_400_000)
    await clock.advance(299_999)
    clock.jumpWallTo(0)
    expect(outcome).toBeUndefined()
    await clock.advance(1)
    expect(outcome).toEqual({ outcome: 'expired', limit: 'age', waitedMs: 300_000, sent: false })
    expect(net.events.at(-1)).toMatchObject({ type: 'request.expired', limit: 'age', waitedMs: 300_000 })
    await net.close()
  })

  it('gives up at that age on a body that is still being read', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const slow = net.guard.send(net.request('a', { load: () => new Promise(() => undefined) }))
    await net.platform.clock.advance(300_000)
    await expect(slow).resolves.toMatchObject({ outcome: 'expired', limit: 'age' })
    await net.close()
    expect(net.platform.clock.pendingTimers).toBe(0)
  })

  it('lets a replay that is under way at that age come to its end, and does not begin another', async () => {
    const net = simulatedNetwork({ ageMaxMs: 30_000 })
    const { clock } = net.platform
    await net.partition()
    const slowly = (outcome: 'replied' | 'lost'): OutboundRequest<string> => ({
      policy: 'idempotent',
      lane: outcome,
      send: async () => {
        await new Promise<void>((resolve) => clock.startTimer(60_000, resolve))
        return outcome === 'replied' ? { outcome, reply: 'at last' } : { outcome, error: new Error('reset') }
      }
    })
    const answered = net.guard.send(slowly('replied'))
    const lost = net.guard.send(slowly('lost'))
    await net.recover()
    await clock.advance(60_000)
    await expect(answered).resolves.toMatchObject({ outcome: 'replied', attempts: 1 })
    await expect(lost).resolves.toMatchObject({ outcome: 'expired', limit: 'age', sent: true })
    await net.close()
  })

  it('says of an expired request whether it may have had an effect', async () => {
    const net = simulatedNetwork({ ageMaxMs: 1_000 })
    net.fate = () => 'late'
    net.up = false
    const lost = net.guard.send(net.request('a'))
    await net.platform.clock.advance(2_000)
    await expect(lost).resolves.toMatchObject({ outcome: 'expired', sent: true })
    await net.close()
  })

  it('holds a caller’s deadline, under way or waiting', async () => {
    const net = simulatedNetwork()
    net.fate = () => 'silent'
    const underWay = net.guard.send(net.request('a', { deadlineMs: 500 }))
    await net.platform.clock.advance(500)
    await expect(underWay).resolves.toMatchObject({ outcome: 'expired', limit: 'deadline', sent: true })
    await net.partition()
    const waiting = net.guard.send(net.request('b', { deadlineMs: 500 }))
    await net.platform.clock.advance(500)
    await expect(waiting).resolves.toMatchObject({ outcome: 'expired', limit: 'deadline', waitedMs: 500, sent: false })
    expect(net.guard.statistics()).toMatchObject({ waiting: 0, sending: 0 })
    await net.close()
    expect(net.platform.clock.pendingTimers).toBe(0)
  })

  it('forgets what its caller gives up, and removes the listener', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const giveUp = new AbortController()
    const given = net.guard.send(net.request('given up'), { signal: giveUp.signal })
    const kept = net.guard.send(net.request('kept'))
    giveUp.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    await expect(net.guard.send(net.request('late'), { signal: giveUp.signal })).rejects.toThrow('enough')
    expect(net.guard.statistics()).toMatchObject({ submitted: 3, aborted: 2, waiting: 1 })
    // Its body is still being read, by whoever does not know yet.
    const reading = Promise.withResolvers<void>()
    const soon = new AbortController()
    const late = net.guard.send(
      net.request('late', { load: async (room) => reading.promise.then(() => room.take(1_000)) }),
      { signal: soon.signal }
    )
    soon.abort(new Error('enough'))
    await expect(late).rejects.toThrow('enough')
    reading.resolve()
    await net.platform.clock.advance(0)
    expect(net.guard.statistics().bytes).toBe(0)
    await net.recover()
    await kept
    expect(net.arrivals).toEqual(['kept'])
    await net.close()
  })

  it('stops replaying at the first failure, keeps the order, and goes on when the network does', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const sent = ['a', 'b', 'c'].map((name) => net.guard.send(net.request(name)))
    net.fate = (name) => {
      if (name !== 'b') return 'reply'
      // The link goes again in the middle of the replay.
      net.up = false
      return 'late'
    }
    net.up = true
    await net.platform.clock.advance(60_000)
    expect(new Set(net.arrivals)).toEqual(new Set(['a', 'b']))
    expect(net.monitor.state).toBe('partitioned')
    net.fate = () => 'reply'
    await net.recover()
    await Promise.all(sent)
    expect(net.arrivals.filter((name, at) => net.arrivals.indexOf(name) === at)).toEqual(['a', 'b', 'c'])
    await net.close()
  })

  it('paces a replay with a token bucket', async () => {
    const net = simulatedNetwork({ replay: { perSecond: 10, burst: 5 } })
    await net.partition()
    for (let at = 0; at < 50; at++) void net.guard.send(net.request(String(at)))
    net.up = true
    while (net.monitor.state !== 'connected') await net.platform.clock.advance(10)
    expect(net.arrivals.length).toBeLessThanOrEqual(6)
    await net.platform.clock.advance(1_000)
    expect(net.arrivals.length).toBeGreaterThanOrEqual(14)
    expect(net.arrivals.length).toBeLessThanOrEqual(16)
    await net.platform.clock.advance(10_000)
    expect(net.arrivals).toHaveLength(50)
    await net.close()
  })

  it('replays lanes side by side, so that one dead host does not hold up the others', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const dead = net.guard.send(net.request('dead', { lane: 'dead' }))
    const alive = net.guard.send(net.request('alive', { lane: 'alive' }))
    net.fate = (name) => (name === 'dead' ? 'silent' : 'reply')
    await net.recover()
    await expect(alive).resolves.toMatchObject({ outcome: 'replied' })
    expect(net.guard.statistics()).toMatchObject({ waiting: 1 })
    await net.close()
    void dead
  })

  it('sends new requests behind those of their lane that still wait, and others at once', async () => {
    const net = simulatedNetwork({ replay: { perSecond: 1, burst: 1 } })
    await net.partition()
    void net.guard.send(net.request('a1', { lane: 'a' }))
    void net.guard.send(net.request('a2', { lane: 'a' }))
    await net.recover()
    void net.guard.send(net.request('a3', { lane: 'a' }))
    void net.guard.send(net.request('b1', { lane: 'b' }))
    void net.guard.send(net.request('write', { lane: 'a', policy: 'never' }))
    await net.platform.clock.advance(10_000)
    expect(net.arrivals.filter((name) => name.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
    expect(net.arrivals.indexOf('b1')).toBeLessThan(net.arrivals.indexOf('a3'))
    expect(net.arrivals.indexOf('write')).toBeLessThan(net.arrivals.indexOf('a3'))
    await net.close()
  })

  it('refuses what waits when it is closed, and what comes after', async () => {
    const net = simulatedNetwork()
    await net.partition()
    const waiting = net.guard.send(net.request('a'))
    await net.guard.close()
    await expect(waiting).resolves.toMatchObject({ outcome: 'refused', reason: 'closed' })
    await expect(net.guard.send(net.request('b'))).resolves.toMatchObject({ outcome: 'refused', reason: 'closed' })
    await net.close()
    expect(net.platform.clock.pendingTimers).toBe(0)
  })

  it.each([
    [{ policy: 'keyed' }, /idempotencyKey/],
    [{ policy: 'keyed', idempotencyKey: 'a\r\nx-evil: 1' }, /idempotencyKey/],
    [{ policy: 'twice' }, /policy/],
    [{ deadlineMs: Number.NaN }, /deadlineMs/],
    [{ bytes: -1 }, /bytes/]
  ])('refuses a request that is none: %j', async (request, message) => {
    const net = simulatedNetwork()
    await expect(net.guard.send(net.request('a', request as never))).rejects.toThrow(message)
    await expect(net.guard.send(null as unknown as OutboundRequest<string>)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
    expect(net.guard.statistics().submitted).toBe(0)
    await net.close()
  })

  it('refuses bounds above the catalog’s, and unknown options', async () => {
    const net = simulatedNetwork()
    const { monitor } = net
    expect(() => createPartitionGuard({ monitor, entriesMax: 1_001 })).toThrow(/entriesMax/)
    expect(() => createPartitionGuard({ monitor, ageMaxMs: 300_001 })).toThrow(/ageMaxMs/)
    expect(() => createPartitionGuard({ monitor, dropOldest: true } as never)).toThrow(
      /dropOldest: there is no such option/
    )
    await net.close()
  })
})
