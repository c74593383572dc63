/** What a trace of recording-disk.cjs consists of. */
export type TraceEntry =
  | { readonly op: 'create' | 'sync' | 'unlink'; readonly name: string }
  | { readonly op: 'write'; readonly name: string; readonly at: number; readonly hex: string }
  | { readonly op: 'rename'; readonly from: string; readonly to: string }
  | { readonly op: 'sync-folder' }
  | { readonly op: 'asked'; readonly text: string }
  | { readonly op: 'told'; readonly sequence: string; readonly text: string }
  | { readonly op: 'trimming'; readonly through: string }

interface File {
  durable: Buffer
  readonly pending: { readonly at: number; readonly bytes: Buffer }[]
}

type NameChange =
  | { readonly op: 'link'; readonly name: string; readonly file: File; readonly instead?: string }
  | { readonly op: 'unlink'; readonly name: string }

/** What a power cut makes of something that was not synced. */
export interface PowerCut {
  /** Whether the next change of a name got to the disk. */
  name(): boolean
  /** How much of the next write got there: all, nothing, its beginning, its length but zeros in it, or its sectors but every other one. */
  write(): 'all' | 'none' | 'half' | 'zeros' | 'holes'
}

/**
 * A disk that keeps what was synced, and of the rest whatever it likes, in any order: the names in the folder and the
 * bytes of each file apart, as file systems do.
 */
export class SimulatedDisk {
  readonly #names = new Map<string, File>()
  readonly #open = new Map<string, File>()
  #changes: NameChange[] = []

  perform(entry: TraceEntry): void {
    switch (entry.op) {
      case 'create': {
        const file: File = { durable: Buffer.alloc(0), pending: [] }
        this.#open.set(entry.name, file)
        this.#changes.push({ op: 'link', name: entry.name, file })
        return
      }
      case 'write':
        this.#file(entry.name).pending.push({ at: entry.at, bytes: Buffer.from(entry.hex, 'hex') })
        return
      case 'sync': {
        const file = this.#file(entry.name)
        for (const { at, bytes } of file.pending.splice(0)) file.durable = patched(file.durable, at, bytes)
        return
      }
      case 'rename': {
        const file = this.#file(entry.from)
        this.#open.delete(entry.from)
        this.#open.set(entry.to, file)
        this.#changes.push({ op: 'link', name: entry.to, file, instead: entry.from })
        return
      }
      case 'unlink':
        this.#open.delete(entry.name)
        this.#changes.push({ op: 'unlink', name: entry.name })
        return
      case 'sync-folder':
        for (const change of this.#changes.splice(0)) apply(this.#names, change)
        return
      default:
    }
  }

  /** The files after a power cut now. */
  cut(power: PowerCut): Map<string, Buffer> {
    const names = new Map(this.#names)
    for (const change of this.#changes) if (power.name()) apply(names, change)
    return new Map([...names].map(([name, { durable, pending }]) => [name, remains(durable, pending, power)]))
  }

  #file(name: string): File {
    const file = this.#open.get(name)
    if (file === undefined) throw new Error(`the trace never made ${name}`)
    return file
  }
}

function apply(names: Map<string, File>, change: NameChange): void {
  if (change.op === 'unlink') names.delete(change.name)
  else {
    if (change.instead !== undefined) names.delete(change.instead)
    names.set(change.name, change.file)
  }
}

function remains(durable: Buffer, pending: File['pending'], power: PowerCut): Buffer {
  let bytes = durable
  for (const write of pending) {
    const fate = power.write()
    if (fate === 'none') continue
    const { length } = write.bytes
    if (fate === 'holes') {
      bytes = patched(bytes, write.at, holed(write.bytes, write.at))
      continue
    }
    const kept =
      fate === 'zeros' ? Buffer.alloc(length) : write.bytes.subarray(0, fate === 'half' ? length >> 1 : length)
    bytes = patched(bytes, write.at, kept)
  }
  return bytes
}

/** Bytes without every other one of the sectors of the disk that lie wholly in them. */
function holed(bytes: Buffer, at: number): Buffer {
  const result = Buffer.from(bytes)
  for (let sector = Math.ceil(at / 512); (sector + 1) * 512 - at <= bytes.length; sector++) {
    if (sector % 2 === 0) result.fill(0, sector * 512 - at, (sector + 1) * 512 - at)
  }
  return result
}

function patched(bytes: Buffer, at: number, patch: Buffer): Buffer {
  const result = Buffer.alloc(Math.max(bytes.length, at + patch.length))
  bytes.copy(result)
  patch.copy(result, at)
  return result
}
