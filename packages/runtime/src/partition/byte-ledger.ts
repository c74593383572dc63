import type { BodyRoom } from './outbound-request.ts'

/** The bytes of all bodies that are kept. */
export interface ByteLedger {
  /** An account for one request. */
  open(): ByteAccount
  readonly usedBytes: number
}

/** What one request keeps. */
export interface ByteAccount extends BodyRoom {
  readonly bytes: number
  /** Which bound the body does not fit into. */
  readonly refusal: 'body' | 'bytes' | undefined
  /** Gives everything back, and takes no more. */
  close(): void
}

export function createByteLedger(bytesMax: number, bodyBytesMax: number): ByteLedger {
  let usedBytes = 0
  return {
    open() {
      let bytes = 0
      let refusal: 'body' | 'bytes' | undefined
      let closed = false
      const close = (): void => {
        usedBytes -= bytes
        bytes = 0
        closed = true
      }
      return {
        take(more) {
          if (closed) return false
          refusal = bytes + more > bodyBytesMax ? 'body' : usedBytes + more > bytesMax ? 'bytes' : undefined
          if (refusal !== undefined) {
            close()
            return false
          }
          bytes += more
          usedBytes += more
          return true
        },
        get bytes() {
          return bytes
        },
        get refusal() {
          return refusal
        },
        close
      }
    },
    get usedBytes() {
      return usedBytes
    }
  }
}
