// restore-first-result: sealed checkpoint bytes to the first result, against a Node child process to its first output.
//
// Ours, as a user gets it: `runtime.restore(bytes)` opens the seal (AES-256-GCM), takes a started thread that waits for
// a sandbox, lays the image of a warmed-up guest over an empty VM there, evaluates one expression and reads the result. Starting the
// thread itself (30 ms) is not in it: quickjsHost keeps `idleThreads` of them waiting and starts the next one when one
// is taken. The pause between rounds stands for the time between two claims, in which that happens.
import { spawn } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout as pause } from 'node:timers/promises'

const ROUNDS = 40
const WARM_UP = 5

/** What the guest is warmed up with: functions and state that a restored sandbox finds ready. */
const guest = `
  const words = ['alpha', 'beta', 'gamma'].map((word, n) => ({ word, n }))
  const index = new Map(words.map(({ word, n }) => [word, n]))
  const lookUp = (word) => index.get(word) ?? -1
  globalThis.calls = 0
`

/** Resolves the entries from this file, where the workspace's packages are not installed. */
const built = (entry) => import(new URL(`../../packages/runtime/dist/${entry}.js`, import.meta.url).href)

export async function rows() {
  const { createRuntime, mebibytes } = await built('index')
  const { quickjsHost } = await built('quickjs/index')
  const { memoryCheckpointStore, memoryIncidentStore } = await built('memory/index')
  const runtime = createRuntime({
    host: quickjsHost({ idleThreads: 2 }),
    approvals: { request: refused, settled: refused, execute: refused },
    checkpoints: memoryCheckpointStore(),
    incidents: memoryIncidentStore(),
    sealingKey: new Uint8Array(32).fill(1)
  })
  const owner = { tenant: 'bench', agent: 'bench', memoryLimitBytes: mebibytes(64) }
  const template = await runtime.open(owner)
  await template.evaluate(guest)
  const checkpoint = await template.checkpoint()
  await template.close()

  const ours = []
  const theirs = []
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    await pause(150)
    const restored = performance.now()
    const sandbox = await runtime.restore({ ...owner, checkpoint })
    const outcome = await sandbox.evaluate(`calls += 1; lookUp('gamma') + calls`)
    const oursMs = performance.now() - restored
    if (outcome.outcome !== 'completed' || outcome.value !== 3) throw new Error(JSON.stringify(outcome))
    await sandbox.close()

    await pause(150)
    const spawned = performance.now()
    const answer = await firstOutput(`${guest}; calls += 1; process.stdout.write(String(lookUp('gamma') + calls))`)
    const theirsMs = performance.now() - spawned
    if (answer !== '3') throw new Error(answer)
    if (round >= WARM_UP) {
      ours.push(oursMs)
      theirs.push(theirsMs)
    }
  }
  await runtime.close()
  const row = { ours: median(ours), theirs: median(theirs) }
  return [
    {
      id: 'restore-first-result',
      ours: round(row.ours),
      peer: 'node child process',
      theirs: round(row.theirs),
      unit: 'ms',
      ratio: round(row.theirs / row.ours)
    }
  ]
}

function firstOutput(code) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    child.once('error', reject)
    child.stdout.once('data', (data) => resolve(String(data)))
  })
}

const refused = async () => {
  throw new Error('nothing asks for approval here')
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

const round = (value) => Math.round(value * 100) / 100
