/** Bytes before each message: its length, big-endian. */
const HEAD_BYTES = 4

/** A message as it goes over the pipe: its length, then its JSON in UTF-8. */
export function frameOf(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message), 'utf8')
  const frame = Buffer.allocUnsafe(HEAD_BYTES + body.length)
  frame.writeUInt32BE(body.length, 0)
  body.copy(frame, HEAD_BYTES)
  return frame
}

/**
 * Puts messages together from whatever pieces the pipe gives. A length beyond `maxBytes` or a body that is not JSON throws:
 * nothing that follows could be told apart, so the pipe is of no use any more. Holds one message at most.
 */
export function frameReader(maxBytes: number, onMessage: (message: unknown) => void): (piece: Uint8Array) => void {
  let pieces: Uint8Array[] = []
  let held = 0
  const take = (bytes: number): Buffer => {
    const whole = Buffer.concat(pieces, held)
    pieces = whole.length === bytes ? [] : [whole.subarray(bytes)]
    held -= bytes
    return whole.subarray(0, bytes)
  }
  let wanted: number | undefined
  return (piece) => {
    pieces.push(piece)
    held += piece.length
    for (;;) {
      if (wanted === undefined) {
        if (held < HEAD_BYTES) return
        wanted = take(HEAD_BYTES).readUInt32BE(0)
        if (wanted > maxBytes) throw new Error(`a message of ${wanted} bytes is over the bound of ${maxBytes}`)
      }
      if (held < wanted) return
      const body = take(wanted)
      wanted = undefined
      onMessage(JSON.parse(body.toString('utf8')))
    }
  }
}
