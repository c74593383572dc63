import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { bundledProgram } from '@enablement/build/program'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createRuntime, mebibytes } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fakeApprovalGate } from '../fakes/fake-approval-gate.ts'
import { sealingKey } from '../fakes/runtime-kit.ts'

describe('a process that is killed', () => {
  const children: ChildProcess[] = []
  let folder = ''
  let bundle = ''

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'runtime-process-'))
    bundle = await bundledProgram(path.join(import.meta.dirname, 'agent-process.ts'), folder)
  })
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })

  /** Starts the agent's process and gives the first line it writes. */
  const run = async (
    database: string,
    engine: string
  ): Promise<{ readonly line: string; readonly child: ChildProcess }> => {
    const child = spawn(process.execPath, [bundle, database, engine], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    let text = ''
    for await (const chunk of child.stdout) {
      text += String(chunk)
      if (text.includes('\n')) break
    }
    return { line: text.trim(), child }
  }

  it('leaves an agent that another process carries on where it stopped', async () => {
    const file = path.join(folder, 'agents.db')
    const engine = createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm')
    const { line, child } = await run(file, engine)
    expect(JSON.parse(line)).toMatchObject({ outcome: 'memory-exhausted' })
    const killed = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)))
    child.kill('SIGKILL')
    expect(await killed).toBe('SIGKILL')

    await using db = sqliteDatabase({ path: file })
    const gate = fakeApprovalGate()
    await using runtime = createRuntime({
      host: quickjsHost({ idleThreads: 0 }),
      approvals: gate,
      checkpoints: sqlCheckpointStore(db),
      incidents: sqlIncidentStore(db),
      sealingKey
    })
    const [incident] = await runtime.incidents('acme')
    expect(incident).toMatchObject({ state: 'asked', evaluation: 'suspended' })
    gate.approve(incident?.approvalRequestId ?? '')
    const recovered = await runtime.recover(incident?.id ?? '')
    if (recovered.outcome !== 'resumed') throw new Error(recovered.outcome)
    expect(recovered.sandbox.memoryLimitBytes).toBe(mebibytes(16))
    expect(await recovered.sandbox.continue()).toEqual({ outcome: 'completed', value: 5_050 })
  }, 30_000)

  it('finds no engine in a bundle without one, and says what to pass', async () => {
    // A package without the file is found before any real one further up.
    const empty = path.join(folder, 'node_modules', 'quickjs-wasi')
    await mkdir(empty, { recursive: true })
    await writeFile(path.join(empty, 'package.json'), '{ "name": "quickjs-wasi", "exports": {} }')
    const { line } = await run(path.join(folder, 'none.db'), '-')
    expect(JSON.parse(line)).toMatchObject({ code: 'ENGINE_UNAVAILABLE' })
    expect(line).toContain('quickjsHost({ wasm })')
  }, 30_000)
})
