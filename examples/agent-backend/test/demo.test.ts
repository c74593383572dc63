import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'

const main = path.join(import.meta.dirname, '../src/main.ts')
const folders: string[] = []
const running = new Set<ChildProcess>()

afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function newFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'enablement-demo-'))
  folders.push(folder)
  return folder
}

/** Starts the demo, and kills it outright once its output matches `killAt`. */
function demo(args: readonly string[], killAt?: RegExp): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    let output = ''
    const onOutput = (chunk: Buffer): void => {
      output += chunk.toString()
      if (killAt?.test(output) === true) child.kill('SIGKILL')
    }
    child.stdout.on('data', onOutput)
    child.stderr.on('data', onOutput)
    child.once('error', reject)
    child.once('close', (status) => {
      running.delete(child)
      resolve({ status, output })
    })
  })
}

describe('the demo', () => {
  it('runs out of memory, asks, comes back and answers, with every invariant held', async () => {
    const { status, output } = await demo(['--folder', newFolder()])
    expect(output).toContain('memory critical')
    expect(output).toContain('resumed from the checkpoint, the evaluation suspended')
    expect(output).toContain('EUR 7.84')
    expect(output).not.toContain('BROKEN')
    expect(status).toBe(0)
  })

  it('carries on from disk after it was killed while it waited for the approval, and then has nothing left to do', async () => {
    const folder = newFolder()
    const killed = await demo(['--hold', '--folder', folder], /bo reads/)
    expect(killed.status).toBeNull()
    const { status, output } = await demo(['--resume', '--folder', folder])
    expect(output).toContain('found an open incident on disk')
    expect(output).not.toContain('memory critical')
    expect(output).not.toContain('BROKEN')
    expect(status).toBe(0)

    const again = await demo(['--resume', '--folder', folder])
    expect(again.output).toContain('before the restart')
    expect(again.status).toBe(0)
  })

  it('refuses an option that does not exist, and says which there are', async () => {
    const { status, output } = await demo(['--fast'])
    expect(output).toContain('--resume')
    expect(status).toBe(2)
  })
})
