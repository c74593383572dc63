/**
 * What the test services would use on this machine.
 *   node tooling/services/src/cli.ts status     one line each; starts and fetches nothing
 *   node tooling/services/src/cli.ts prepare    fetches redis-server where it is missing, as a test run would
 */
import process from 'node:process'
import { ensureRedis, findBubblewrap, findChromium, findPostgres, findRedis, MissingServiceError } from './index.ts'
import { onPath, variable } from './locate.ts'

function status(): void {
  const fetchable = onPath(['apt-get']) === undefined ? 'missing' : 'missing; unpacked into .toolchain/ when asked for'
  const rows: readonly (readonly [string, string])[] = [
    ['redis', shown(variable('REDIS_URL'), findRedis(), fetchable)],
    ['redis cluster', shown(variable('REDIS_CLUSTER_URLS'), findRedis(), fetchable)],
    ['postgres', shown(variable('POSTGRES_URL'), findPostgres(), 'missing')],
    ['chromium', findChromium() ?? fetchable],
    ['bubblewrap', findBubblewrap() ?? fetchable]
  ]
  for (const [name, found] of rows) console.log(`${name.padEnd(14)} ${found}`)
}

/** An address may carry a password: only that it is set is shown. */
const shown = (given: string | undefined, found: string | undefined, otherwise: string): string =>
  given !== undefined ? 'the running server that the environment names' : (found ?? otherwise)

const [command] = process.argv.slice(2)
if (command === 'status') status()
else if (command === 'prepare') {
  try {
    console.log(await ensureRedis())
  } catch (error) {
    if (!(error instanceof MissingServiceError)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
} else {
  console.error('usage: node tooling/services/src/cli.ts status | prepare')
  process.exitCode = 2
}
