import { changes, firstRow, integerOf, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type CrashPoint, crashPoints, SimulatedCrash, unlessCrashed } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

async function newDisk(): Promise<SqlDatabase> {
  const disk = sqliteDatabase({ path: ':memory:' })
  await disk.run(function* () {
    yield* changes('create table entries (name text primary key, amount integer not null) strict')
  })
  return disk
}

const put = (db: SqlDatabase, ...names: readonly string[]): Promise<void> =>
  db.run(function* () {
    for (const name of names) yield* changes('insert into entries (name, amount) values (?, 1)', name)
  })

const stored = (db: SqlDatabase): Promise<string[]> =>
  db.run(function* () {
    return (yield* rows('select name from entries order by name')).map((row) => String(row['name']))
  })

describe('crash points', () => {
  it('are one before each unit, one between each two statements, and two at its commit', async () => {
    const seen: [CrashPoint, string[]][] = []
    for (let at = 0; ; at++) {
      await using disk = await newDisk()
      const db = crashPoints(disk, { at })
      const scenario = async (): Promise<void> => {
        await put(db, 'a', 'b', 'c')
        await put(db, 'd')
      }
      await scenario().catch(unlessCrashed)
      if (db.crashed === undefined) {
        expect(db.passed).toBe(at)
        expect(await stored(disk)).toEqual(['a', 'b', 'c', 'd'])
        break
      }
      seen.push([db.crashed, await stored(disk)])
    }
    expect(seen).toEqual([
      [{ at: 'begin' }, []],
      [{ at: 'statement', after: 1 }, []],
      [{ at: 'statement', after: 2 }, []],
      [{ at: 'commit-lost' }, []],
      [{ at: 'reply-lost' }, ['a', 'b', 'c']],
      [{ at: 'begin' }, ['a', 'b', 'c']],
      [{ at: 'commit-lost' }, ['a', 'b', 'c']],
      [{ at: 'reply-lost' }, ['a', 'b', 'c', 'd']]
    ])
  })

  it('leave the process dead: every later call throws the same crash and does nothing', async () => {
    await using disk = await newDisk()
    const db = crashPoints(disk, { at: 3 })
    const crash = await put(db, 'a', 'b').catch((error: unknown) => error)
    expect(crash).toBeInstanceOf(SimulatedCrash)
    expect(crash).toMatchObject({ name: 'SimulatedCrash', point: { at: 'reply-lost' } })
    await expect(put(db, 'c')).rejects.toBe(crash)
    await expect(stored(db)).rejects.toBe(crash)
    await db.close()
    expect(await stored(disk)).toEqual(['a', 'b'])
  })

  it('take the units under way down with the process', async () => {
    await using disk = await newDisk()
    // Three units wait together, and the second dies at its commit; the third is grouped with it and never heard of.
    const db = crashPoints(disk, { at: 4 })
    const outcomes = await Promise.allSettled([put(db, 'a'), put(db, 'b'), put(db, 'c')])
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(db.crashed).toEqual({ at: 'commit-lost' })
    expect(await stored(disk)).toEqual(['a'])
  })

  it('leave the database open for a restart', async () => {
    await using disk = await newDisk()
    await put(crashPoints(disk, { at: 0 }), 'a').catch(unlessCrashed)
    const restarted = crashPoints(disk, { at: Number.POSITIVE_INFINITY })
    await put(restarted, 'a')
    await restarted.close()
    expect(await stored(disk)).toEqual(['a'])
  })

  it('pass on what the unit throws and gives, and are not mistaken for its errors', async () => {
    await using disk = await newDisk()
    const db = crashPoints(disk, { at: Number.POSITIVE_INFINITY })
    await expect(
      db.run(function* () {
        yield* changes('insert into entries (name, amount) values (?, 1)', 'a')
        throw new Error('changed my mind')
      })
    ).rejects.toThrow('changed my mind')
    await put(db, 'b')
    await expect(put(db, 'b')).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATED' })
    const count = await db.run(function* () {
      const row = yield* firstRow('select count(*) as n from entries')
      return row === undefined ? 0 : integerOf(row, 'n')
    })
    expect(count).toBe(1)
    expect(() => unlessCrashed(new Error('a real fault'))).toThrow('a real fault')
  })

  it('run the finally blocks of a unit that would go on after a failed statement', async () => {
    await using disk = await newDisk()
    const db = crashPoints(disk, { at: Number.POSITIVE_INFINITY })
    let released = false
    const unit = db.run(function* () {
      try {
        yield* changes('insert into nowhere (name) values (1)')
      } catch {
        try {
          yield* changes('insert into entries (name, amount) values (?, 1)', 'a')
        } finally {
          released = true
        }
      }
    })
    await expect(unit).rejects.toMatchObject({ code: 'STATEMENT_FAILED' })
    expect(released).toBe(true)
    expect(await stored(disk)).toEqual([])
  })

  it('run the finally blocks of a unit that dies', async () => {
    await using disk = await newDisk()
    const db = crashPoints(disk, { at: 1 })
    let released = false
    const unit = db.run(function* () {
      try {
        yield* changes('insert into entries (name, amount) values (?, 1)', 'a')
        yield* changes('insert into entries (name, amount) values (?, 1)', 'b')
      } finally {
        released = true
      }
    })
    await expect(unit).rejects.toBeInstanceOf(SimulatedCrash)
    expect(released).toBe(true)
  })
})
