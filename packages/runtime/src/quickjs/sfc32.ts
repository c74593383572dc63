/** A source of uniform 32-bit words that can be put aside and taken up again. */
export interface Sfc32 {
  next(): number
  /** 16 bytes: a source made of them goes on where this one stands. */
  state(): Uint8Array<ArrayBuffer>
}

/**
 * Small Fast Counter, 32 bits (Chris Doty-Humphrey, PractRand): the guest's `Math.random`. It runs outside the VM, so
 * that two sandboxes restored from one image do not draw the same numbers. `seed` holds 16 bytes.
 */
export function sfc32(seed: Uint8Array): Sfc32 {
  const view = new DataView(seed.buffer, seed.byteOffset, 16)
  let a = view.getUint32(0, true)
  let b = view.getUint32(4, true)
  let c = view.getUint32(8, true)
  let counter = view.getUint32(12, true)
  return {
    next() {
      const sum = (a + b + counter) | 0
      counter = (counter + 1) | 0
      a = b ^ (b >>> 9)
      b = (c + (c << 3)) | 0
      c = ((c << 21) | (c >>> 11)) + sum
      return sum >>> 0
    },
    state() {
      const state = new Uint8Array(16)
      const words = new DataView(state.buffer)
      for (const [at, word] of [a, b, c, counter].entries()) words.setUint32(at * 4, word, true)
      return state
    }
  }
}
