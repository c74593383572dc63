import { spawn } from 'node:child_process'
import path from 'node:path'
import { clusterSettings, redisSettings } from '@enablement/core/redis'
import { faultProxy } from '@enablement/core/testing/node'
import type { Charge, QuotaStore, SpendAnswer } from '@enablement/metering'
import { redisQuotaStore } from '@enablement/metering/redis'
import { startRedis } from '@enablement/services'
import { fc, test } from '@fast-check/vitest'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

const scale = inject('scale')
const run = `${process.pid}-${process.hrtime.bigint()}`
let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `org-${run}-${tenants}`
}

const lifetime = (quantity: number, differences: Partial<Charge> = {}): readonly Charge[] => [
  { limit: 'units', path: [], quantity, rule: { kind: 'lifetime' }, reserved: [], ...differences }
]
const counterOf = (tenant: string): string => `enablement:quota:{${tenant}}:units`

async function spend(
  store: QuotaStore,
  tenant: string,
  charges: readonly Charge[],
  amount = 1,
  key?: string
): Promise<SpendAnswer | undefined> {
  const group = { scope: 'quota', charges, amounts: [amount], keys: [key], idempotencyMs: 60_000 }
  return (await store.consume(tenant, [group]))[0]?.[0]
}

async function used(store: QuotaStore, tenant: string, charges: readonly Charge[]): Promise<number | undefined> {
  const readings = await store.read(tenant, charges)
  return 'outcome' in readings ? undefined : readings[0]?.used
}

describe('a client that sends commands again', () => {
  it('spends once what is sent twice because its reply was lost', async () => {
    await using proxy = await faultProxy({ target: { port: Number(new URL(inject('redisUrl')).port) } })
    const settings = { ...redisSettings({ commandTimeoutMs: 5_000 }), maxRetriesPerRequest: 20, retryStrategy: () => 1 }
    const client = new Redis(proxy.port, settings)
    client.on('error', () => {})
    try {
      const store = redisQuotaStore(client)
      await store.checkServer()
      const [tenant, charges] = [freshTenant(), lifetime(1_000_000)]
      let lost = 0
      for (let round = 0; round < 40 * Math.max(0.25, scale); round++) {
        if (client.status !== 'ready') await store.checkServer()
        if (round % 2 === 0) {
          // What came back is thrown away, and the connection with it: ioredis sends the command again.
          proxy.faults.add({ kind: 'reset', only: ['down'], times: 1 })
          lost += 1
        }
        const [answers] = await store.consume(tenant, [
          { scope: 'quota', charges, amounts: [1, 2, 3], idempotencyMs: 60_000 }
        ])
        const remaining = 1_000_000 - 6 * round
        expect(answers).toMatchObject([1, 3, 6].map((taken) => ({ outcome: 'consumed', remaining: remaining - taken })))
      }
      expect(lost).toBeGreaterThan(0)
    } finally {
      client.disconnect()
    }
  })

  it('does not know what became of a call whose reply never came, and its key finds out', async () => {
    await using proxy = await faultProxy({ target: { port: Number(new URL(inject('redisUrl')).port) } })
    const client = new Redis(proxy.port, redisSettings({ commandTimeoutMs: 100 }))
    client.on('error', () => {})
    try {
      const store = redisQuotaStore(client)
      await store.checkServer()
      const [tenant, charges] = [freshTenant(), lifetime(10)]
      await spend(store, tenant, charges)
      const heal = proxy.faults.add({ kind: 'drop', lose: 'reply', only: ['down'], times: 1 })
      await expect(spend(store, tenant, charges, 4, 'call')).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' })
      heal()
      client.disconnect(true)
      await new Promise<void>((resolve) => client.once('ready', () => resolve()))
      expect(await spend(store, tenant, charges, 4, 'call')).toMatchObject({ remaining: 5, replayed: true })
      expect(await used(store, tenant, charges)).toBe(5)
    } finally {
      client.disconnect()
    }
  })
})

describe.each([
  ['Redis', () => new Redis(inject('redisUrl'), redisSettings())],
  ['Redis Cluster', () => new Cluster(inject('redisClusterUrls'), clusterSettings())]
] as const)('quotas on %s', (_name, connect) => {
  let client: Redis | Cluster
  let store: QuotaStore
  beforeAll(async () => {
    client = connect()
    const checked = redisQuotaStore(client)
    await checked.checkServer()
    store = checked
  })
  afterAll(() => client.disconnect())
  const masters = (): readonly Redis[] => (client instanceof Redis ? [client] : client.nodes('master'))

  it('go on when the server has forgotten the scripts', async () => {
    const [tenant, charges] = [freshTenant(), lifetime(10)]
    await spend(store, tenant, charges)
    await Promise.all(masters().map((master) => master.script('FLUSH')))
    expect(await spend(store, tenant, charges)).toMatchObject({ remaining: 8 })
  })

  it.each([
    ['hash', (key: string) => client.hset(key, 'used', '0')],
    ['list', (key: string) => client.lpush(key, '1')],
    ['foreign text', (key: string) => client.set(key, 'foreign')],
    ['number', (key: string) => client.set(key, '5')],
    ['damaged counter', (key: string) => client.set(key, 'w:0:8640000000000000:-1:0')]
  ])('write nothing where a counter should be and a %s is', async (_what, put) => {
    const tenant = freshTenant()
    const charges = [...lifetime(10, { path: ['a'] }), ...lifetime(10)]
    await put(counterOf(tenant))
    await expect(spend(store, tenant, charges, 1, 'call')).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await client.del(counterOf(tenant))
    expect(await spend(store, tenant, charges, 1, 'call')).toMatchObject({ remaining: 9, replayed: false })
  })

  it('write nothing where holds, replies and remembered spends should be and others are', async () => {
    const charges = lifetime(10)
    for (const kind of ['holds', 'spends']) {
      const tenant = freshTenant()
      await spend(store, tenant, charges, 1, 'call')
      const prefix = `enablement:quota-${kind}:{${tenant}}`
      const keys = kind === 'holds' ? [prefix] : [0, 1, 2].map((turn) => `${prefix}:60000:${turn}`)
      for (const key of keys) await client.set(key, 'foreign')
      await expect(spend(store, tenant, charges, 1, 'other')).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
      for (const key of keys) await client.del(key)
      expect(await used(store, tenant, charges)).toBe(1)
    }
  })

  it('let keys expire at an absolute time, a day after their window or when the keys are forgotten', async () => {
    const tenant = freshTenant()
    const charges = lifetime(10, { rule: { kind: 'every', everyMs: 60_000 } })
    const answer = await spend(store, tenant, charges, 1, 'call')
    const expiresAt = await client.pexpiretime(counterOf(tenant))
    expect(answer).toMatchObject({ resetsAt: expiresAt - 86_400_000 })
    await spend(store, tenant, charges)
    expect(await client.pexpiretime(counterOf(tenant))).toBeGreaterThanOrEqual(expiresAt)
    const memories = [0, 1, 2].map((turn) => `enablement:quota-spends:{${tenant}}:60000:${turn}`)
    const ends = (await Promise.all(memories.map((key) => client.pexpiretime(key)))).filter((end) => end > 0)
    expect(ends).toHaveLength(1)
    expect(ends[0] as number).toBeGreaterThan(expiresAt - 86_400_000)
    const forever = freshTenant()
    await spend(store, forever, lifetime(10))
    expect(await client.pexpiretime(counterOf(forever))).toBe(-1)
  })

  test.prop(
    [
      fc
        .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
        .filter((name) => /^[^\p{Cc}\p{Cs}]*\S[^\p{Cc}\p{Cs}]*$/u.test(name)),
      fc.constantFrom('{x}', '}', '{', ':', '%7B', '#', '\u{1F600}', ' a ', 'a b')
    ],
    { numRuns: Math.ceil(20 * scale) }
  )('take any name into the slot of its tenant', async (name, odd) => {
    const tenant = `${freshTenant()}${odd}${name}`
    const charges = [
      ...lifetime(10, { path: [name, odd] }),
      ...lifetime(10, { path: [`${name}${odd}`] }),
      ...lifetime(10)
    ]
    expect(await spend(store, tenant, charges, 1, `${odd}${name}`)).toMatchObject({ outcome: 'consumed', remaining: 9 })
    expect(await spend(store, tenant, charges, 1, `${odd}${name}`)).toMatchObject({ replayed: true })
    const hold = {
      scope: name,
      key: odd,
      charges,
      amount: 2,
      amountMin: 1,
      ttlMs: 1,
      onExpiry: 'returned' as const,
      keepMs: 9_000
    }
    expect(await store.hold(tenant, hold)).toMatchObject({ outcome: 'held', amount: 2 })
    expect(await store.settle(tenant, { ...hold, actual: 1 })).toMatchObject({ outcome: 'settled' })
  })

  it('hold for a tenant as often as may be, and no more', async () => {
    const tenant = freshTenant()
    const open = `enablement:quota-holds:{${tenant}}`
    const fill = "for at = 1, 99999 do redis.call('ZADD', KEYS[1], '9e15', 'hold' .. at) end"
    await client.eval(fill, 1, open)
    const hold = { scope: 'quota', charges: lifetime(10), amount: 1, amountMin: 1, ttlMs: 60_000, keepMs: 60_000 }
    const request = { ...hold, key: 'last', onExpiry: 'returned' as const }
    expect(await store.hold(tenant, request)).toMatchObject({ outcome: 'held' })
    await expect(store.hold(tenant, { ...request, key: 'more' })).rejects.toMatchObject({ code: 'OVERLOADED' })
    expect(await used(store, tenant, lifetime(10))).toBe(1)
    expect(await store.hold(tenant, request)).toMatchObject({ outcome: 'held', replayed: true })
    await client.del(open)
  })

  it('decide what no single script could take', async () => {
    const tenant = freshTenant()
    const groups = Array.from({ length: 1_100 }, (_, at) => ({
      scope: `quota-${at}`,
      charges: [...lifetime(3, { path: [`user-${at}`] }), ...lifetime(3_000)],
      amounts: [1, 1, 1],
      keys: ['a', 'b', 'a'],
      idempotencyMs: 60_000
    }))
    const answers = await store.consume(tenant, groups)
    expect(answers.flat().filter((answer) => answer.outcome === 'consumed' && answer.replayed)).toHaveLength(1_100)
    expect(answers.at(-1)?.[1]).toMatchObject({ remaining: 1 })
    expect(await used(store, tenant, lifetime(3_000))).toBe(2_200)
  })
})

describe('a server that would lose quotas', () => {
  it('is refused when it evicts keys, or writes without replicas under min-replicas', async () => {
    await using evicting = await startRedis({ settings: ['--maxmemory-policy', 'allkeys-lru'] })
    const clients = [evicting.url, inject('redisUrl')].map((url) => new Redis(url, redisSettings()))
    try {
      const [first, second] = clients as [Redis, Redis]
      await expect(redisQuotaStore(first).checkServer()).rejects.toMatchObject({
        code: 'STORE_UNSUITABLE',
        detail: { setting: 'maxmemory-policy', found: 'allkeys-lru' }
      })
      await expect(redisQuotaStore(second, { durability: 'min-replicas' }).checkServer()).rejects.toMatchObject({
        code: 'STORE_UNSUITABLE',
        detail: { setting: 'min-replicas-to-write', found: '0' }
      })
    } finally {
      for (const client of clients) client.disconnect()
    }
  })

  it('is not waited for longer than its connection waits', () => {
    const client = new Redis(inject('redisUrl'), { ...redisSettings(), lazyConnect: true })
    expect(() => redisQuotaStore(client, { durability: 'min-replicas', waitMs: 1_000 })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
    expect(() => redisQuotaStore(client, { durability: 'ledger' } as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })
})

describe('four processes on one Redis', () => {
  it('are sold what there is and not a unit more, though two of them are killed', async () => {
    const tenant = freshTenant()
    const source = process.env['TARGET'] === 'dist' ? [] : ['--conditions=@enablement/source', '--import', lua]
    const script = path.join(import.meta.dirname, 'quota-process.ts')
    const told = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name, at) => spender([...source, script, inject('redisUrl'), tenant, name], at < 2))
    )
    const sold = told.flat().reduce((sum, amount) => sum + amount, 0)
    const client = new Redis(inject('redisUrl'), redisSettings())
    try {
      const store = redisQuotaStore(client)
      await store.checkServer()
      const taken = (await used(store, tenant, lifetime(1_000))) as number
      expect(taken).toBeLessThanOrEqual(1_000)
      expect(taken).toBeGreaterThan(990)
      // The dead may have been sold something that they could not say.
      expect(sold).toBeLessThanOrEqual(taken)
      expect(sold).toBeGreaterThan(taken - 2 * 8 * 5)
    } finally {
      client.disconnect()
    }
  }, 60_000)
})

/** Lets a process load scripts from the sources, as the build and vitest do. */
const lua = `data:text/javascript,${encodeURIComponent(`import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
registerHooks({ load: (url, context, next) => url.endsWith('.lua')
  ? { format: 'module', shortCircuit: true, source: 'export default ' + JSON.stringify(readFileSync(new URL(url), 'utf8')) }
  : next(url, context) })`)}`

/** Starts a process, and kills it after some lines if it is to be. Gives the amounts that it was told it was sold. */
function spender(args: readonly string[], isKilled: boolean): Promise<number[]> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (isKilled && output.split('\n').length > 20) child.kill('SIGKILL')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code !== 0 && signal !== 'SIGKILL') return reject(new Error(`a spending process failed: ${errors}`))
      resolve(output.split('\n').slice(0, -1).map(Number))
    })
  })
}
