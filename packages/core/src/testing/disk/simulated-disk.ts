import { z } from 'zod'
import { parseOptions } from '../../failure/options.ts'
import type { JournalDisk, JournalFile, JournalFolder } from '../../journal/journal-disk.ts'
import { taken } from '../../journal/journal-failure.ts'
import type { Platform } from '../../platform.ts'
import { sleep } from '../../time/sleep.ts'
import { createFaultPlan, type FaultPlan, type FaultTarget, type Strike, systemError } from '../faults/fault-plan.ts'
import { testPlatform } from '../test-platform.ts'
import { type PowerCut, randomPowerCut } from './power-cut.ts'
import { SimulatedFile, SimulatedFolder } from './simulated-folder.ts'

/** What a simulated disk is asked for, by the name that `only` in a fault rule takes. */
export type DiskOperation =
  | 'open-folder'
  | 'names'
  | 'open'
  | 'create'
  | 'rename'
  | 'remove'
  | 'sync-folder'
  | 'length'
  | 'read'
  | 'write'
  | 'truncate'
  | 'sync'
  | 'sync-data'
  | 'close'

/** A call that took effect, or failed as a fault plan said. */
export interface DiskEvent {
  readonly operation: DiskOperation
  readonly folder: string
  /** Of the file; undefined when it was the folder. */
  readonly name: string | undefined
  readonly outcome: 'done' | 'failed'
}

export interface SimulatedDiskOptions {
  /** Delays pass on its clock, and its chance decides what a power cut leaves. `testPlatform()` unless given. */
  readonly platform?: Platform
  /** A write beyond it is cut short, and the next one fails with `ENOSPC`. No bound unless given. */
  readonly capacityBytes?: number
  /** What it throws is the caller's: a test may throw there. */
  readonly observe?: (event: DiskEvent) => void
}

/** A disk in memory, which keeps what was synced, and after a power cut of the rest whatever it likes. */
export interface SimulatedDisk extends JournalDisk {
  /**
   * Faults to come, by operation: `latency` makes it slow; `error` fails it, a `write` after half of it, a `sync` so that
   * what it was for is never written; `slice` lets writes take fewer bytes; `hang` answers never.
   */
  readonly faults: FaultPlan
  /** The process that had folders open is gone: its calls never return, others can open them. Nothing is lost. */
  kill(): void
  /** The machine lost power: the same, and what was not synced is there or not, whole or torn, in any order. */
  powerCut(power?: PowerCut): void
  /** The disk as it would be after a power cut now; this one goes on. */
  afterPowerCut(power?: PowerCut): SimulatedDisk
  /** What is in a folder, for a test to look at, damage, and put back, durably and without faults. */
  readonly files: {
    names(folder: string): string[]
    read(folder: string, name: string): Buffer
    write(folder: string, name: string, bytes: Uint8Array): void
    remove(folder: string, name: string): void
  }
}

const diskOptions = z.strictObject({
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).optional(),
  capacityBytes: z.int().min(0).optional(),
  observe: z.custom<(event: DiskEvent) => void>((value) => typeof value === 'function').optional()
})

/** What the system calls them, for the errors. */
const SYSCALLS: { readonly [operation in DiskOperation]: string } = {
  'open-folder': 'mkdir',
  names: 'scandir',
  open: 'open',
  create: 'open',
  rename: 'rename',
  remove: 'unlink',
  'sync-folder': 'fsync',
  length: 'fstat',
  read: 'read',
  write: 'write',
  truncate: 'ftruncate',
  sync: 'fsync',
  'sync-data': 'fdatasync',
  close: 'close'
}

const DISK: FaultTarget = {
  what: 'a simulated disk',
  request: ['latency', 'error', 'slice', 'hang'],
  reply: [],
  names: Object.keys(SYSCALLS)
}

/** All other calls but `write`, which alone can be cut short: a rule's `times` are not used up by them. */
const UNSLICED: FaultTarget = { ...DISK, request: DISK.request.filter((kind) => kind !== 'slice') }

/** An empty disk. Any path is a folder. Throws `INVALID_OPTIONS`. */
export function simulatedDisk(options: SimulatedDiskOptions = {}): SimulatedDisk {
  return diskOver(new Map(), parseOptions(diskOptions, 'simulatedDisk', options))
}

function diskOver(folders: Map<string, SimulatedFolder>, options: z.output<typeof diskOptions>): SimulatedDisk {
  const { platform = testPlatform(), capacityBytes = Number.POSITIVE_INFINITY, observe } = options
  const faults = createFaultPlan({ platform, target: DISK })
  /** Grows with every crash: calls of before it never return and have no effect. */
  let era = 0

  const folderAt = (path: string): SimulatedFolder => {
    const folder = folders.get(path) ?? new SimulatedFolder()
    folders.set(path, folder)
    return folder
  }

  const usedBytes = (): number => {
    let bytes = 0
    for (const folder of folders.values()) for (const file of folder.cached.values()) bytes += file.cached.lengthBytes
    return bytes
  }

  interface Call<T> {
    readonly operation: DiskOperation
    readonly folder: string
    readonly name: string | undefined
    /** What it does; in vain when it throws. */
    readonly act: (strike: Strike) => T
    /** What a call that fails leaves behind. */
    readonly fail?: (() => void) | undefined
  }

  async function perform<T>(born: number, { operation, folder, name, act, fail }: Call<T>): Promise<T> {
    if (era !== born) return never()
    const strike = faults.strike({
      names: [operation],
      leg: 'request',
      target: operation === 'write' ? DISK : UNSLICED
    })
    if (strike.delayMs > 0) await sleep(platform.clock, strike.delayMs)
    if (era !== born || strike.end?.kind === 'hang') return never()
    let result: T
    try {
      if (strike.end?.kind === 'error') {
        fail?.()
        throw systemError(strike.end.code, SYSCALLS[operation])
      }
      result = act(strike)
    } catch (error) {
      observe?.({ operation, folder, name, outcome: 'failed' })
      throw error
    }
    observe?.({ operation, folder, name, outcome: 'done' })
    return result
  }

  function fileOver(
    born: number,
    at: { readonly folder: string; readonly name: string },
    file: SimulatedFile
  ): JournalFile {
    const call = <T>(operation: DiskOperation, act: Call<T>['act'], fail?: () => void): Promise<T> =>
      perform(born, { operation, ...at, act, fail })
    const synced = (operation: 'sync' | 'sync-data'): Promise<void> => {
      const before = file.changes
      return call(
        operation,
        () => file.sync(before, operation === 'sync-data'),
        () => file.abandon(before)
      )
    }
    return {
      lengthBytes: () => call('length', () => file.cached.lengthBytes),
      read: (target, from) =>
        call('read', () => {
          const bytes = file.cached.view().subarray(from, from + target.length)
          target.set(bytes)
          return bytes.length
        }),
      write(bytes, position) {
        const grown = (takenBytes: number): number => Math.max(0, position + takenBytes - file.cached.lengthBytes)
        return call(
          'write',
          ({ slice }) => {
            let takenBytes = Math.min(bytes.length, slice?.sliceMaxBytes ?? bytes.length)
            const over = usedBytesAfter(grown(takenBytes)) - capacityBytes
            if (over > 0) takenBytes -= over
            if (takenBytes <= 0 && bytes.length > 0) throw systemError('ENOSPC', 'write')
            file.write(position, bytes.subarray(0, takenBytes))
            return takenBytes
          },
          () => file.write(position, bytes.subarray(0, bytes.length >> 1))
        )
      },
      truncate: (lengthBytes) => call('truncate', () => file.truncate(lengthBytes)),
      sync: () => synced('sync'),
      syncData: () => synced('sync-data'),
      close: () => call('close', () => {})
    }
  }

  const usedBytesAfter = (grownBytes: number): number =>
    capacityBytes === Number.POSITIVE_INFINITY || grownBytes === 0 ? 0 : usedBytes() + grownBytes

  function folderOver(born: number, path: string, folder: SimulatedFolder): JournalFolder {
    const call = <T>(operation: DiskOperation, name: string | undefined, act: () => T, fail?: () => void): Promise<T> =>
      perform(born, { operation, folder: path, name, act, fail })
    const existing = (name: string, operation: DiskOperation): SimulatedFile => {
      const file = folder.cached.get(name)
      if (file === undefined) throw systemError('ENOENT', SYSCALLS[operation])
      return file
    }
    let closed = false
    return {
      names: () => call('names', undefined, () => [...folder.cached.keys()]),
      open: (name) => call('open', name, () => fileOver(born, { folder: path, name }, existing(name, 'open'))),
      create: (name) =>
        call('create', name, () => {
          if (usedBytesAfter(1) > capacityBytes) throw systemError('ENOSPC', 'open')
          const file = new SimulatedFile()
          folder.change({ kind: 'link', name, file })
          return fileOver(born, { folder: path, name }, file)
        }),
      rename: (from, to) =>
        call('rename', from, () =>
          folder.change({ kind: 'link', name: to, file: existing(from, 'rename'), instead: from })
        ),
      remove: (name) =>
        call('remove', name, () => {
          existing(name, 'remove')
          folder.change({ kind: 'unlink', name })
        }),
      sync() {
        const before = folder.changes
        return call(
          'sync-folder',
          undefined,
          () => folder.sync(before),
          () => folder.abandon(before)
        )
      },
      close: () =>
        call('close', undefined, () => {
          if (!closed) folder.isOpen = false
          closed = true
        })
    }
  }

  return {
    faults,
    openFolder(path) {
      const born = era
      return perform(born, {
        operation: 'open-folder',
        folder: path,
        name: undefined,
        act() {
          const folder = folderAt(path)
          if (folder.isOpen) throw taken()
          folder.isOpen = true
          return folderOver(born, path, folder)
        }
      })
    },
    kill() {
      era += 1
      for (const folder of folders.values()) folder.isOpen = false
    },
    powerCut(power = randomPowerCut(platform.random)) {
      era += 1
      for (const folder of folders.values()) folder.cut(power)
    },
    afterPowerCut(power) {
      const copies = new Map(Array.from(folders, ([path, folder]) => [path, folder.copy()]))
      const { observe: _, ...rest } = options
      const after = diskOver(copies, rest)
      after.powerCut(power)
      return after
    },
    files: {
      names: (path) => [...folderAt(path).cached.keys()].sort(),
      read: (path, name) => Buffer.from(folderAt(path).cached.get(name)?.cached.view() ?? []),
      write(path, name, bytes) {
        const file = new SimulatedFile()
        file.write(0, bytes)
        file.sync(file.changes, false)
        const { cached, durable } = folderAt(path)
        cached.set(name, file)
        durable.set(name, file)
      },
      remove(path, name) {
        const { cached, durable } = folderAt(path)
        cached.delete(name)
        durable.delete(name)
      }
    }
  }
}

const never = (): Promise<never> => new Promise(() => {})
