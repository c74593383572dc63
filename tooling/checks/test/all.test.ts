import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { command, eachOf } from '../src/command.ts'

const all = fileURLToPath(new URL('../src/all.ts', import.meta.url))

describe('all gates', () => {
  it('refuses a gate that there is not', () => {
    const { status, stderr } = spawnSync(process.execPath, [all, 'spelling'], { encoding: 'utf8' })
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining('unknown gate spelling; there are matrix, tooling, packed, surface')
    ])
  })
})

describe('command', () => {
  it('gives the status and all output of a program', async () => {
    const script = 'console.log("out"); console.error("err"); process.exitCode = 3'
    const { status, output } = await command(process.execPath, ['-e', script])
    expect([status, output.split('\n').sort()]).toEqual([3, ['', 'err', 'out']])
  })

  it('ends one that takes too long, and says so', async () => {
    const { status, output } = await command(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      timeoutMs: 200
    })
    expect([status, output]).toEqual([124, expect.stringContaining('did not end within 200 ms')])
  })

  it('says when there is no such program', async () => {
    expect(await command('no-such-program', [])).toMatchObject({ status: 127 })
  })
})

describe('eachOf', () => {
  it('keeps the order of results and the limit of lanes', async () => {
    let running = 0
    let most = 0
    const results = await eachOf([30, 10, 20, 0], 2, async (waitMs) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      running--
      return waitMs
    })
    expect([results, most]).toEqual([[30, 10, 20, 0], 2])
  })
})
