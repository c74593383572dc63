import { CoreError } from '../failure/core-error.ts'
import { AppendQueue, type Batch } from './append-queue.ts'
import { JOURNAL } from './journal-failure.ts'
import { encodeSeal } from './record-format.ts'
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type Segment, segmentName } from './segment.ts'
import type { SegmentList } from './segment-list.ts'
import type { BatchWriter, FromWriter, ToWriter } from './writer-protocol.ts'

export interface JournalWriterOptions {
  /** Starts what writes; called when there is something to write. */
  readonly startWriter: () => BatchWriter
  /** The segments on disk; the writer adds its own and updates the last. */
  readonly segments: SegmentList
  readonly segmentMaxBytes: number
  readonly newKey: () => { readonly epoch: number; readonly salt: number }
  /** Is told once, when a sync has failed. */
  readonly onFailed: (error: CoreError) => void
}

/** Brings records to the disk, in the order they came, one batch at a time. */
export class JournalWriter {
  readonly #options: JournalWriterOptions
  readonly #queue: AppendQueue
  #writer: BatchWriter | undefined
  /** The segment that this writer made and goes on in; the ones that it found stay as they are. */
  #active: Segment | undefined
  #scheduled = false
  #writing = false
  #failure: CoreError | undefined
  #onIdle: (() => void) | undefined

  /** Records that are not yet durable. */
  waiting = 0
  /** Their bytes, headers included. */
  waitingBytes = 0

  constructor(options: JournalWriterOptions) {
    this.#options = options
    this.#queue = new AppendQueue(options.segments.nextSequence, {
      segmentMaxBytes: options.segmentMaxBytes,
      newSegment: (firstSequence) => ({ ...options.newKey(), firstSequence })
    })
  }

  get failure(): CoreError | undefined {
    return this.#failure
  }

  /** Resolves with the record's sequence when it is durable. The bounds are the caller's business. */
  append(type: number, payload: Uint8Array, sizeBytes: number): Promise<bigint> {
    const appended = this.#queue.add(type, payload)
    this.waiting += 1
    this.waitingBytes += sizeBytes
    this.#schedule()
    return appended
  }

  /** Resolves when nothing waits. */
  drained(): Promise<void> {
    if (this.#idle) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onIdle = resolve
    })
  }

  /** Seals the segment under way and ends what writes. Only when drained. */
  async end(): Promise<void> {
    const active = this.#active
    if (active !== undefined && this.#failure === undefined) {
      const seal = encodeSeal(active, active.nextSequence)
      // A seal that did not get to the disk costs the next opening some reading, and nobody a record.
      await this.#writer?.perform({ kind: 'seal', atBytes: active.endBytes, seal })
    }
    await this.#writer?.end()
  }

  get #idle(): boolean {
    return !this.#writing && this.#queue.empty
  }

  /** After the current turn of the event loop, so that all that it appends shares one sync. */
  #schedule(): void {
    if (this.#scheduled || this.#writing) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      void this.#writeNext()
    })
  }

  async #writeNext(): Promise<void> {
    const batch = this.#queue.shift()
    if (batch === undefined) return
    this.#writing = true
    const { segment, begins, atBytes, memory, lengthBytes } = batch
    const { bytes } = memory
    const begin = begins ? { name: segmentName(segment), header: encodeSegmentHeader(segment) } : undefined
    const end = await this.#perform({ kind: 'write', begin, atBytes, bytes, lengthBytes }, [
      bytes.buffer as ArrayBuffer
    ])
    this.#writing = false
    if (end.bytes !== undefined) this.#queue.giveBack(Buffer.from(end.bytes.buffer as ArrayBuffer))
    if (end.outcome === 'synced') this.#settle(batch)
    else this.#refuse(batch, end)
    if (this.#idle) this.#onIdle?.()
    else this.#schedule()
  }

  async #perform(command: ToWriter, transfer: readonly ArrayBuffer[]): Promise<FromWriter> {
    try {
      this.#writer ??= this.#options.startWriter()
      return await this.#writer.perform(command, transfer)
    } catch {
      return { outcome: 'failed', code: 'NO_THREAD', syscall: 'the writing thread' }
    }
  }

  #settle(batch: Batch): void {
    const { atBytes, lengthBytes, firstSequence, waiters } = batch
    this.#advance(batch, atBytes + lengthBytes, firstSequence + BigInt(waiters.length))
    this.#left(batch)
    let sequence = firstSequence
    for (const waiter of waiters) waiter.resolve(sequence++)
  }

  /** Notes how far the segment of a batch goes now. */
  #advance({ segment, begins }: Batch, endBytes: number, nextSequence: bigint): void {
    const { segments } = this.#options
    this.#active = { ...segment, name: segmentName(segment), endBytes, nextSequence }
    if (begins) segments.add(this.#active)
    else segments.update(this.#active)
  }

  /**
   * Refuses a batch and all that waits behind it, whose numbers and places count on it. After a write that was undone
   * the next append starts over; after a failed sync there is none.
   */
  #refuse(batch: Batch, end: Exclude<FromWriter, { readonly outcome: 'synced' }>): void {
    const cause = new Error(`${end.code} in ${end.syscall}`)
    if (end.outcome === 'undone' && end.begun) this.#advance(batch, SEGMENT_HEADER_BYTES, batch.firstSequence)
    const dropped = this.#queue.reset(this.#options.segments.nextSequence, this.#active)
    if (end.outcome === 'failed') {
      const message = `the journal failed (${cause.message}) while it made ${batch.waiters.length} records durable; each is on disk or not`
      this.#reject(batch, new CoreError('COMMIT_UNKNOWN', message, { store: JOURNAL }, { cause }))
      this.#failure = refusal(`takes no more records since ${cause.message}; open it again`, cause)
      this.#options.onFailed(this.#failure)
    } else this.#reject(batch, refusal(`cannot append: ${cause.message}`, cause))
    for (const behind of dropped) {
      this.#reject(behind, this.#failure ?? refusal(`cannot append: ${cause.message}`, cause))
    }
  }

  #reject(batch: Batch, reason: CoreError): void {
    this.#left(batch)
    for (const waiter of batch.waiters) waiter.reject(reason)
  }

  #left({ waiters, lengthBytes }: Batch): void {
    this.waiting -= waiters.length
    this.waitingBytes -= lengthBytes
  }
}

function refusal(what: string, cause: Error): CoreError {
  return new CoreError('STORE_UNAVAILABLE', `the journal ${what}`, { store: JOURNAL, operation: 'append' }, { cause })
}
