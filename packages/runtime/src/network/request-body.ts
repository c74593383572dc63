import { Readable } from 'node:stream'
import type { BodyRoom } from '../partition/outbound-request.ts'

/** A request's body across attempts. */
export interface RequestBody {
  /** Of a body that is in memory already; 0 for one that is yet to be read. */
  readonly bytes: number
  /** Whether it must be read before it can wait. */
  readonly streamed: boolean
  /** What reading it failed with: the fault of whoever made it, and not of the network. */
  readonly failure: { readonly error: unknown } | undefined
  /** The body for one attempt; what is read of a stream on the way is kept, as far as `room` allows. */
  forAttempt(room: BodyRoom): unknown
  /** Reads the rest of a stream. False when it cannot be kept whole. */
  load(room: BodyRoom): Promise<boolean>
  /** Lets go of a stream that is not wanted any more. */
  discard(): void
}

/** A body that undici can send from anywhere, as often as is wanted. */
function keptBody(source: unknown, bytes: number): RequestBody {
  return {
    bytes,
    streamed: false,
    failure: undefined,
    forAttempt: () => source,
    load: async () => true,
    discard: () => undefined
  }
}

/**
 * The body `source` of a request. Throws nothing: what undici does not take, it refuses itself when the request is sent.
 */
export function requestBody(source: unknown): RequestBody {
  if (source === null || source === undefined) return keptBody(null, 0)
  if (typeof source === 'string') return keptBody(source, Buffer.byteLength(source))
  // As with undici itself, the memory belongs to the request until it has ended.
  if (ArrayBuffer.isView(source) || source instanceof ArrayBuffer) return keptBody(source, source.byteLength)
  if (source instanceof Blob) return keptBody(source, source.size)
  if (isForm(source)) return keptBody(source, formBytes(source))
  if (isIterable(source)) return streamedBody(source)
  return keptBody(source, 0)
}

/** A form is iterable, but its parts are not its bytes: undici encodes it, anew for each attempt. */
const isForm = (source: unknown): source is Iterable<[string, string | Blob]> =>
  typeof source === 'object' &&
  source !== null &&
  source[Symbol.toStringTag as keyof typeof source] === 'FormData' &&
  Symbol.iterator in source

/** Names and values, without the frame that the encoding puts around them. */
function formBytes(form: Iterable<[string, string | Blob]>): number {
  let bytes = 0
  for (const [name, value] of form) {
    bytes += Buffer.byteLength(name) + (typeof value === 'string' ? Buffer.byteLength(value) : value.size)
  }
  return bytes
}

const isIterable = (source: unknown): source is AsyncIterable<unknown> | Iterable<unknown> =>
  typeof source === 'object' && source !== null && (Symbol.asyncIterator in source || Symbol.iterator in source)

/** Reads its source once, whoever asks, and keeps what it has read until that does not fit. */
function streamedBody(source: AsyncIterable<unknown> | Iterable<unknown>): RequestBody {
  let iterator: AsyncIterator<unknown> | Iterator<unknown> | undefined
  const chunks: Uint8Array[] = []
  let state: 'reading' | 'whole' | 'partial' = 'reading'
  let failure: { readonly error: unknown } | undefined
  /** One reader at a time: an attempt that was given up may still wait for a chunk that the next one needs. */
  let turn: Promise<unknown> = Promise.resolve()

  // A stream that fails while nobody reads it would otherwise end the process; whoever reads next hears of it.
  if (source instanceof Readable) source.on('error', () => undefined)

  const read = (room: BodyRoom): Promise<Uint8Array | undefined> => {
    const next = turn.then(async () => {
      iterator ??= Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
      const step = await iterator.next()
      if (step.done === true) {
        if (state === 'reading') state = 'whole'
        return undefined
      }
      const chunk = bytesOf(step.value)
      if (state === 'reading' && room.take(chunk.byteLength)) chunks.push(Buffer.from(chunk))
      else {
        state = 'partial'
        chunks.length = 0
      }
      return chunk
    })
    turn = next.catch((error: unknown) => {
      failure ??= { error }
      state = 'partial'
      chunks.length = 0
    })
    return next
  }

  return {
    bytes: 0,
    streamed: true,
    get failure() {
      return failure
    },
    async *forAttempt(room: BodyRoom) {
      let at = 0
      for (;;) {
        // What an attempt before has read.
        for (; at < chunks.length; at++) yield chunks[at]
        if (state === 'whole') return
        const chunk = await read(room)
        if (chunk === undefined) return
        at += 1
        yield chunk
      }
    },
    async load(room) {
      while (state === 'reading') await read(room)
      return state === 'whole'
    },
    discard() {
      chunks.length = 0
      if (state === 'whole') return
      state = 'partial'
      if (source instanceof Readable) source.destroy()
      // Whoever made it may throw, at once or later; nobody waits for it any more.
      else void (async () => iterator?.return?.())().catch(() => undefined)
    }
  }
}

function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (chunk instanceof Uint8Array) return chunk
  throw new TypeError('a chunk of a request body must be a string or a Uint8Array')
}
