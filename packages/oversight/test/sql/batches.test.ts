import type { SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { describe, expect, it } from 'vitest'
import { stage, twoTiers } from '../stage.ts'

/** As Postgres is: several units at a time. */
function counting(db: SqlDatabase): { readonly db: SqlDatabase; readonly units: () => number } {
  let units = 0
  return {
    units: () => units,
    db: {
      ...db,
      supports: { ...db.supports, concurrentWriters: true },
      run(work, options) {
        units += 1
        return db.run(work, options)
      }
    }
  }
}

describe('callers that come at the same time', () => {
  it('share a unit, or as many as there are sixteens of them, and none is run for nobody', async () => {
    const disk = sqliteDatabase({ path: ':memory:' })
    const counted = counting(disk)
    await using s = await stage(twoTiers, { disk: counted.db })
    const before = counted.units()
    await Promise.all(Array.from({ length: 16 }, (_, at) => s.open(`call-${at}`)))
    expect(counted.units() - before).toBe(1)
    await Promise.all(Array.from({ length: 40 }, (_, at) => s.open(`more-${at}`)))
    expect(counted.units() - before).toBe(4)
    await disk.close()
  })
})
