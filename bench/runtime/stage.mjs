// What the rows of this folder share. No rows of its own.
import { spawn } from 'node:child_process'
import process from 'node:process'

/** Resolves the entries from this file, where the workspace's packages are not installed. */
const built = (entry) => import(new URL(`../../packages/runtime/dist/${entry}.js`, import.meta.url).href)

/** A program's set-up: functions and state that a claimed guest finds ready. */
export const setUp = `
  const words = ['alpha', 'beta', 'gamma'].map((word, n) => ({ word, n }))
  const index = new Map(words.map(({ word, n }) => [word, n]))
  const lookUp = (word) => index.get(word) ?? -1
  globalThis.calls = 0
`
export const firstStep = `calls += 1; lookUp('gamma') + calls`
export const firstAnswer = 3

export const owner = { tenant: 'bench', agent: 'bench' }

const refused = async () => {
  throw new Error('nothing asks for approval here')
}

/** A runtime on memory stores. */
export async function stage(hostOptions, runtimeOptions = {}) {
  const { createRuntime, createWarmPool, mebibytes } = await built('index')
  const { quickjsHost } = await built('quickjs/index')
  const { memoryCheckpointStore, memoryIncidentStore } = await built('memory/index')
  const host = quickjsHost(hostOptions)
  const runtime = createRuntime({
    host,
    approvals: { request: refused, settled: refused, execute: refused },
    checkpoints: memoryCheckpointStore(),
    incidents: memoryIncidentStore(),
    sealingKey: new Uint8Array(32).fill(1),
    ...runtimeOptions
  })
  return { runtime, host, createWarmPool, mebibytes }
}

/** A Node process of its own, until it writes something. */
export function firstOutput(code, args = []) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args, '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    child.once('error', reject)
    child.stdout.once('data', (data) => resolve(String(data)))
  })
}

export const right = (answer) => {
  if (Number(answer) !== firstAnswer) throw new Error(`the wrong answer: ${answer}`)
}

export const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
export const p95 = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.95)]
export const round = (value) => Math.round(value * 1_000) / 1_000
