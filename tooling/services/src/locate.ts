import { accessSync, constants, statSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

/** The ignored folder at the repository's root where fetched tools are kept between runs. */
export const toolchain = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../.toolchain')

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/** The first of the names on PATH, then in the other folders. */
export function onPath(names: readonly string[], others: readonly string[] = []): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter).filter((entry) => entry !== ''), ...others]
  for (const name of names) {
    const found = folders.map((folder) => path.join(folder, name)).find(isExecutable)
    if (found !== undefined) return found
  }
  return undefined
}

/** A variable's value; an empty one counts as unset, because that is how one switches it off for a single command. */
export function variable(name: string): string | undefined {
  const value = process.env[name]
  return value === undefined || value === '' ? undefined : value
}
