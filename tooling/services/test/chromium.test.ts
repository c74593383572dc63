import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ensureChromium } from '../src/chromium.ts'
import { toolchain } from '../src/locate.ts'
import { output } from '../src/unpack.ts'
import { playground } from './support/traces.ts'

const searchPath = process.env['PATH']
let play: ReturnType<typeof playground>
beforeEach(() => {
  play = playground()
  vi.stubEnv('CHROMIUM_BIN', '')
})
afterEach(() => {
  vi.unstubAllEnvs()
  play[Symbol.dispose]()
})

/** A `chromium` first on PATH that says nothing and exits with `status`. */
function installed(status: number): string {
  const bin = path.join(play.folder, 'bin')
  mkdirSync(bin)
  const program = path.join(bin, 'chromium')
  writeFileSync(program, `#!/bin/sh\nexit ${status}\n`)
  chmodSync(program, 0o755)
  vi.stubEnv('PATH', `${bin}:${searchPath}`)
  return program
}

describe('a browser for tests', () => {
  it('is the one that CHROMIUM_BIN names', async () => {
    installed(0)
    vi.stubEnv('CHROMIUM_BIN', '/opt/some/chrome')
    expect(await ensureChromium()).toBe('/opt/some/chrome')
  })

  it('is the one of the machine, when it starts', async () => {
    const program = installed(0)
    expect(await ensureChromium()).toBe(program)
  })

  it('is unpacked where the one of the machine does not start, and starts', async () => {
    installed(1)
    const launcher = await ensureChromium()
    expect(launcher).toBe(path.join(toolchain, 'chromium/launch'))
    expect(await output(launcher, ['--version'], '/')).toMatch(/Chrom/)
  })
})
