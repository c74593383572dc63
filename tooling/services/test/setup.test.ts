import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { TestProject } from 'vitest/node'
import setup from '../src/vitest.ts'
import { answers, playground } from './support/traces.ts'

const names = ['REDIS_URL', 'REDIS_CLUSTER_URLS', 'POSTGRES_URL'] as const
afterEach(() => {
  vi.unstubAllEnvs()
})

/** Runs the globalSetup for a project with the given files; returns what it provided and its teardown. */
async function set(folder: string, files: Readonly<Record<string, string>>) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    writeFileSync(path.join(folder, name), text)
  }
  const provided: Record<string, unknown> = {}
  const testFiles = Object.keys(files)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => path.join(folder, name))
  const project = {
    vitest: {},
    globTestFiles: async () => ({ testFiles, typecheckTestFiles: [] }),
    provide: (key: string, value: unknown) => {
      provided[key] = value
    }
  } as unknown as TestProject
  return { provided, teardown: await setup(project) }
}

describe('globalSetup', { timeout: 60_000 }, () => {
  it('hands out the servers that the environment names, and starts none', async () => {
    using play = playground()
    vi.stubEnv('REDIS_URL', 'redis://given:1')
    vi.stubEnv('REDIS_CLUSTER_URLS', 'redis://given:2,redis://given:3')
    vi.stubEnv('POSTGRES_URL', 'postgres://given:4/x')
    const { provided, teardown } = await set(play.folder, { 'test/a.int.test.ts': '' })
    expect(provided).toEqual({
      redisUrl: 'redis://given:1',
      redisClusterUrls: ['redis://given:2', 'redis://given:3'],
      postgresUrl: 'postgres://given:4/x'
    })
    await teardown()
  })

  it('starts only what the tests, or helpers beside them, ask for', async () => {
    using play = playground()
    for (const name of names) vi.stubEnv(name, '')
    const { provided, teardown } = await set(play.folder, {
      'packages/a/test/deep/a.int.test.ts': `import { store } from '../support/store.ts'`,
      'packages/a/test/support/store.ts': `inject('redisUrl')`,
      'packages/b/test/b.ts': `inject('postgresUrl')`
    })
    expect(Object.keys(provided)).toEqual(['redisUrl'])
    const url = provided['redisUrl'] as string
    expect(await answers(url)).toBe(true)
    await teardown()
    expect(await answers(url)).toBe(false)
  })
})

describe('status', () => {
  const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [cli, ...args], {
      encoding: 'utf8',
      env: { ...process.env, REDIS_URL: 'redis://:secret@given:1', CHROMIUM_BIN: '/opt/browser', PG_BIN_DIR: '/opt/pg' }
    })

  it('says what would be used, without the address of a given server', () => {
    const { status, stdout } = run('status')
    expect(status).toBe(0)
    expect(stdout).toContain('the running server that the environment names')
    expect(stdout).not.toContain('secret')
    expect(stdout).toContain('/opt/browser')
    expect(stdout).toContain('/opt/pg')
  })

  it('explains itself when asked for anything else', () => {
    expect(run('restart')).toMatchObject({ status: 2, stderr: expect.stringContaining('usage:') })
  })
})
