import assert from 'node:assert/strict'
import { type Case, failure, ids, insert, withTables } from './case.ts'

/** Signals, and closing. */
export const lifetime: readonly Case[] = [
  withTables('does not begin a unit whose signal has aborted, and throws the reason', async (db) => {
    const reason = new Error('no longer wanted')
    let begun = false
    const unit = db.run(
      function* () {
        begun = true
        yield* insert(1)
      },
      { signal: AbortSignal.abort(reason) }
    )
    await assert.rejects(unit, (error) => error === reason)
    assert.equal(begun, false)
    assert.deepEqual(await ids(db), [])
  }),
  withTables('lets a unit whose signal aborts while it waits either finish or leave no trace', async (db) => {
    const reason = new Error('no longer wanted')
    const controllers = Array.from({ length: 20 }, () => new AbortController())
    const units = controllers.map(({ signal }, id) => db.run(() => insert(id), { signal }))
    for (const controller of controllers) controller.abort(reason)
    const settled = await Promise.allSettled(units)
    const done = settled.flatMap((unit, id) => (unit.status === 'fulfilled' ? [id] : []))
    for (const unit of settled) if (unit.status === 'rejected') assert.equal(unit.reason, reason)
    assert.deepEqual(await ids(db), done)
  }),
  withTables('does not mind a signal that aborts after the unit has ended', async (db) => {
    const controller = new AbortController()
    await db.run(() => insert(1), { signal: controller.signal })
    controller.abort()
    assert.deepEqual(await ids(db), [1])
  }),
  withTables('finishes the units under way when it is closed, and begins no more', async (db) => {
    const under = Promise.all(Array.from({ length: 10 }, (_, id) => db.run(() => insert(id))))
    const closing = db.close()
    let begun = false
    const late = db.run(function* () {
      begun = true
      yield* insert(11)
    })
    await failure(late, 'CLOSED')
    await under
    await closing
    await db.close()
    assert.equal(begun, false)
    await failure(
      db.run(() => insert(12)),
      'CLOSED'
    )
  })
]
