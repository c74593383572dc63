import { type CoreError, parseOptions } from '@enablement/core'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

interface Options {
  readonly limits: readonly { readonly name: string; readonly units: number }[]
  readonly retry?: { readonly delayMs: number }
}

const schema: z.ZodType<Options> = z.strictObject({
  limits: z.array(z.strictObject({ name: z.string().min(1), units: z.int().min(0) })),
  retry: z.strictObject({ delayMs: z.number().positive() }).exactOptional()
})

function issuesOf(input: unknown): readonly unknown[] {
  try {
    parseOptions(schema, 'createThing', input)
  } catch (error) {
    expect(error).toMatchObject({ name: 'CoreError', code: 'INVALID_OPTIONS', detail: { subject: 'createThing' } })
    return (error as CoreError<'INVALID_OPTIONS'>).detail.issues
  }
  return []
}

describe('options', () => {
  it('are given back when they are right', () => {
    const options = { limits: [{ name: 'a', units: 1 }], retry: { delayMs: 5 } }
    expect(parseOptions(schema, 'createThing', options)).toEqual(options)
  })

  it('are absent where they are undefined, as most compilers let them be', () => {
    expect(parseOptions(schema, 'createThing', { limits: [], retry: undefined })).toEqual({ limits: [] })
    expect(issuesOf({ limits: undefined })).toMatchObject([{ path: 'limits' }])
  })

  it('are absent where they are undefined in a list of several', () => {
    const each: z.ZodType<readonly Options[]> = z.array(schema)
    expect(parseOptions(each, 'createThings', [{ limits: [], retry: undefined }])).toEqual([{ limits: [] }])
  })

  it('are refused with the path of every issue', () => {
    expect(
      issuesOf({
        limits: [
          { name: 'a', units: 1 },
          { name: '', units: 0.5 }
        ],
        retry: { delayMs: -1 }
      })
    ).toEqual([
      { path: 'limits.1.name', message: expect.any(String) },
      { path: 'limits.1.units', message: expect.any(String) },
      { path: 'retry.delayMs', message: expect.any(String) }
    ])
  })

  it('are refused with the path of every one that does not exist', () => {
    expect(issuesOf({ limits: [{ name: 'a', units: 1, unit: 's' }], retries: 3, retyr: {} })).toEqual([
      { path: 'limits.0.unit', message: 'there is no such option' },
      { path: 'retries', message: 'there is no such option' },
      { path: 'retyr', message: 'there is no such option' }
    ])
  })

  it.each([undefined, null, 5, 'text', []])('are refused as a whole when they are %j', (input) => {
    expect(issuesOf(input)).toEqual([{ path: '', message: expect.any(String) }])
  })

  it('are not repeated in the error, for they may be secrets', () => {
    const secrets = z.strictObject({
      key: z.string().min(64),
      kind: z.enum(['a', 'b']),
      count: z.int().max(5),
      url: z.url(),
      choice: z.union([z.literal(1), z.strictObject({ x: z.number() })])
    })
    const input = { key: 'hunter2', kind: 'hunter2', count: 'hunter2', url: 'hunter2', choice: { x: 'hunter2' } }
    try {
      parseOptions(secrets, 'createThing', input)
      expect.unreachable()
    } catch (error) {
      expect((error as CoreError<'INVALID_OPTIONS'>).detail.issues).toHaveLength(5)
      expect(JSON.stringify(error) + String((error as Error).stack)).not.toContain('hunter2')
    }
  })
})
