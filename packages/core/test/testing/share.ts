import { inject } from 'vitest'

/** Of things that are alike, all on the sources; on the built output every fifth, which shows that it is whole. */
export function shareOf<T>(things: readonly T[]): T[] {
  const stride = Math.ceil(1 / inject('scale'))
  return things.filter((_, at) => at % stride === 0)
}
