// Runs the benchmarks named on the command line, or all: `npm run bench -- messaging`. Each folder here is one name; its
// files export `rows()`, which runs ours and the peer interleaved and gives medians. The results are committed, so that
// a change of speed is a change that a reviewer sees.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const folders = fs
  .readdirSync(here, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !['node_modules', 'results'].includes(entry.name))
  .map((entry) => entry.name)
  .sort()

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !folders.includes(name))
if (unknown.length > 0) {
  console.error(`no benchmark named ${unknown.join(', ')}; there are ${folders.join(', ')}`)
  process.exit(2)
}

const peers = JSON.parse(fs.readFileSync(path.join(here, 'package.json'), 'utf8')).dependencies
const isInstalled = ([name, version]) => {
  const manifest = path.join(here, 'node_modules', name, 'package.json')
  return fs.existsSync(manifest) && JSON.parse(fs.readFileSync(manifest, 'utf8')).version === version
}
if (!Object.entries(peers).every(isInstalled)) {
  console.error('installing the peers into bench/node_modules')
  const npm = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'], {
    cwd: here,
    stdio: 'inherit',
    shell: process.platform === 'win32'
  })
  if (npm.status !== 0) process.exit(npm.status ?? 1)
}

const machine = {
  cpu: os.cpus()[0]?.model ?? 'unknown',
  cores: os.cpus().length,
  memoryGiB: Math.round(os.totalmem() / 2 ** 30),
  os: `${os.type()} ${os.release()} ${os.arch()}`,
  node: process.version
}

for (const name of wanted.length > 0 ? wanted : folders) {
  const rows = []
  for (const file of fs.readdirSync(path.join(here, name)).sort()) {
    if (!file.endsWith('.mjs')) continue
    const benchmark = await import(pathToFileURL(path.join(here, name, file)).href)
    // Helper modules in a folder export no rows.
    if (typeof benchmark.rows === 'function') rows.push(...(await benchmark.rows()))
  }
  fs.mkdirSync(path.join(here, 'results'), { recursive: true })
  fs.writeFileSync(path.join(here, 'results', `${name}.json`), `${JSON.stringify({ name, machine, rows }, null, 2)}\n`)
  console.log(`\n${name}`)
  console.table(Object.fromEntries(rows.map(({ id, ...row }) => [id, row])))
}
