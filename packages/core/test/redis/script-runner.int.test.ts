import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { inspect } from 'node:util'
import {
  clusterSettings,
  createScriptRunner,
  defineScript,
  hashTagged,
  redisSettings,
  replyInteger,
  replyList,
  replyText,
  type ScriptRunner
} from '@enablement/core/redis'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import spendLua from './spend.lua'

const spendScript = defineScript({ name: 'test.spend', lua: spendLua, keys: 2 })
const echoScript = defineScript({
  name: 'test.echo',
  lua: "return { ARGV[1], string.format('%.0f', tonumber(ARGV[2])), #ARGV[3], false }",
  keys: 1
})

interface Server {
  readonly client: Redis | Cluster
  /** Makes every master forget its scripts. */
  flushScripts(): Promise<void>
}

function redisServer(more: { readonly lazyConnect?: true } = {}): Server {
  const client = new Redis(inject('redisUrl'), { ...redisSettings(), ...more })
  return { client, flushScripts: async () => void (await client.script('FLUSH')) }
}

function clusterServer(more: { readonly lazyConnect?: true } = {}): Server {
  const client = new Cluster(inject('redisClusterUrls'), { ...clusterSettings(), ...more })
  return {
    client,
    flushScripts: async () => {
      await Promise.all(client.nodes('master').map((node) => node.script('FLUSH')))
    }
  }
}

describe.each([
  ['redis', redisServer],
  ['redis cluster', clusterServer]
] as const)('script runner on %s', (_name, start) => {
  let server: Server
  let runner: ScriptRunner
  const runId = `run-${process.pid}-${process.hrtime.bigint()}`

  beforeAll(async () => {
    server = start()
    runner = createScriptRunner(server.client)
    await runner.checkServer()
  })
  afterAll(() => server.client.disconnect())

  const account = (name: string): { balance: string; answers: string } => {
    const tag = `${runId}:${name}`
    return {
      balance: hashTagged({ prefix: 'test:balance', tag }),
      answers: hashTagged({ prefix: 'test:answers', tag, parts: ['spend'] })
    }
  }

  const spend = async (
    name: string,
    key: string,
    amount: number
  ): Promise<{ outcome: string; balance: number; at: number }> => {
    const { balance, answers } = account(name)
    const [outcome, left, at] = replyList(await runner.run(spendScript, [balance, answers], [key, amount, 60_000]))
    return { outcome: replyText(outcome), balance: replyInteger(left), at: replyInteger(at) }
  }

  it('sends the text to a server that does not know it, and the hash from then on', async () => {
    await server.flushScripts()
    await server.client.set(account('first').balance, '10')
    expect(await spend('first', 'call-1', 4)).toMatchObject({ outcome: 'spent', balance: 6 })
    expect(await spend('first', 'call-2', 4)).toMatchObject({ outcome: 'spent', balance: 2 })
    expect(await spend('first', 'call-3', 4)).toMatchObject({ outcome: 'refused', balance: 2 })
  })

  it('takes effect once when called twice under one idempotency key, across a flush of the scripts', async () => {
    await server.client.set(account('twice').balance, '10')
    const first = await spend('twice', 'call-1', 4)
    await server.flushScripts()
    expect(await spend('twice', 'call-1', 4)).toEqual(first)
    expect(await server.client.get(account('twice').balance)).toBe('6')
  })

  it('runs every one of many concurrent calls that all meet a flushed server', async () => {
    const names = Array.from({ length: 40 }, (_, at) => `tenant-${at}`)
    await Promise.all(names.map((name) => server.client.set(account(name).balance, '1')))
    await server.flushScripts()
    const spent = await Promise.all(names.map((name) => spend(name, 'call-1', 1)))
    expect(spent.map(({ outcome }) => outcome)).toEqual(names.map(() => 'spent'))
    expect(await Promise.all(names.map((name) => server.client.get(account(name).balance)))).toEqual(
      names.map(() => '0')
    )
  })

  it("tells the server's time", async () => {
    const [before] = (await server.client.call('TIME')) as [string, string]
    const { at } = await spend('time', 'call-1', 0)
    expect(at).toBeGreaterThanOrEqual(Number(before) * 1_000)
  })

  it('carries integers up to 9e15 and text of every kind there and back', async () => {
    const key = hashTagged({ prefix: 'test:echo', tag: runId })
    for (const integer of [0, -1, 9e15, -9e15]) {
      const text = 'snow ☃ and %{} \u0000 and 🜁'
      const [back, number, length, nil] = replyList(
        await runner.run(echoScript, [key], [text, integer, Uint8Array.of(0, 255, 10)])
      )
      expect([replyText(back), replyInteger(number), replyInteger(length), nil]).toEqual([text, integer, 3, null])
    }
  })

  it('reports a failing script with its code and without its arguments', async () => {
    const key = hashTagged({ prefix: 'test:wrong', tag: runId })
    await server.client.lpush(key, 'a list')
    const script = defineScript({ name: 'test.wrong', lua: "return redis.call('GET', KEYS[1])", keys: 1 })
    const error = await runner.run(script, [key], ['a secret']).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'SCRIPT_FAILED', detail: { script: 'test.wrong', reply: 'WRONGTYPE' } })
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('a secret')
  })

  it('refuses a server that would evict keys', async () => {
    const masters = server.client instanceof Cluster ? server.client.nodes('master') : [server.client]
    const last = masters[masters.length - 1] as Redis
    await last.config('SET', 'maxmemory-policy', 'allkeys-lru')
    try {
      await expect(runner.checkServer()).rejects.toMatchObject({
        code: 'STORE_UNSUITABLE',
        detail: { store: 'redis', setting: 'maxmemory-policy', found: 'allkeys-lru' }
      })
    } finally {
      await last.config('SET', 'maxmemory-policy', 'noeviction')
    }
    await runner.checkServer()
  })

  it('connects a lazy client when the server is checked', async () => {
    const lazy = start({ lazyConnect: true })
    expect(lazy.client.status).toBe('wait')
    const lazyRunner = createScriptRunner(lazy.client)
    await lazyRunner.checkServer()
    const key = hashTagged({ prefix: 'test:echo', tag: runId })
    expect(replyList(await lazyRunner.run(echoScript, [key], ['x', 1, '']))[0]).toBe('x')
    lazy.client.disconnect()
  })

  it('says that nothing ran when the connection is closed', async () => {
    const other = start()
    const closed = createScriptRunner(other.client)
    await closed.checkServer()
    other.client.disconnect()
    await new Promise((resolve) => other.client.once('end', resolve))
    const key = hashTagged({ prefix: 'test:echo', tag: runId })
    await expect(closed.run(echoScript, [key], ['', 0, ''])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(closed.checkServer()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  it('says that it may have run when no reply comes in time, and so it has', async () => {
    const slow = new Redis(
      server.client instanceof Cluster ? (inject('redisClusterUrls')[0] as string) : inject('redisUrl'),
      redisSettings({ commandTimeoutMs: 40 })
    )
    const impatient = createScriptRunner(slow)
    await impatient.checkServer()
    // A key whose slot is on the node that `slow` is connected to.
    let key = ''
    for (let at = 0; key === ''; at++) {
      const candidate = hashTagged({ prefix: 'test:slow', tag: `${runId}-${at}` })
      if ((await slow.set(candidate, '0').catch(() => undefined)) === 'OK') key = candidate
    }
    const busy = defineScript({
      name: 'test.slow',
      lua: "redis.call('SET', KEYS[1], ARGV[1]); local t = redis.call('TIME'); local till = t[1] * 1e6 + t[2] + 200000; repeat t = redis.call('TIME') until t[1] * 1e6 + t[2] > till; return 'late'",
      keys: 1
    })
    await expect(impatient.run(busy, [key], ['done'])).rejects.toMatchObject({
      code: 'COMMIT_UNKNOWN',
      detail: { store: 'redis' }
    })
    expect(await server.client.get(key)).toBe('done')
    slow.disconnect()
  })
})

describe('script whose reply is lost with the connection', () => {
  /** Passes bytes on to Redis; once armed, it closes both ends instead of passing the next reply back. */
  async function lossyProxy(): Promise<{ url: string; arm(): void; close(): Promise<void> }> {
    const { hostname, port } = new URL(inject('redisUrl'))
    const sockets = new Set<Socket>()
    let armed = false
    const server = createServer((near) => {
      const far = connect(Number(port), hostname)
      sockets.add(near).add(far)
      for (const [from, to] of [
        [near, far],
        [far, near]
      ] as const) {
        from.on('error', () => to.destroy())
        from.on('close', () => to.destroy())
      }
      near.on('data', (chunk) => far.write(chunk))
      far.on('data', (chunk) => {
        if (armed) near.destroy()
        else near.write(chunk)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return {
      url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      arm: () => {
        armed = true
      },
      close: async () => {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      }
    }
  }

  const count = defineScript({ name: 'test.count', lua: "return redis.call('INCR', KEYS[1])", keys: 1 })

  it('is run once and reported as possibly run', async () => {
    const proxy = await lossyProxy()
    const client = new Redis(proxy.url, { ...redisSettings({ commandTimeoutMs: 5_000 }), retryStrategy: () => 10 })
    const direct = new Redis(inject('redisUrl'))
    try {
      const runner = createScriptRunner(client)
      await runner.checkServer()
      const key = hashTagged({ prefix: 'test:count', tag: `lost-${process.hrtime.bigint()}` })
      await runner.run(count, [key], [])
      proxy.arm()
      await expect(runner.run(count, [key], [])).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
      await expect(runner.run(count, [key], [])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(await direct.get(key)).toBe('2')
    } finally {
      client.disconnect()
      direct.disconnect()
      await proxy.close()
    }
  })
})
