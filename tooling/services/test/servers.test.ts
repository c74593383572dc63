import { readdirSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Service, startPostgres, startRedis, startRedisCluster } from '../src/index.ts'
import { answers, firstReply, playground } from './support/traces.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('throw-away servers', { timeout: 60_000 }, () => {
  const table: readonly { name: string; start: () => Promise<Service> }[] = [
    { name: 'Redis', start: startRedis },
    { name: 'PostgreSQL', start: startPostgres },
    { name: 'a Redis Cluster', start: startRedisCluster }
  ]
  it.each(table)('answer until they are stopped, and leave no file: $name', async ({ start }) => {
    using play = playground()
    vi.stubEnv('TMPDIR', play.folder)
    const server = await start()
    const urls = server.url.split(',')
    for (const url of urls) expect(await answers(url)).toBe(true)
    expect(readdirSync(play.folder)).toHaveLength(urls.length)
    await Promise.all([server.stop(), server.stop()])
    for (const url of urls) expect(await answers(url)).toBe(false)
    expect(readdirSync(play.folder)).toEqual([])
  })

  it('run side by side', async () => {
    const both = await Promise.all([startRedis(), startRedis()])
    expect(new Set(both.map((one) => one.url)).size).toBe(2)
    await Promise.all(both.map((one) => one.stop()))
  })

  it('make a cluster whose every slot has a master', async () => {
    await using cluster = await startRedisCluster()
    for (const url of cluster.url.split(',')) {
      const reply = await firstReply(url, '*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n')
      expect(reply).toContain('cluster_state:ok')
      expect(reply).toContain('cluster_slots_ok:16384')
    }
  })

  it('say what the program said when it would not start', async () => {
    using play = playground()
    vi.stubEnv('TMPDIR', play.folder)
    vi.stubEnv('REDIS_SERVER_BIN', '/bin/false')
    await expect(startRedis()).rejects.toThrow('false exited with 1 while starting')
    expect(readdirSync(play.folder)).toEqual([])
  })
})
