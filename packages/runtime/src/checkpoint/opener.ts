/** Opens what AES-256-GCM has sealed without leaving the thread. */
export interface Opener {
  /** `sealed` ends in the tag, of 16 bytes. Throws, and gives nothing of the content, when that does not verify. */
  open(nonce: Uint8Array, authenticated: Uint8Array, sealed: Uint8Array): Uint8Array<ArrayBuffer>
}
