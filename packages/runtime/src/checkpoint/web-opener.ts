import type { Opener } from './opener.ts'

export type { Opener } from './opener.ts'

/** None: WebCrypto knows only promises. */
export function createOpener(_master: Uint8Array, _info: Uint8Array): Opener | undefined {
  return undefined
}
