import { writeSync } from 'node:fs'
import { execute } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'

// Commits notes from 16 callers and writes down the number of each one as soon as it is acknowledged, until it is
// killed or the disk refuses; then it says with which code.
const [path = '', sizeText = '1'] = process.argv.slice(2)
const db = sqliteDatabase({ path })
await db.run(() => execute('create table if not exists notes (id integer primary key, body text not null) strict'))
const body = 'x'.repeat(Number(sizeText))
let next = 0
const codes = new Set<string>()
const caller = async (): Promise<void> => {
  while (codes.size === 0) {
    const id = next++
    try {
      await db.run(() => execute('insert into notes(id, body) values (?, ?)', id, body))
      writeSync(1, `${id}\n`)
    } catch (error) {
      codes.add((error as { code: string }).code)
    }
  }
}
await Promise.all(Array.from({ length: 16 }, caller))
writeSync(1, `${[...codes].join()}\n`)
// Ends without closing, as a process does that gives up: the log stays as the failure left it.
process.exit(0)
