/** One element of a DER encoding (X.690): its tag octet and what it holds. */
export interface DerElement {
  readonly tag: number
  readonly bytes: Uint8Array
}

export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  sequence: 0x30
} as const

/** Tag octet of a context-specific element, `[number]` in the ASN.1 of a standard. */
export const contextTag = (number: number, constructed: boolean): number => (constructed ? 0xa0 : 0x80) | number

/**
 * The elements of a sequence's content, one after the other. Throws for lengths that run past the end, and for the forms
 * that DER does not have (indefinite length) or certificates do not use (tags and lengths of more octets).
 */
export function derElements(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = []
  let offset = 0
  while (offset < bytes.length) {
    const tag = octet(bytes, offset)
    const short = octet(bytes, offset + 1)
    if ((tag & 0x1f) === 0x1f) throw new Error('a tag of several octets')
    let start = offset + 2
    let length = short
    if (short >= 0x80) {
      const octets = short & 0x7f
      if (octets === 0 || octets > 3) throw new Error('a length that certificates do not have')
      length = 0
      for (let i = 0; i < octets; i++) length = length * 256 + octet(bytes, start + i)
      start += octets
    }
    if (start + length > bytes.length) throw new Error('an element that runs past the end')
    elements.push({ tag, bytes: bytes.subarray(start, start + length) })
    offset = start + length
  }
  return elements
}

/** The one element that the bytes hold, which has this tag. */
export function derElement(bytes: Uint8Array, tag: number): DerElement {
  const [element, ...more] = derElements(bytes)
  if (element?.tag !== tag || more.length > 0) throw new Error(`not the element ${tag.toString(16)} alone`)
  return element
}

/** A non-negative integer of up to 6 octets. */
export function derInteger({ bytes }: DerElement): number {
  if (bytes.length === 0 || bytes.length > 6 || octet(bytes, 0) >= 0x80) throw new Error('not a small integer')
  return bytes.reduce((value, one) => value * 256 + one, 0)
}

/** An object id in dotted form. */
export function derObjectId({ bytes }: DerElement): string {
  const arcs: number[] = []
  let value = 0
  for (const one of bytes) {
    value = value * 128 + (one & 0x7f)
    if (one >= 0x80) continue
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(value / 40))
      arcs.push(first, value - first * 40)
    } else arcs.push(value)
    value = 0
  }
  return arcs.join('.')
}

function octet(bytes: Uint8Array, offset: number): number {
  const value = bytes[offset]
  if (value === undefined) throw new Error('the encoding ends too early')
  return value
}
