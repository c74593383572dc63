import { inspect } from 'node:util'
import {
  clusterSettings,
  createScriptRunner,
  defineScript,
  redisSettings,
  type ScriptClient,
  type ScriptClientSettings
} from '@enablement/core/redis'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const script = defineScript({ name: 'test.script', lua: 'return 1', keys: 2 })
const many = defineScript({ name: 'test.many', lua: 'return 1', keys: 'many' })
const keys = ['a:{t}', 'b:{t}']

/** What ioredis rejects with when Redis answers an error: the command and its arguments hang on it. */
function replyError(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError', command: { name: 'evalsha', args: ['a secret'] } })
}

interface FakeClient extends ScriptClient {
  status: string
  readonly sent: unknown[][]
  emit(event: string): void
  readonly listeners: Map<string, Set<() => void>>
}

function fakeClient(
  fake: {
    readonly options?: ScriptClientSettings & { redisOptions?: ScriptClientSettings }
    readonly status?: string
    readonly answers?: readonly unknown[]
    readonly info?: string
    readonly cluster?: boolean
  } = {}
): FakeClient {
  const answers = [...(fake.answers ?? [])]
  const sent: unknown[][] = []
  const listeners = new Map<string, Set<() => void>>()
  const answer = async (...command: unknown[]): Promise<unknown> => {
    sent.push(command)
    const next = answers.shift()
    if (next instanceof Error) throw next
    return next
  }
  const client: FakeClient = {
    options: fake.options ?? redisSettings(),
    status: fake.status ?? 'ready',
    sent,
    listeners,
    evalsha: (...command) => answer('evalsha', ...command),
    eval: (...command) => answer('eval', ...command),
    info: async () => fake.info ?? 'maxmemory:0\r\nmaxmemory_policy:noeviction\r\n',
    connect: async () => {
      sent.push(['connect'])
    },
    once: (event, listener) => listeners.set(event, (listeners.get(event) ?? new Set()).add(listener)),
    removeListener: (event, listener) => listeners.get(event)?.delete(listener),
    emit: (event) => {
      // A listener takes itself out while it is called, which the iteration of a set allows.
      for (const listener of listeners.get(event) ?? []) listener()
    }
  }
  return fake.cluster === true ? { ...client, nodes: () => [client] } : client
}

const listening = (client: FakeClient): number => [...client.listeners.values()].reduce((sum, set) => sum + set.size, 0)

describe('script runner', () => {
  it('sends the hash, the number of keys, the keys and the arguments', async () => {
    const client = fakeClient({ answers: [['ok']] })
    await expect(createScriptRunner(client).run(script, keys, ['text', -12, 9e15])).resolves.toEqual(['ok'])
    expect(client.sent).toEqual([['evalsha', script.sha1, 2, ...keys, 'text', '-12', '9000000000000000']])
  })

  it('sends the text after NOSCRIPT, once', async () => {
    const client = fakeClient({ answers: [replyError('NOSCRIPT No matching script. Please use EVAL.'), 'done'] })
    await expect(createScriptRunner(client).run(script, keys, ['x'])).resolves.toBe('done')
    expect(client.sent).toEqual([
      ['evalsha', script.sha1, 2, ...keys, 'x'],
      ['eval', script.lua, 2, ...keys, 'x']
    ])
  })

  it('copies bytes, so that the caller may reuse its buffer, and hands ioredis a Buffer', async () => {
    const client = fakeClient({ answers: [null] })
    const bytes = new Uint8Array([9, 1, 2, 9]).subarray(1, 3)
    await createScriptRunner(client).run(many, ['{t}'], [bytes])
    bytes.fill(0)
    expect(client.sent[0]?.at(-1)).toEqual(Buffer.from([1, 2]))
  })

  describe('refuses before anything is sent', () => {
    it.each([
      ['too few keys', script, ['a:{t}'], [], 'keys'],
      ['too many keys', script, ['a:{t}', 'b:{t}', 'c:{t}'], [], 'keys'],
      ['no keys', many, [], [], 'keys'],
      ['a key without a hash tag', many, ['a'], [], 'keys.0'],
      ['keys of two hash tags', script, ['a:{t}', 'b:{u}'], [], 'keys.1'],
      ['a key whose tag is empty', script, ['a:{t}', 'b:{}'], [], 'keys.1'],
      ['a key with a lone surrogate', many, ['\ud800{t}'], [], 'keys.0'],
      ['a fraction', many, ['{t}'], ['ok', 1.5], 'args.1'],
      ['an integer beyond 9e15', many, ['{t}'], [9_000_000_000_000_001], 'args.0'],
      ['an integer that prints with an exponent', many, ['{t}'], [1e21], 'args.0'],
      ['NaN', many, ['{t}'], [Number.NaN], 'args.0'],
      ['infinity', many, ['{t}'], [Number.POSITIVE_INFINITY], 'args.0'],
      ['text with a lone surrogate', many, ['{t}'], ['\udfff'], 'args.0'],
      ['a boolean', many, ['{t}'], [true], 'args.0'],
      ['null', many, ['{t}'], [null], 'args.0'],
      ['an array', many, ['{t}'], [['a', 'b']], 'args.0'],
      ['more than 7,000 keys and arguments', many, ['{t}'], Array.from({ length: 7_000 }, () => 1), '']
    ])('%s', async (_what, which, withKeys, withArgs, path) => {
      const client = fakeClient()
      await expect(createScriptRunner(client).run(which, withKeys, withArgs as never)).rejects.toMatchObject({
        code: 'INVALID_OPTIONS',
        detail: { subject: which.name, issues: [{ path }] }
      })
      expect(client.sent).toEqual([])
    })
  })

  describe('says what a failure means', () => {
    const resending = { ...redisSettings(), maxRetriesPerRequest: 3 }
    it.each([
      ['OOM command not allowed', redisSettings(), 'STORE_UNAVAILABLE'],
      ['LOADING Redis is loading the dataset in memory', redisSettings(), 'STORE_UNAVAILABLE'],
      ['READONLY You can not write against a read only replica.', redisSettings(), 'STORE_UNAVAILABLE'],
      ['NOREPLICAS Not enough good replicas to write.', redisSettings(), 'STORE_UNAVAILABLE'],
      ['READONLY after a resend', resending, 'COMMIT_UNKNOWN'],
      ['WRONGTYPE Operation against a key', redisSettings(), 'SCRIPT_FAILED'],
      ['NOPERM this user has no permissions', redisSettings(), 'SCRIPT_FAILED'],
      ['user_script:3: attempt to index nil', redisSettings(), 'SCRIPT_FAILED']
    ])('when redis answers %s', async (message, options, code) => {
      const client = fakeClient({ options, answers: [replyError(message)] })
      await expect(createScriptRunner(client).run(script, keys, [])).rejects.toMatchObject({ code })
    })

    it.each([
      ["Stream isn't writeable and enableOfflineQueue options is false", redisSettings(), 'STORE_UNAVAILABLE'],
      ["Stream isn't writeable and enableOfflineQueue options is false", resending, 'COMMIT_UNKNOWN'],
      ['Command timed out', redisSettings(), 'COMMIT_UNKNOWN'],
      ['Connection is closed.', redisSettings(), 'COMMIT_UNKNOWN'],
      ['Reached the max retries per request limit (which is 0)', redisSettings(), 'COMMIT_UNKNOWN']
    ])('when ioredis says %s', async (message, options, code) => {
      const client = fakeClient({ options, answers: [new Error(message)] })
      await expect(createScriptRunner(client).run(script, keys, [])).rejects.toMatchObject({ code })
    })

    it('when the text was sent after NOSCRIPT and its reply is lost', async () => {
      const client = fakeClient({ answers: [replyError('NOSCRIPT'), new Error('Connection is closed.')] })
      await expect(createScriptRunner(client).run(script, keys, [])).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
    })

    it.each(['connecting', 'connect', 'reconnecting', 'close', 'end'])(
      'when the connection is in state %s',
      async (status) => {
        const client = fakeClient({ status })
        await expect(createScriptRunner(client).run(script, keys, [])).rejects.toMatchObject({
          code: 'STORE_UNAVAILABLE',
          detail: { store: 'redis', operation: 'test.script' }
        })
        expect(client.sent).toEqual([])
      }
    )

    it('when a cluster that may resend refuses, which leaves the first attempt open', async () => {
      const options = { ...clusterSettings(), retryDelayOnFailover: 100 }
      const client = fakeClient({ cluster: true, options, answers: [replyError('CLUSTERDOWN Hash slot not served')] })
      await expect(createScriptRunner(client).run(script, keys, [])).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
    })

    it('and shows no argument in any form', async () => {
      const unknown = "ERR unknown command 'evalsha', with args beginning with: 'abc' '1' 'a secret'"
      const client = fakeClient({ answers: [replyError(unknown)] })
      const error = await createScriptRunner(client)
        .run(script, keys, ['a secret'])
        .catch((thrown: unknown) => thrown)
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('a secret')
      expect(JSON.stringify(error)).toContain('SCRIPT_FAILED')
    })
  })
})

describe('connection of a script runner', () => {
  it.each([
    ['a queue without bound', { ...redisSettings(), enableOfflineQueue: true }, 'options.enableOfflineQueue'],
    ['no command timeout', { enableOfflineQueue: false, maxRetriesPerRequest: 0 }, 'options.commandTimeout'],
    [
      'an infinite command timeout',
      { ...redisSettings(), commandTimeout: Number.POSITIVE_INFINITY },
      'options.commandTimeout'
    ],
    ['retries without end', { ...redisSettings(), maxRetriesPerRequest: null }, 'options.maxRetriesPerRequest'],
    ['a key prefix that holds a hash tag', { ...redisSettings(), keyPrefix: '{app}:' }, 'options.keyPrefix']
  ])('is refused with %s', (_what, options, path) => {
    expect(() => createScriptRunner(fakeClient({ options }))).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createScriptRunner', issues: [expect.objectContaining({ path })] }
      })
    )
  })

  it("is refused with ioredis's defaults, each with its path", () => {
    const options = { enableOfflineQueue: true, maxRetriesPerRequest: 20, redisOptions: {} }
    expect(() => createScriptRunner(fakeClient({ cluster: true, options }))).toThrow(
      expect.objectContaining({
        detail: {
          subject: 'createScriptRunner',
          issues: [
            expect.objectContaining({ path: 'options.enableOfflineQueue' }),
            expect.objectContaining({ path: 'options.redisOptions.commandTimeout' }),
            expect.objectContaining({ path: 'options.redisOptions.maxRetriesPerRequest' })
          ]
        }
      })
    )
  })

  it('is accepted with the settings made for it', () => {
    createScriptRunner(fakeClient({ options: redisSettings({ commandTimeoutMs: 250 }) }))
    createScriptRunner(fakeClient({ cluster: true, options: clusterSettings() }))
  })

  it('is refused with an option that does not exist', () => {
    expect(() => createScriptRunner(fakeClient(), { clock: testPlatform().clock } as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createScriptRunner', issues: [expect.objectContaining({ path: 'clock' })] }
      })
    )
  })

  it('is awaited by the check of the server, and connected where it is lazy', async () => {
    const client = fakeClient({ status: 'wait' })
    const checked = createScriptRunner(client).checkServer()
    expect(client.sent).toEqual([['connect']])
    client.emit('ready')
    await checked
    expect(listening(client)).toBe(0)
  })

  it('is awaited for 10 s and no longer', async () => {
    const platform = testPlatform()
    const client = fakeClient({ status: 'connecting' })
    const checked = createScriptRunner(client, { platform })
      .checkServer()
      .catch((error: unknown) => error)
    await platform.clock.advance(9_999)
    expect(listening(client)).toBe(2)
    await platform.clock.advance(1)
    expect(await checked).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(listening(client)).toBe(0)
  })

  it('is no longer awaited when the signal aborts or the client gives up', async () => {
    const platform = testPlatform()
    const client = fakeClient({ status: 'connecting' })
    const abort = new AbortController()
    const aborted = createScriptRunner(client, { platform }).checkServer({ signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    const ended = createScriptRunner(client, { platform }).checkServer()
    client.emit('end')
    await expect(ended).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(listening(client)).toBe(0)
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it.each([
    ['volatile-ttl', 'maxmemory_policy:volatile-ttl\r\n'],
    ['allkeys-lru', 'used_memory:1\r\nmaxmemory_policy:allkeys-lru\r\nx:1\r\n'],
    ['unknown', 'used_memory:1\r\n']
  ])('is refused when the server has the eviction policy %s', async (found, info) => {
    await expect(createScriptRunner(fakeClient({ info })).checkServer()).rejects.toMatchObject({
      code: 'STORE_UNSUITABLE',
      detail: { store: 'redis', setting: 'maxmemory-policy', found }
    })
  })
})
