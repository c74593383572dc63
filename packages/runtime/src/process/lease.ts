import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { z } from 'zod'
import { identify, type ProcessIdentity } from './proc.ts'

/** What is known on disk of one sandbox, so that whoever comes after a host that was killed can clean up after it. */
export interface Lease {
  readonly host: ProcessIdentity
  /** The first of its processes. Absent until it is started. */
  readonly first?: ProcessIdentity
  /** The entry in the environment of all its processes, `NAME=value`. */
  readonly mark: string
  /** Name of its control group. */
  readonly cgroup?: string
}

const identity = z.strictObject({ pid: z.int().min(1), startTime: z.string().max(32), bootId: z.string().max(64) })
const schema = z.strictObject({
  host: identity,
  first: identity.optional(),
  mark: z.string().min(1).max(200),
  cgroup: z.string().max(128).optional()
})

/** The folder of one sandbox on the host: its lease, and what else it needs there. Removed with it. */
export interface SandboxFolder {
  readonly name: string
  readonly path: string
  write(lease: Lease): void
  remove(): void
}

let made = 0

/**
 * Where leases are kept unless it is said. In memory where the machine has such a place, for leases are worth nothing after
 * a restart. Of this user alone.
 */
export const defaultStateFolder = (): string => {
  const run = `/run/user/${process.getuid?.() ?? 0}`
  const isThere = (() => {
    try {
      return statSync(run).uid === process.getuid?.()
    } catch {
      return false
    }
  })()
  return path.join(isThere ? run : os.tmpdir(), `enablement-sandboxes-${process.getuid?.() ?? 0}`)
}

/** Makes sure that the folder is there and that nobody else can put leases into it. */
export function openStateFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { uid, mode } = statSync(folder)
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new Error(`${folder} belongs to somebody else or can be written to by others`)
  }
}

/** Makes a folder for one more sandbox. Its name is used once on this machine until it restarts. */
export function sandboxFolder(stateFolder: string): SandboxFolder {
  made += 1
  const self = identify(process.pid)
  const name = `enablement-${process.pid}-${self?.startTime ?? 0}-${made}`
  const own = path.join(stateFolder, name)
  mkdirSync(own, { mode: 0o700 })
  return {
    name,
    path: own,
    write(lease) {
      // In one step: a reader finds the one before or this one, and never half of it.
      const next = path.join(own, 'lease.next')
      writeFileSync(next, JSON.stringify(lease), { mode: 0o600 })
      renameSync(next, path.join(own, 'lease.json'))
    },
    remove: () => rmSync(own, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** The sandboxes that were left there, by folder; one without a lease that can be read has an undefined one. */
export function leasesIn(stateFolder: string): readonly { readonly path: string; readonly lease: Lease | undefined }[] {
  return readdirSync(stateFolder)
    .filter((name) => /^enablement-\d+-\d+-\d+$/.test(name))
    .map((name) => {
      const own = path.join(stateFolder, name)
      try {
        const parsed = schema.safeParse(JSON.parse(readFileSync(path.join(own, 'lease.json'), 'utf8')))
        return { path: own, lease: parsed.success ? (parsed.data as Lease) : undefined }
      } catch {
        return { path: own, lease: undefined }
      }
    })
}
