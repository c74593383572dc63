/**
 * Proves on the oldest supported Nodes that a sandbox, a Redis script and SQLite work from the sources, from the build,
 * from packed tarballs installed by npm (import and require) and from a bundled application; and that users' code
 * type-checks on the oldest and the newest TypeScript with every declaration checked and no optional peer installed.
 *
 *   node tooling/matrix/src/main.ts
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { command, type Ended, eachOf } from '@enablement/checks/command'
import { packagesIn } from '@enablement/checks/workspace'
import { startRedis } from '@enablement/services'
import { bundle, installConsumers, writeTsconfig } from './consumer.ts'
import { compilers, nodeVersions, provideTools } from './tools.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url)).replace(/[\\/]$/, '')

/** A program of seconds; one that hangs is a failure. */
const limitMs = 90_000
const lanes = 2

interface Cell {
  readonly where: string
  readonly what: string
  run(): Promise<Ended>
}

for (const { entries, folder, at } of packagesIn(root)) {
  const missing = entries.find((entry) => !existsSync(path.join(folder, entry.built)))
  if (missing === undefined) continue
  console.error(`${at}/${missing.built.slice(2)} is not built: run \`npm run build\``)
  process.exit(1)
}

const started = performance.now()
const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`
const scratch = mkdtempSync(path.join(os.tmpdir(), 'matrix-'))
let redis: Awaited<ReturnType<typeof startRedis>> | undefined
try {
  const [tools, consumers, server] = await Promise.all([
    provideTools(root),
    installConsumers(root, scratch),
    process.env['REDIS_URL'] === undefined ? startRedis() : undefined
  ])
  redis = server
  const redisUrl = process.env['REDIS_URL'] ?? server?.url ?? ''
  const app = await bundle(consumers.app, path.join(scratch, 'bundled'))
  console.log(`prepared in ${seconds(started)}`)

  const environment = (tenant: string): NodeJS.ProcessEnv => {
    const { NODE_OPTIONS: _, ...env } = process.env
    const entries = [...consumers.app.entries, '@enablement/core/package.json'].filter(
      (name) => !name.endsWith('.json')
    )
    return { ...env, REDIS_URL: redisUrl, TENANT: tenant, ENTRIES: JSON.stringify(entries) }
  }
  const onNode = nodeVersions.flatMap((version): Cell[] => {
    const node = tools.node(version)
    const vitest = (target: string): Cell['run'] => {
      const config = path.join(root, 'tooling/matrix/vitest.config.ts')
      const args = [path.join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--config', config]
      const env = { ...environment(`${version}-${target}`), TARGET: target }
      return () => command(node, args, { env, timeoutMs: limitMs })
    }
    const program = (name: string, file: string, cwd: string): Cell['run'] => {
      return () => command(node, [file], { cwd, env: environment(`${version}-${name}`), timeoutMs: limitMs })
    }
    const { folder } = consumers.app
    const where = `Node ${version}`
    return [
      { where, what: 'sources', run: vitest('sources') },
      { where, what: 'build', run: vitest('dist') },
      { where, what: 'tarball, import', run: program('import', 'import.mjs', folder) },
      { where, what: 'tarball, require', run: program('require', 'require.cjs', folder) },
      { where, what: 'bundled', run: program('bundled', app, path.dirname(app)) }
    ]
  })
  const onCompilers = (['nodenext', 'bundler'] as const).flatMap((resolution) => {
    const config = writeTsconfig(consumers.types, resolution)
    return compilers.map((compiler): Cell => {
      const args = [tools.tsc(compiler), '-p', config, '--pretty', 'false']
      const cwd = consumers.types.folder
      return {
        where: compiler,
        what: resolution,
        run: () => command(process.execPath, args, { cwd, timeoutMs: limitMs })
      }
    })
  })
  const statuses = await eachOf([...onNode, ...onCompilers], lanes, async ({ where, what, run }) => {
    const begun = performance.now()
    const { status, output } = await run()
    console.log(
      `${status === 0 ? 'ok    ' : 'FAILED'}  ${where.padEnd(14)}  ${what.padEnd(16)} ${seconds(begun).padStart(7)}`
    )
    if (status !== 0) console.log(output.trimEnd().replaceAll(/^/gm, '  '))
    return status
  })
  const failed = statuses.filter((status) => status !== 0).length
  console.log(`${statuses.length - failed} cells passed, ${failed} failed, ${seconds(started)}`)
  process.exitCode = failed === 0 ? 0 : 1
} finally {
  await redis?.stop()
  rmSync(scratch, { recursive: true, force: true })
}
