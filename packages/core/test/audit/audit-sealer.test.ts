import {
  type AuditSealer,
  auditSchema,
  type CheckpointSink,
  createAuditLog,
  createAuditSealer,
  functionCheckpointSink,
  proveConsistency,
  proveEntry,
  readCheckpoint,
  sqlCheckpointSink,
  verifyAuditLog,
  verifyConsistency,
  verifyEntryProof
} from '@enablement/core/audit'
import { admitFence, lockSchema } from '@enablement/core/lock'
import { startWorker } from '@enablement/core/schedule'
import { execute, firstRow, integerOf, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { describe, expect, inject, it } from 'vitest'
import { AT, draft, key, type SealedLog, sealedLog, signer } from './sealed-log.ts'

const { signal } = new AbortController()
const { verifierKey } = key
/** Each crash point is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))

const runOnce = (sealer: AuditSealer): Promise<{ readonly handled: number }> => sealer.duty.run({ signal })

/** The sink of a world in which sending can fail, before or after it had its effect. */
function faultySink(inner: CheckpointSink, fault: () => 'before' | 'after' | undefined): CheckpointSink {
  return {
    supports: inner.supports,
    newest: (origin) => inner.newest(origin),
    async keep(offer) {
      const when = fault()
      if (when === 'before') throw new Error('the sink is down')
      const verdict = await inner.keep(offer)
      if (when === 'after') throw new Error('the sink’s reply was lost')
      return verdict
    }
  }
}

/** Texts of the statements that run while `work` does, and how many rows each changed. */
async function watched(db: SqlDatabase): Promise<{ readonly db: SqlDatabase; readonly texts: string[] }> {
  const texts: string[] = []
  return {
    texts,
    db: {
      ...db,
      run: (work, options) =>
        db.run(function* () {
          const unit = work()
          for (let turn = unit.next(); ; ) {
            if (turn.done === true) return turn.value
            texts.push(turn.value.text)
            turn = unit.next(yield turn.value)
          }
        }, options)
    }
  }
}

describe('a sealer', () => {
  it('makes leaves of entries in their order, per tenant and without gaps', async () => {
    await using stage = await sealedLog()
    for (let number = 0; number < 30; number++) await stage.log.record(draft(number, `tenant-${number % 3}`))
    expect(await stage.seal()).toBe(30 + 3)
    for (const tenant of ['tenant-0', 'tenant-1', 'tenant-2']) {
      const entries = await stage.log.read(tenant)
      expect(entries.map(({ leafIndex }) => leafIndex)).toEqual(Array.from({ length: 10 }, (_, at) => at))
      expect(entries.map(({ subject }) => subject)).toEqual([...entries].map(({ subject }) => subject).sort(byNumber))
      expect(await verifyAuditLog(stage.db, tenant, { verifierKey })).toMatchObject({ outcome: 'intact', signed: 10 })
    }
  })

  it('seals in bounded units, and every tenant gets its turn', async () => {
    await using stage = await sealedLog({ batchRows: 3 })
    for (let number = 0; number < 20; number++) await stage.log.record(draft(number, 'busy'))
    await stage.log.record(draft(1, 'quiet'))
    const sealed: string[] = []
    const { db } = await watched(stage.db)
    const counted = stage.another({
      db: {
        ...db,
        run: async (work, options) => {
          const result = await db.run(work, options)
          const [row] = await stage.db.run(() =>
            rows(`select count(*) as n, count(case when tenant = 'quiet' then 1 end) as q from audit_entries
                  where leaf_index is not null`)
          )
          sealed.push([row?.['n'], row?.['q']].join('/'))
          return result
        }
      }
    })
    await stage.seal(counted)
    const steps = [...new Set(sealed)].map((step) => step.split('/').map(Number))
    for (const [at, [n = 0]] of steps.entries()) expect(n - (steps[at - 1]?.[0] ?? 0)).toBeLessThanOrEqual(3)
    // Three of the busy one, then one of the quiet one.
    expect(steps[2]).toEqual([4, 1])
  })

  it('signs each tree once for each time that it has grown, and each goes on from the last', async () => {
    await using stage = await sealedLog()
    const notes: string[] = []
    for (let round = 0; round < 5; round++) {
      for (let number = 0; number <= round; number++) await stage.log.record(draft(`${round}/${number}`))
      await stage.seal()
      notes.push(await stage.kept())
      expect(await runOnce(stage.sealer)).toEqual({ handled: 0 })
    }
    const checkpoints = notes.map((note) => readCheckpoint(note))
    expect(checkpoints.map((one) => one?.size)).toEqual([1, 3, 6, 10, 15])
    for (const [at, newer] of checkpoints.entries()) {
      const older = checkpoints[at - 1]
      if (older === undefined || newer === undefined) continue
      const proof = await proveConsistency(stage.db, { tenant: 'org_42', fromSize: older.size, size: newer.size })
      const claim = { fromSize: older.size, fromRoot: older.root, size: newer.size, root: newer.root }
      expect(verifyConsistency(claim, proof ?? [])).toBe(true)
    }
    expect(await verifyAuditLog(stage.db, 'org_42', { verifierKey, checkpoints: notes })).toMatchObject({
      outcome: 'intact',
      checkpoints: 5
    })
    expect(stage.events).toEqual([])
  })

  it('signs the trees of chained logs too', async () => {
    await using stage = await sealedLog()
    const chained = createAuditLog({ db: stage.db, ordering: 'chained', platform: stage.platform })
    for (let number = 0; number < 3; number++) await chained.record(draft(number))
    expect(await stage.seal()).toBe(1)
    expect(await stage.kept()).toContain('\n3\n')
  })

  it('writes nothing and takes no lock while there is nothing to do', async () => {
    await using stage = await sealedLog()
    const { db, texts } = await watched(stage.db)
    const idle = stage.another({ db })
    expect(await runOnce(idle)).toEqual({ handled: 0 })
    expect(texts.length).toBeGreaterThan(0)
    expect(texts.filter((text) => !text.trimStart().startsWith('select'))).toEqual([])
  })

  const damages: readonly (readonly [string, (stage: SealedLog) => Promise<unknown>])[] = [
    [
      'has no edge',
      ({ db }) => db.run(() => execute(`update audit_heads set edge = ? where tenant = 'a'`, new Uint8Array(3)))
    ],
    [
      'was set back',
      ({ db }) =>
        db.run(() => execute(`update audit_heads set size = 0, edge = ? where tenant = 'a'`, new Uint8Array(0)))
    ]
  ]
  it.for(damages)('seals and signs the others beside a log whose head %s, and says so', async ([, damage]) => {
    await using stage = await sealedLog()
    await stage.log.record(draft(1, 'a'))
    await stage.seal()
    await damage(stage)
    for (const tenant of ['Z', 'a', 'b']) await stage.log.record(draft(2, tenant))
    await stage.seal()
    expect(await stage.kept('Z')).toContain('\n1\n')
    expect(await stage.kept('b')).toContain('\n1\n')
    expect(await stage.log.read('a')).toMatchObject([{ leafIndex: 0 }, { leafIndex: undefined }])
    const told = { type: 'audit.sealing-failed', tenant: 'a', error: { code: 'STORE_DAMAGED' } }
    expect(stage.events.find(({ type }) => type === 'audit.sealing-failed')).toMatchObject(told)
  })

  it('signs the others beside a log whose head is damaged, without a rest', async () => {
    await using stage = await sealedLog()
    for (const tenant of ['a', 'b']) {
      await createAuditLog({ db: stage.db, ordering: 'chained', platform: stage.platform }).record(draft(1, tenant))
    }
    await damages[0]?.[1](stage)
    await runOnce(stage.sealer)
    expect(await stage.kept('b')).toContain('\n1\n')
    expect(stage.events).toEqual([
      { type: 'audit.log-damaged', tenant: 'a', damage: 'unreadable', size: 0, signedSize: 0 }
    ])
  })

  it('puts the node of the tree in the place of one that somebody else has stored', async () => {
    await using stage = await sealedLog()
    await stage.db.run(function* () {
      for (let number = 0; number < 256; number++) yield* stage.log.append(draft(number))
      const planted = 'insert into audit_nodes(tenant, level, node_index, hash) values (?, 8, 0, ?)'
      yield* execute(planted, 'org_42', new Uint8Array(32))
    })
    await stage.seal()
    expect(await stage.log.verify('org_42')).toMatchObject({ outcome: 'intact', signed: 256 })
  })

  it('runs in a worker', async () => {
    await using stage = await sealedLog()
    await using worker = startWorker({ duties: [stage.sealer.duty], platform: stage.platform })
    await stage.log.record(draft(1))
    worker.wake()
    while ((await stage.kept()) === '') await stage.platform.clock.advance(100)
    expect(worker.health().duties[0]).toMatchObject({ name: 'audit.sealer', failures: 0 })
  })

  it('refuses options that are not known, and a name that no signature line can bear', async () => {
    await using stage = await sealedLog()
    const right = { db: stage.db, signer, sink: stage.sink }
    for (const wrong of [
      { batchRows: 0 },
      { window: { maxMs: -1 } },
      { window: { maxRows: Number.NaN } },
      { sinkTimeoutMs: Number.POSITIVE_INFINITY },
      { sink: {} },
      { signer: { ...signer, name: 'a b' } },
      { signer: { ...signer, name: 'a'.repeat(513) } },
      { signer: { sign: signer.sign } },
      { signer: { ...signer, publicKey: new Uint8Array(31) } },
      { keys: [] }
    ]) {
      expect(() => createAuditSealer({ ...right, ...wrong } as never)).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS' })
      )
    }
  })
})

const byNumber = (one: string, other: string): number => Number(one.split(':')[1]) - Number(other.split(':')[1])

describe('an entry’s proof', () => {
  it('leads from the entry to a signed checkpoint, for whoever has the key alone', async () => {
    await using stage = await sealedLog()
    const refs = []
    for (let number = 0; number < 300; number++) refs.push(await stage.log.record(draft(number)))
    await stage.seal()
    for (const at of [0, 1, 127, 255, 256, 299]) {
      const found = await proveEntry(stage.db, refs[at] as (typeof refs)[0])
      expect(found).toMatchObject({ outcome: 'proved', proof: { leafIndex: at } })
      if (found.outcome !== 'proved') continue
      const proof = JSON.parse(JSON.stringify(found.proof)) as typeof found.proof
      expect(proof.entry).toContain(`"request:${at}"`)
      expect(verifyEntryProof(proof, verifierKey)).toBe(true)
      for (const changed of [
        { entry: proof.entry.replace('bo', 'al') },
        { leafIndex: at + 1 },
        { leafIndex: -1 },
        { path: proof.path.slice(1) },
        { path: proof.path.with(0, 'no hash') },
        { tenant: 'other' },
        { checkpoint: proof.checkpoint.replace('\n300\n', '\n301\n') },
        { checkpoint: '' },
        { checkpoint: 5 },
        { entry: null },
        { entry: `${proof.entry}\ud800` },
        { path: 'no array' },
        { path: undefined }
      ] as readonly object[]) {
        const verified = verifyEntryProof({ ...proof, ...changed }, verifierKey)
        expect({ changed, verified }).toEqual({ changed, verified: false })
      }
    }
    for (const wrong of [null, undefined, 'text', []]) expect(verifyEntryProof(wrong as never, verifierKey)).toBe(false)
  })

  it('is there when the entry is signed, and not of what is not there', async () => {
    await using stage = await sealedLog()
    const ref = await stage.log.record(draft(1))
    expect(await proveEntry(stage.db, ref)).toEqual({ outcome: 'unsigned' })
    expect(await proveEntry(stage.db, { tenant: 'other', id: ref.id })).toEqual({ outcome: 'unknown' })
    await stage.seal()
    expect(await proveEntry(stage.db, ref)).toMatchObject({ outcome: 'proved' })
    expect(await proveConsistency(stage.db, { tenant: 'org_42', fromSize: 1, size: 2 })).toBeUndefined()
  })
})

describe('a sealer whose process dies', () => {
  it('leaves a log that the next one seals and signs whole, whichever step it died at', async () => {
    let points = 0
    for (let at = 0; ; at += stride) {
      await using stage = await sealedLog()
      for (let number = 0; number < 5; number++) await stage.log.record(draft(number, `tenant-${number % 2}`))
      const db = crashPoints(stage.db, { at })
      await stage.seal(stage.another({ db, batchRows: 2 })).catch(unlessCrashed)
      points = db.passed
      // The lease of the dead one ends by itself.
      await stage.platform.clock.advance(30_001)
      await stage.log.record(draft('later', 'tenant-0'))
      await stage.seal(stage.another())
      for (const [tenant, entries] of [
        ['tenant-0', 4],
        ['tenant-1', 2]
      ] as const) {
        const note = await stage.kept(tenant)
        const options = { verifierKey, checkpoints: [note], platform: stage.platform }
        expect(await verifyAuditLog(stage.db, tenant, options)).toMatchObject({
          outcome: 'intact',
          sealed: entries,
          signed: entries,
          checkpoints: 1
        })
      }
      expect(stage.events.filter(({ type }) => !type.startsWith('audit.window'))).toEqual(
        db.crashed === undefined ? [] : stage.events.filter(({ type }) => type === 'audit.checkpoint-failed')
      )
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(40)
  })
})

describe('a sealer that lost its lead', () => {
  it('changes nothing with its stale fence, though it does not know (pitfall 10)', async () => {
    await using stage = await sealedLog()
    await stage.log.record(draft(1))
    // Its clocks stand, as in a process that is paused; the store's go on.
    const stopped = testPlatform({ now: AT })
    let units = 0
    const late: SqlDatabase = {
      ...stage.db,
      run: async (work, options) => {
        units += 1
        // Before the unit that seals: look for work, take the lock, look for tenants, and now.
        if (units === 4) {
          stage.platform.clock.jumpWallTo(AT + 31_000)
          await stage.seal(stage.another())
          await stage.log.record(draft(2))
        }
        return stage.db.run(work, options)
      }
    }
    await expect(runOnce(stage.another({ db: late, platform: stopped }))).rejects.toMatchObject({
      code: 'LOCK_LOST',
      cause: { code: 'CONSTRAINT_VIOLATED', detail: { constraint: 'lock_fences' } }
    })
    expect(await stage.log.read('org_42')).toMatchObject([{ leafIndex: 0 }, { leafIndex: undefined }])
    expect(await stage.kept()).toContain('\n1\n')
  })

  it('notes no checkpoint either', async () => {
    await using stage = await sealedLog()
    await stage.log.record(draft(1))
    const overtaken: CheckpointSink = {
      ...stage.sink,
      keep: async (offer) => {
        const verdict = await stage.sink.keep(offer)
        await stage.db.run(() => admitFence('audit.sealer', Number.MAX_SAFE_INTEGER))
        return verdict
      }
    }
    await expect(runOnce(stage.another({ sink: overtaken }))).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    const head = await stage.db.run(() => firstRow('select size, signed_size, checkpoint from audit_heads'))
    expect(head).toEqual({ size: 1, signed_size: 0, checkpoint: null })
  })

  it('of two that run at once one leads, and the other has nothing to do', async () => {
    await using stage = await sealedLog({ batchRows: 2 })
    for (let number = 0; number < 40; number++) await stage.log.record(draft(number))
    const others = [stage.sealer, stage.another(), stage.another(), stage.another()]
    await Promise.all(others.map(runOnce))
    await Promise.all(others.map((one) => stage.seal(one)))
    expect(await verifyAuditLog(stage.db, 'org_42', { verifierKey })).toMatchObject({ sealed: 40, signed: 40 })
    expect(stage.events).toEqual([])
  })
})

describe('a sink that fails', () => {
  it('gets its checkpoints at least once, and sealing goes on meanwhile', async () => {
    let fault: 'before' | 'after' | undefined = 'before'
    await using stage = await sealedLog()
    const sealer = stage.another({ sink: faultySink(stage.sink, () => fault) })
    await stage.log.record(draft(1))
    expect(await runOnce(sealer)).toEqual({ handled: 1 })
    expect(stage.events).toMatchObject([{ type: 'audit.checkpoint-failed', tenant: 'org_42', retryInMs: 1_000 }])
    // It rests, and is not asked meanwhile.
    expect(await runOnce(sealer)).toEqual({ handled: 0 })
    expect(stage.events).toHaveLength(1)
    await stage.log.record(draft(2))
    expect(await runOnce(sealer)).toEqual({ handled: 1 })
    await stage.platform.clock.advance(1_000)
    fault = 'after'
    await runOnce(sealer)
    expect(stage.events.at(-1)).toMatchObject({ type: 'audit.checkpoint-failed', retryInMs: 2_000 })
    await stage.platform.clock.advance(2_000)
    fault = undefined
    expect(await runOnce(sealer)).toEqual({ handled: 1 })
    expect(await stage.kept()).toContain('\n2\n')
    expect(await sealer.backlog()).toEqual({ unsealedRows: 0, unsignedRows: 0, oldestAt: undefined })
  })

  it('rests for a minute at the longest, and from a second again after a success', async () => {
    let down = true
    await using stage = await sealedLog()
    const sealer = stage.another({ sink: faultySink(stage.sink, () => (down ? 'before' : undefined)) })
    await stage.log.record(draft(1))
    const rests = async (): Promise<number> => {
      await runOnce(sealer)
      const last = stage.events.filter((event) => event.type === 'audit.checkpoint-failed').at(-1)
      await stage.platform.clock.advance(last?.retryInMs ?? 0)
      return last?.retryInMs ?? 0
    }
    const seen: number[] = []
    for (let at = 0; at < 9; at++) seen.push(await rests())
    expect(seen).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
    down = false
    await runOnce(sealer)
    down = true
    await stage.log.record(draft(2))
    expect(await rests()).toBe(1_000)
  })

  it('that hangs is given up', async () => {
    await using stage = await sealedLog()
    let aborted = false
    const hanging: CheckpointSink = {
      ...stage.sink,
      keep: (_offer, options) =>
        new Promise(() => {
          const onAbort = (): void => {
            aborted = true
          }
          options?.signal?.addEventListener('abort', onAbort, { once: true })
        })
    }
    const sealer = stage.another({ sink: hanging, sinkTimeoutMs: 500 })
    await stage.log.record(draft(1))
    const running = runOnce(sealer)
    let done = false
    const ended = running.then(() => {
      done = true
    })
    while (!done) await stage.platform.clock.advance(100)
    await ended
    expect(aborted).toBe(true)
    expect(stage.events).toMatchObject([{ type: 'audit.checkpoint-failed', error: { code: 'TIMED_OUT' } }])
  })

  it('for one log holds up no other', async () => {
    await using stage = await sealedLog()
    for (const tenant of ['a', 'b', 'c', 'd']) await stage.log.record(draft(1, tenant))
    const picky: CheckpointSink = {
      ...stage.sink,
      newest: async (origin) => (origin.endsWith('/b') ? 'no note at all' : stage.sink.newest(origin))
    }
    const sealer = stage.another({ sink: picky })
    for (let round = 0; round < 6; round++) {
      await runOnce(sealer)
      await stage.platform.clock.advance(2_000)
    }
    expect(await Promise.all(['a', 'b', 'c', 'd'].map((tenant) => stage.kept(tenant)))).toEqual([
      expect.stringContaining('/a\n1\n'),
      '',
      expect.stringContaining('/c\n1\n'),
      expect.stringContaining('/d\n1\n')
    ])
    expect(stage.events[0]).toMatchObject({ tenant: 'b', error: { code: 'STORE_DAMAGED' } })
  })

  it('that refuses is reported with its reason', async () => {
    await using stage = await sealedLog()
    await stage.log.record(draft(1))
    const refusing: CheckpointSink = {
      ...stage.sink,
      keep: async () => ({ outcome: 'refused', reason: 'different', newestSize: 7 })
    }
    expect(await runOnce(stage.another({ sink: refusing }))).toEqual({ handled: 1 })
    expect(stage.events).toEqual([
      { type: 'audit.checkpoint-refused', tenant: 'org_42', size: 1, reason: 'different', newestSize: 7 }
    ])
  })

  it('is not asked for a signature that the signer fails to give', async () => {
    await using stage = await sealedLog()
    await stage.log.record(draft(1))
    const failing = {
      ...signer,
      sign: async () => {
        throw new Error('the key is in use')
      }
    }
    await runOnce(stage.another({ signer: failing }))
    expect(stage.events).toMatchObject([{ type: 'audit.checkpoint-failed', error: { message: 'the key is in use' } }])
    expect(await stage.kept()).toBe('')
  })

  it('is not given a signature that is not by the signer’s key, which it would keep for ever', async () => {
    await using stage = await sealedLog()
    await stage.log.record(draft(1))
    for (const sign of [() => new Uint8Array(64), () => new Uint8Array(0), () => undefined as never]) {
      await runOnce(stage.another({ signer: { ...signer, sign } }))
    }
    const told = {
      type: 'audit.checkpoint-failed',
      error: { code: 'INVALID_OPTIONS', detail: { issues: [{ path: 'sign' }] } }
    }
    expect(stage.events).toMatchObject([told, told, told])
    expect(await stage.kept()).toBe('')
  })

  it('that two leaders reach in a race ends up with one history', async () => {
    await using stage = await sealedLog()
    const sink = functionCheckpointSink({ send: async () => {} })
    await stage.log.record(draft(1))
    // The second leader's checkpoint comes between the first one's look and its offer.
    let raced = false
    const racing: CheckpointSink = {
      ...sink,
      keep: async (offer, options) => {
        if (!raced) {
          raced = true
          await stage.log.record(draft(2))
          await stage.platform.clock.advance(30_001)
          await stage.seal(stage.another({ sink }))
        }
        return sink.keep(offer, options)
      }
    }
    const stopped = testPlatform({ now: AT })
    await runOnce(stage.another({ sink: racing, platform: stopped })).catch(() => {})
    expect(stage.events).toContainEqual(
      expect.objectContaining({ type: 'audit.checkpoint-refused', reason: 'smaller', size: 1, newestSize: 2 })
    )
    expect(await verifyAuditLog(stage.db, 'org_42', { verifierKey })).toMatchObject({ outcome: 'intact', signed: 2 })
  })
})

describe('the window', () => {
  it('is what nobody has signed, and says how old that is', async () => {
    await using stage = await sealedLog()
    expect(await stage.sealer.backlog()).toEqual({ unsealedRows: 0, unsignedRows: 0, oldestAt: undefined })
    const chained = createAuditLog({ db: stage.db, ordering: 'chained', platform: stage.platform })
    await chained.record(draft(1))
    await stage.platform.clock.advance(5_000)
    for (let number = 0; number < 3; number++) await stage.log.record(draft(number, 'other'))
    expect(await stage.sealer.backlog()).toEqual({ unsealedRows: 3, unsignedRows: 1, oldestAt: AT })
    await stage.seal()
    expect(await stage.sealer.backlog()).toEqual({ unsealedRows: 0, unsignedRows: 0, oldestAt: undefined })
  })

  it('is reported once when it is exceeded, by age or by number, and once when it is kept again', async () => {
    let down = true
    await using stage = await sealedLog({ window: { maxMs: 60_000, maxRows: 5 } })
    const sealer = stage.another({ sink: faultySink(stage.sink, () => (down ? 'before' : undefined)) })
    const told = () => stage.events.filter(({ type }) => type.startsWith('audit.window'))
    await stage.log.record(draft(1))
    await runOnce(sealer)
    expect(sealer.duty.status?.()).toEqual({ lagMs: 0, setAside: 0 })
    await stage.platform.clock.advance(60_000)
    await runOnce(sealer)
    expect(told()).toEqual([])
    expect(sealer.duty.status?.()).toEqual({ lagMs: 60_000, setAside: 0 })
    await stage.platform.clock.advance(1)
    await runOnce(sealer)
    await runOnce(sealer)
    expect(told()).toEqual([{ type: 'audit.window-exceeded', rows: 1, ageMs: 60_001 }])
    down = false
    await stage.platform.clock.advance(60_000)
    await runOnce(sealer)
    await runOnce(sealer)
    expect(told().slice(1)).toEqual([{ type: 'audit.window-restored', exceededForMs: 60_000 }])
    for (let number = 0; number < 6; number++) await stage.log.record(draft(number))
    await runOnce(sealer)
    expect(told().slice(2)).toMatchObject([{ type: 'audit.window-exceeded', rows: 6 }])
  })

  it('is watched by sealers that do not lead as well', async () => {
    await using stage = await sealedLog()
    await stage.log.record(draft(1))
    await stage.platform.clock.advance(61_000)
    // Somebody has the lead and does nothing with it.
    await stage.db.run(() =>
      execute(
        'insert into lock_leases(name, owner, fence, expires_at, used_at) values (?, ?, ?, ?, 0)',
        'audit.sealer',
        'somebody',
        1,
        AT + 1e9
      )
    )
    expect(await runOnce(stage.sealer)).toEqual({ handled: 0 })
    expect(stage.events).toMatchObject([{ type: 'audit.window-exceeded' }])
    expect(await stage.kept()).toBe('')
  })

  it('counts no further than it needs to', async () => {
    await using stage = await sealedLog({ window: { maxRows: 3 } })
    for (let number = 0; number < 10; number++) await stage.log.record(draft(number))
    expect((await stage.sealer.backlog()).unsealedRows).toBe(4)
  })
})

describe('a tree on disk', () => {
  it('costs one stored node for 256 leaves', async () => {
    const db = sqliteDatabase({ path: ':memory:' })
    const platform = testPlatform({ now: AT })
    await migrate(db, [auditSchema, lockSchema])
    const log = createAuditLog({ db, ordering: 'chained', platform })
    await db.run(function* () {
      for (let number = 0; number < 520; number++) yield* log.append(draft(number))
    })
    const [row] = await db.run(() => rows('select count(*) as nodes from audit_nodes'))
    expect(integerOf(row ?? {}, 'nodes')).toBe(2)
    const sink = sqlCheckpointSink({ db })
    const sealer = createAuditSealer({ db: withStoreClock(db, platform.clock), signer, sink, platform })
    await runOnce(sealer)
    expect(await log.verify('org_42')).toMatchObject({ outcome: 'intact', sealed: 520, signed: 520 })
    await db.close()
  })
})

describe('a verification beside a sealer', () => {
  /** Verifies, and lets the sealer run just before the unit number `at`. Says whether there was one. */
  const sealedBefore = async (stage: SealedLog, at: number) => {
    let units = 0
    const db: SqlDatabase = {
      ...stage.db,
      run: async (work, options) => {
        if (units++ === at) await stage.seal()
        return stage.db.run(work, options)
      }
    }
    return { integrity: await verifyAuditLog(db, 'org_42'), sealed: units > at }
  }

  it('looks at each entry that was there, whenever it is sealed, and counts it once', async () => {
    for (let at = 0; ; at++) {
      await using stage = await sealedLog()
      for (let number = 0; number < 3; number++) await stage.log.record(draft(number))
      await stage.seal()
      for (let number = 3; number < 5; number++) await stage.log.record(draft(number))
      const { integrity, sealed } = await sealedBefore(stage, at)
      if (!sealed) break
      expect(integrity).toMatchObject({ outcome: 'intact', entries: 5 })
    }
  })

  it('finds one that was edited, whenever it is sealed', async () => {
    for (let at = 0; ; at++) {
      await using stage = await sealedLog()
      for (let number = 0; number < 5; number++) await stage.log.record(draft(number))
      const edit = `update audit_entries set entry = replace(entry, 'bo', 'al') where subject = 'request:4'`
      await stage.db.run(() => execute(edit))
      const { integrity, sealed } = await sealedBefore(stage, at)
      if (!sealed) break
      expect(integrity).toMatchObject({ outcome: 'broken', reason: 'entry-changed' })
    }
  })
})
