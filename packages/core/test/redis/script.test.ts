import { createHash } from 'node:crypto'
import { defineScript } from '@enablement/core/redis'
import { describe, expect, it } from 'vitest'

describe('script', () => {
  it('is known by the SHA-1 of its text, as Redis computes it', () => {
    const lua = "return 'ünï'"
    expect(defineScript({ name: 'test.hash', lua, keys: 1 }).sha1).toBe(createHash('sha1').update(lua).digest('hex'))
  })

  it.each([
    ['no keys, which a cluster could not route', { name: 'a', lua: 'return 1', keys: 0 }, 'keys'],
    ['a fraction of a key', { name: 'a', lua: 'return 1', keys: 1.5 }, 'keys'],
    ['an empty text', { name: 'a', lua: '', keys: 1 }, 'lua'],
    ['a name with a space', { name: 'a b', lua: 'return 1', keys: 1 }, 'name'],
    ['an unknown option', { name: 'a', lua: 'return 1', keys: 1, numberOfKeys: 1 }, 'numberOfKeys']
  ])('is refused with %s', (_what, options, path) => {
    expect(() => defineScript(options as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'defineScript', issues: [expect.objectContaining({ path })] }
      })
    )
  })
})
