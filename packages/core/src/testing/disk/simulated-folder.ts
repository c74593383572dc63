import { type ByteChange, FileBytes } from './file-bytes.ts'
import { type PowerCut, partsOf, wholeWrites } from './power-cut.ts'

/** A file: what reading finds, what is on the platters, and the changes between the two. */
export class SimulatedFile {
  cached = new FileBytes()
  durable = new FileBytes()
  pending: ByteChange[] = []
  /** Counts changes, so that a sync vouches for those that were there when it was asked for, and no others. */
  changes = 0

  write(at: number, bytes: Uint8Array): void {
    const copied = Buffer.from(bytes)
    this.cached.write(at, copied)
    this.pending.push({ kind: 'write', order: this.changes++, at, bytes: copied })
  }

  truncate(lengthBytes: number): void {
    this.cached.truncate(lengthBytes)
    this.pending.push({ kind: 'truncate', order: this.changes++, lengthBytes })
  }

  /** Makes the changes before `before` durable; with `dataOnly` a truncation only when a write that is came after it. */
  sync(before: number, dataOnly: boolean): void {
    const synced = this.pending.filter(({ order }) => order < before)
    const lastWrite = synced.findLastIndex(({ kind }) => kind === 'write')
    const applied = dataOnly ? synced.slice(0, lastWrite + 1) : synced
    for (const change of applied) this.durable.apply(change)
    const done = new Set(applied)
    this.pending = this.pending.filter((change) => !done.has(change))
  }

  /**
   * A sync that failed: the system takes the pages for clean, so that reading finds them, the next sync succeeds without
   * writing them, and a power cut loses them (research/core.md §4.11).
   */
  abandon(before: number): void {
    this.pending = this.pending.filter(({ order }) => order >= before)
  }

  cut(power: PowerCut): void {
    for (const change of wholeWrites(this.pending)) {
      const remains = power.write()
      if (change.kind === 'truncate') {
        if (remains !== 'none') this.durable.apply(change)
        continue
      }
      if (remains === 'zeros' || remains === 'holes') this.durable.extend(change.at + change.bytes.length)
      for (const { at, bytes } of partsOf(change.bytes, change.at, remains)) this.durable.write(at, bytes)
    }
    this.pending = []
    this.cached = this.durable.copy()
  }

  copy(): SimulatedFile {
    const copied = new SimulatedFile()
    copied.cached = this.cached.copy()
    copied.durable = this.durable.copy()
    copied.pending = [...this.pending]
    copied.changes = this.changes
    return copied
  }
}

type NameChange =
  | { readonly kind: 'link'; readonly name: string; readonly file: SimulatedFile; readonly instead?: string }
  | { readonly kind: 'unlink'; readonly name: string }

interface Pending {
  readonly order: number
  readonly change: NameChange
}

/** A folder: the names that reading finds, those on the platters, and the changes between the two. */
export class SimulatedFolder {
  cached = new Map<string, SimulatedFile>()
  durable = new Map<string, SimulatedFile>()
  pending: Pending[] = []
  changes = 0
  isOpen = false

  change(change: NameChange): void {
    apply(this.cached, change)
    this.pending.push({ order: this.changes++, change })
  }

  /** Makes the changes before `before` durable. */
  sync(before: number): void {
    for (const { order, change } of this.pending) if (order < before) apply(this.durable, change)
    this.pending = this.pending.filter(({ order }) => order >= before)
  }

  /** A sync that failed: what reading finds is not written any more. */
  abandon(before: number): void {
    this.pending = this.pending.filter(({ order }) => order >= before)
  }

  cut(power: PowerCut): void {
    for (const { change } of this.pending) if (power.name()) apply(this.durable, change)
    this.pending = []
    this.cached = new Map(this.durable)
    for (const file of new Set(this.cached.values())) file.cut(power)
    this.isOpen = false
  }

  copy(): SimulatedFolder {
    const copies = new Map<SimulatedFile, SimulatedFile>()
    const copyOf = (file: SimulatedFile): SimulatedFile => {
      const copied = copies.get(file) ?? file.copy()
      copies.set(file, copied)
      return copied
    }
    const copied = new SimulatedFolder()
    copied.cached = new Map(Array.from(this.cached, ([name, file]) => [name, copyOf(file)]))
    copied.durable = new Map(Array.from(this.durable, ([name, file]) => [name, copyOf(file)]))
    copied.pending = this.pending.map(({ order, change }) => ({
      order,
      change: change.kind === 'link' ? { ...change, file: copyOf(change.file) } : change
    }))
    copied.changes = this.changes
    copied.isOpen = this.isOpen
    return copied
  }
}

function apply(names: Map<string, SimulatedFile>, change: NameChange): void {
  if (change.kind === 'unlink') names.delete(change.name)
  else {
    if (change.instead !== undefined) names.delete(change.instead)
    names.set(change.name, change.file)
  }
}
