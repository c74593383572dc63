/**
 * PGlite for tests. Its `initdb` takes three seconds, once for every instance; a copy of a finished data folder loads in
 * half of one, so one is made per version and kept in .toolchain/.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { PGlite } from '@electric-sql/pglite'
import { toolchain } from './locate.ts'

// The package's manifest is not among its exports, but it lies beside its `dist`.
const manifest = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'))
const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { readonly version: string }
const image = path.join(toolchain, `pglite-${version}.tar`)

let shared: Promise<PGlite> | undefined

/**
 * The one instance of this thread, in memory, emptied. For tests that need no instance of their own: a test worker runs
 * one file after the other, and each start costs as much as some hundred statements. It ends with the thread.
 */
export async function emptyPglite(): Promise<PGlite> {
  shared ??= startPglite()
  const pglite = await shared
  await pglite.exec('reset all; drop schema public cascade; create schema public')
  return pglite
}

/** A fresh instance, in memory unless a folder is named. */
export async function startPglite(folder?: string): Promise<PGlite> {
  if (!existsSync(image)) {
    const pristine = await PGlite.create()
    const bytes = await (await pristine.dumpDataDir('none')).bytes()
    await pristine.close()
    mkdirSync(path.dirname(image), { recursive: true })
    // Several test processes may do this at once; each finds a whole file or none.
    writeFileSync(`${image}.${process.pid}`, bytes)
    renameSync(`${image}.${process.pid}`, image)
  }
  const loadDataDir = new Blob([readFileSync(image)])
  return await PGlite.create({ loadDataDir, ...(folder === undefined ? {} : { dataDir: folder }) })
}
