import { admitFence, assertFence, lockSchema } from '@enablement/core/lock'
import { execute, firstRow, integerOf, migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { describe, expect, it } from 'vitest'

async function guarded() {
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [lockSchema])
  await db.run(() => execute('create table writes (fence integer not null) strict'))
  return db
}

describe('a fenced resource', () => {
  it('admits fences that grow or stay, and no lower one', async () => {
    await using db = await guarded()
    const answers: unknown[] = []
    for (const fence of [5, 5, 9, 7, 9, 10]) answers.push(await db.run(() => admitFence('report', fence)))
    const admitted = { outcome: 'admitted' }
    expect(answers).toEqual([admitted, admitted, admitted, { outcome: 'stale', highest: 9 }, admitted, admitted])
  })

  it('knows nothing of the fences of others', async () => {
    await using db = await guarded()
    await db.run(() => admitFence('one', 9))
    expect(await db.run(() => admitFence('two', 1))).toEqual({ outcome: 'admitted' })
  })

  it('rolls back the unit of a stale holder that asserts its fence, wherever in it that is', async () => {
    await using db = await guarded()
    await db.run(() => assertFence('report', 9))
    const stale = db.run(function* () {
      yield* execute('insert into writes(fence) values (8)')
      yield* assertFence('report', 8)
    })
    await expect(stale).rejects.toMatchObject({
      code: 'CONSTRAINT_VIOLATED',
      message: 'fence 8 is stale for report, which has seen 9',
      detail: { constraint: 'lock_fences' }
    })
    const row = await db.run(() => firstRow('select count(*) as written from writes'))
    expect(integerOf(row ?? {}, 'written')).toBe(0)
  })

  it('forgets a fence whose unit was rolled back', async () => {
    await using db = await guarded()
    const failing = db.run(function* () {
      yield* assertFence('report', 9)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await db.run(() => admitFence('report', 8))).toEqual({ outcome: 'admitted' })
  })

  it.each([
    ['', 1, 'resource'],
    ['a\0b', 1, 'resource'],
    ['\ud800', 1, 'resource'],
    ['x'.repeat(257), 1, 'resource'],
    ['report', 0, 'fence'],
    ['report', -1, 'fence'],
    ['report', 1.5, 'fence'],
    ['report', Number.NaN, 'fence'],
    ['report', 2 ** 53, 'fence']
  ])('refuses %j with fence %d', (resource, fence, path) => {
    for (const guard of [admitFence, assertFence]) {
      expect(() => guard(resource, fence)).toThrow(
        expect.objectContaining({
          code: 'INVALID_OPTIONS',
          detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] })
        })
      )
    }
  })
})
