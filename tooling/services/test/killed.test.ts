import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { answers, canSeeProcesses, eventually, playground, processesIn } from './support/traces.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
const signals = ['SIGTERM', 'SIGINT', 'SIGKILL'] as const

/** Waits for the line of addresses that a fixture prints once everything runs. */
async function addresses(child: ChildProcess): Promise<string[]> {
  let printed = ''
  return await new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      printed += chunk.toString()
      const line = printed.split('\n').find((text) => text.startsWith('["'))
      if (line !== undefined) resolve((JSON.parse(line) as string[]).flatMap((url) => url.split(',')))
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      printed += chunk.toString()
    })
    child.once('exit', (code) => reject(new Error(`the fixture exited with ${code} too early:\n${printed}`)))
  })
}

async function expectNothingLeft(folder: string, urls: readonly string[]): Promise<void> {
  await eventually(() => processesIn(folder).length === 0 && readdirSync(folder).length === 0, 15_000)
  expect(processesIn(folder)).toEqual([])
  expect(readdirSync(folder)).toEqual([])
  for (const url of urls) expect(await answers(url)).toBe(false)
}

const environment = (folder: string): NodeJS.ProcessEnv => {
  const clean = Object.entries(process.env).filter(([name]) => !/^(VITEST|TEST$|NODE_ENV|npm_|.*_URLS?$)/.test(name))
  // npm would keep Node's compile cache in the temporary folder.
  return { ...Object.fromEntries(clean), TMPDIR: folder, NODE_DISABLE_COMPILE_CACHE: '1' }
}

// Looking for what is left needs /proc; the servers' own supervision does not.
describe.runIf(canSeeProcesses).concurrent('servers of a program that is killed', { timeout: 60_000 }, () => {
  it.each(signals)('are gone with their files: %s', async (signal) => {
    using play = playground()
    const program = spawn(process.execPath, [path.join(here, 'fixtures/hold.ts')], { env: environment(play.folder) })
    const urls = await addresses(program)
    for (const url of urls) expect(await answers(url)).toBe(true)
    program.kill(signal)
    await expectNothingLeft(play.folder, urls)
  })
})

describe.runIf(canSeeProcesses).concurrent('servers that are still starting', { timeout: 60_000 }, () => {
  it.each([0, 50, 150, 300, 450])('are gone with their files when the program is killed %i ms on', async (waitMs) => {
    using play = playground()
    const program = spawn(process.execPath, [path.join(here, 'fixtures/hold.ts')], { env: environment(play.folder) })
    await eventually(() => readdirSync(play.folder).some((name) => name.includes('postgres')))
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    program.kill('SIGKILL')
    await expectNothingLeft(play.folder, [])
  })
})

/** `npm run hang`: npm, perhaps a shell, vitest, its workers, and the servers that its globalSetup starts. */
async function hangingRun(folder: string): Promise<{ npm: ChildProcess; urls: string[] }> {
  const npm = spawn('npm', ['run', '--silent', 'hang'], {
    cwd: path.join(here, 'fixtures'),
    env: environment(folder),
    // A group of its own, as a terminal gives it.
    detached: true
  })
  return { npm, urls: await addresses(npm) }
}

describe.runIf(canSeeProcesses).concurrent('a vitest run that is killed', { timeout: 60_000 }, () => {
  it.each(signals)('ends with its servers when npm above it gets %s', async (signal) => {
    using play = playground()
    const { npm, urls } = await hangingRun(play.folder)
    // Ctrl-C goes to the whole group; npm does not end on a SIGINT that it alone gets.
    process.kill(signal === 'SIGINT' ? -(npm.pid as number) : (npm.pid as number), signal)
    await expectNothingLeft(play.folder, urls)
  })

  it.each(signals)('leaves no server when vitest itself gets %s', async (signal) => {
    using play = playground()
    const { urls } = await hangingRun(play.folder)
    const vitest = processesIn(play.folder).find((line) => /^\d+ \S*node \S*vitest\.mjs/.test(line))
    expect(vitest).toBeDefined()
    process.kill(Number.parseInt(vitest as string, 10), signal)
    await expectNothingLeft(play.folder, urls)
  })
})
