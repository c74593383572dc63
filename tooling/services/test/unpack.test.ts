import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { missing } from '../src/missing.ts'
import { unpackDebian } from '../src/unpack.ts'
import { playground } from './support/traces.ts'

/** An apt-get and a dpkg-deb that know one package, `greeter`, whose program prints a word and exits 0. */
function fakeApt(folder: string, apt: string): string {
  const bin = path.join(folder, 'bin')
  mkdirSync(bin)
  const scripts = {
    'apt-get': apt,
    'dpkg-deb': `mkdir -p "$3/usr/bin" "$3/usr/lib/somewhere"
printf '#!/bin/sh\\necho "$LD_LIBRARY_PATH"\\n' > "$3/usr/bin/greeter"
chmod +x "$3/usr/bin/greeter"`
  }
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(path.join(bin, name), `#!/bin/sh\n${text}\n`)
    chmodSync(path.join(bin, name), 0o755)
  }
  return bin
}

const knows = `case "$*" in
  *" -s "*) echo 'Inst greeter (1.0 Debian)';;
  *" download "*) sleep 0.2; : > greeter_1.0.deb;;
esac`
const wanted = { package: 'greeter', program: 'usr/bin/greeter', probe: [] }

const searchPath = process.env['PATH']
let play: ReturnType<typeof playground>
beforeEach(() => {
  play = playground()
})
afterEach(() => {
  vi.unstubAllEnvs()
  play[Symbol.dispose]()
})

describe('unpacked package', () => {
  it('is a launcher that finds its libraries, and is unpacked once', async () => {
    vi.stubEnv('PATH', `${fakeApt(play.folder, knows)}:${searchPath}`)
    const target = path.join(play.folder, 'kept')
    const launcher = await unpackDebian(target, wanted)
    expect(launcher).toBe(path.join(target, 'launch'))
    // With no apt left, only the kept tree can answer.
    vi.stubEnv('PATH', '/usr/bin:/bin')
    writeFileSync(path.join(play.folder, 'bin', 'apt-get'), 'exit 1')
    expect(await unpackDebian(target, wanted)).toBe(launcher)
  })

  it('is fetched once by callers of one process', async () => {
    const counting = `case "$*" in *" download "*) echo once >> "$(dirname "$0")/../downloads";; esac; ${knows}`
    vi.stubEnv('PATH', `${fakeApt(play.folder, counting)}:${searchPath}`)
    const target = path.join(play.folder, 'kept')
    await Promise.all([unpackDebian(target, wanted), unpackDebian(target, wanted)])
    expect(readFileSync(path.join(play.folder, 'downloads'), 'utf8')).toBe('once\n')
  })

  it('survives several runs that unpack it at once', async () => {
    vi.stubEnv('PATH', `${fakeApt(play.folder, knows)}:${searchPath}`)
    const target = path.join(play.folder, 'kept')
    const unpack = new URL('../src/unpack.ts', import.meta.url).href
    const program = `import { unpackDebian } from '${unpack}'
await unpackDebian('${target}', ${JSON.stringify(wanted)})`
    const ends = Array.from(
      { length: 3 },
      () =>
        new Promise<number | null>((resolve) => {
          spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' }).once('exit', resolve)
        })
    )
    expect(await Promise.all(ends)).toEqual([0, 0, 0])
    expect(readdirSync(play.folder).sort()).toEqual(['bin', 'kept'])
  })

  it('clears away what a killed run left', async () => {
    vi.stubEnv('PATH', `${fakeApt(play.folder, knows)}:${searchPath}`)
    // No process has this id: Linux stops at 2^22.
    mkdirSync(path.join(play.folder, 'kept.unpacking-99999999'))
    await unpackDebian(path.join(play.folder, 'kept'), wanted)
    expect(readdirSync(play.folder).sort()).toEqual(['bin', 'kept'])
  })

  it('is fetched again when the kept one no longer runs', async () => {
    vi.stubEnv('PATH', `${fakeApt(play.folder, knows)}:${searchPath}`)
    const target = path.join(play.folder, 'kept')
    const launcher = await unpackDebian(target, wanted)
    writeFileSync(launcher, '#!/bin/sh\nexit 127\n')
    await unpackDebian(target, { ...wanted })
    expect(existsSync(path.join(target, 'usr/bin/greeter'))).toBe(true)
  })

  it('asks for fresh lists when the known ones do not have it', async () => {
    const stale = `case "$*" in
  *" update") echo yes > ../updated; echo yes > updated;;
  *" -s "*) case "$*" in *State::lists*) echo 'Inst greeter (1.0 Debian)';; *) echo 'E: Unable to locate' >&2; exit 100;; esac;;
  *" download "*) : > greeter_1.0.deb;;
esac`
    vi.stubEnv('PATH', `${fakeApt(play.folder, stale)}:${searchPath}`)
    await expect(unpackDebian(path.join(play.folder, 'kept'), wanted)).resolves.toContain('launch')
    expect(existsSync(path.join(play.folder, 'updated'))).toBe(true)
  })

  it.each([
    { name: 'apt fails', apt: 'echo "E: Unable to locate package greeter" >&2; exit 100', says: 'Unable to locate' },
    { name: 'the package holds another program', apt: knows, program: 'usr/bin/other', says: 'holds no usr/bin/other' }
  ])('says why it could not, and leaves nothing: $name', async ({ apt, program, says }) => {
    vi.stubEnv('PATH', `${fakeApt(play.folder, apt)}:${searchPath}`)
    const target = path.join(play.folder, 'kept')
    await expect(unpackDebian(target, { ...wanted, program: program ?? wanted.program })).rejects.toThrow(says)
    expect(readdirSync(play.folder)).toEqual(['bin'])
  })

  it('says so where there is no apt', async () => {
    vi.stubEnv('PATH', play.folder)
    await expect(unpackDebian(path.join(play.folder, 'kept'), wanted)).rejects.toThrow('no apt-get here')
  })
})

describe('advice', () => {
  it('is one line that names what is missing, the variable and the packages', () => {
    const advice = { what: 'redis-server', variable: 'REDIS_URL to a server', debian: 'redis-server', macos: 'redis' }
    expect(missing(advice, 'no apt-get\n here').message).toBe(
      'redis-server not found (no apt-get here): set REDIS_URL to a server, or install it ' +
        '(Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis).'
    )
  })
})
