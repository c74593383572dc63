import { connect } from 'node:net'
import { classifyError, classifyValue, hadNoEffect } from '@enablement/core'
import { describe, expect, it } from 'vitest'

const coded = (code: string, cause?: unknown): Error => Object.assign(new Error(code, { cause }), { code })

function abortCausedBy(cause: Error): Error {
  const error = new Error('gone', { cause })
  error.name = 'AbortError'
  return error
}

describe('classification of errors (pitfall 3)', () => {
  it.each([
    ['a timeout', new DOMException('late', 'TimeoutError'), 'failure'],
    [
      'a timeout of this suite',
      Object.assign(coded('TIMED_OUT'), { detail: { timeoutMs: 50, lateMs: 25 } }),
      'failure'
    ],
    ['one after a stall', Object.assign(coded('TIMED_OUT'), { detail: { timeoutMs: 50, lateMs: 26 } }), 'ignored'],
    ['a reset connection', coded('ECONNRESET'), 'failure'],
    ['what fetch throws for it', new TypeError('fetch failed', { cause: coded('ECONNREFUSED') }), 'failure'],
    ['what browsers throw for it', new TypeError('Failed to fetch'), 'failure'],
    ['connections that all failed', new AggregateError([coded('ECONNREFUSED'), coded('ENETUNREACH')]), 'failure'],
    ['a socket error of undici', coded('UND_ERR_SOCKET'), 'failure'],
    ['a store that is away', coded('STORE_UNAVAILABLE'), 'failure'],
    ['an error of status 500', Object.assign(new Error(), { status: 500 }), 'failure'],
    ['an error of statusCode 429', Object.assign(new Error(), { statusCode: 429 }), 'failure'],
    ['an error with a response of 503', Object.assign(new Error(), { response: { status: 503 } }), 'failure'],
    ['an error of the AWS SDK', Object.assign(new Error(), { $metadata: { httpStatusCode: 502 } }), 'failure'],
    ['an error of status 404', Object.assign(new Error(), { status: 404 }), 'ignored'],
    ['a request timeout by the server, which waited for us', Object.assign(new Error(), { status: 408 }), 'ignored'],
    ['an abort', new DOMException('gone', 'AbortError'), 'ignored'],
    ['an abort that wraps a reset', abortCausedBy(coded('ECONNRESET')), 'ignored'],
    ['an open breaker', coded('CIRCUIT_OPEN'), 'ignored'],
    ['a full bulkhead', coded('OVERLOADED'), 'ignored'],
    ['a bug', new TypeError('x is not a function'), 'ignored'],
    ['nothing at all', undefined, 'ignored'],
    ['a string', 'ECONNRESET', 'ignored']
  ] as const)('takes %s for what it is', (_, error, verdict) => {
    expect(classifyError(error)).toBe(verdict)
  })

  it('takes what Node throws when nobody listens for a failure without effect', async () => {
    const error = await new Promise((resolve) => connect(1, '127.0.0.1').on('error', resolve))
    expect(classifyError(error)).toBe('failure')
    expect(hadNoEffect(error)).toBe(true)
  })

  it('follows no cycle of causes for ever', () => {
    const error: { cause?: unknown } = {}
    error.cause = error
    expect(classifyError(error)).toBe('ignored')
  })
})

describe('classification of values', () => {
  it.each([
    [new Response(null, { status: 200 }), 'success'],
    [new Response(null, { status: 302 }), 'success'],
    [new Response(null, { status: 404 }), 'ignored'],
    [new Response(null, { status: 429 }), 'failure'],
    [new Response(null, { status: 503 }), 'failure'],
    [{ status: 'failed' }, 'success'],
    [{ status: 1_000 }, 'success'],
    [null, 'success'],
    [503, 'success']
  ] as const)('%s is %s', (value, verdict) => {
    expect(classifyValue(value)).toBe(verdict)
  })
})

describe('failures without effect', () => {
  it.each([
    [coded('ENOTFOUND'), true],
    [new TypeError('fetch failed', { cause: coded('UND_ERR_CONNECT_TIMEOUT') }), true],
    [Object.assign(new Error(), { status: 429 }), true],
    [coded('ECONNRESET'), false],
    [coded('COMMIT_UNKNOWN'), false],
    [Object.assign(new Error(), { status: 503 }), false]
  ])('%s: %s', (error, without) => {
    expect(hadNoEffect(error)).toBe(without)
  })
})
