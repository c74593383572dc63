// checkpoint-64mb: a guest that holds 64 MB is saved, ended and brought back, against a Node process that is started again
// and does the same work anew: what an agent without checkpoints has to do. Both end with the answer to one question.
import { performance } from 'node:perf_hooks'
import { some } from '../measuring.mjs'
import { firstOutput, median, owner, round, stage } from './stage.mjs'

const ROUNDS = 9

/** Parses, indexes and sums up records until 64 MB are held in QuickJS: the work that is not to be done twice. */
const work = `
  const records = []
  const byKey = new Map()
  let sum = 0
  for (let n = 0; n < 150_000; n += 1) {
    const record = JSON.parse('{"key":"record-' + n + '","value":' + ((n * 7919) % 10007) + ',"tags":["a' + (n % 13) + '"]}')
    records.push(record)
    byKey.set(record.key, record)
    for (let pass = 0; pass < 40; pass += 1) sum = (sum * 31 + record.value + pass) % 1_000_003
  }
`
const question = `byKey.get('record-77777').value + sum + records.length`

export async function rows() {
  const { runtime, mebibytes } = await stage({ idleThreads: 2 })
  const memory = { ...owner, memoryLimitBytes: mebibytes(256) }
  const first = await runtime.open(memory)
  await first.evaluate(work, { timeoutMs: 120_000 })
  const expected = (await first.evaluate(question)).value
  let sandbox = first
  let bytes = 0
  const ours = []
  const theirs = []
  for (let n = 0; n < some(ROUNDS) + 1; n += 1) {
    const savedAt = performance.now()
    const checkpoint = await sandbox.checkpoint()
    await sandbox.close()
    sandbox = await runtime.restore({ ...memory, checkpoint })
    const { value } = await sandbox.evaluate(question)
    const oursMs = performance.now() - savedAt
    if (value !== expected) throw new Error(`the wrong answer: ${value}`)
    bytes = sandbox.memory().usedBytes

    const restartedAt = performance.now()
    const answer = await firstOutput(`${work}; process.stdout.write(String(${question}))`, ['--max-old-space-size=256'])
    const theirsMs = performance.now() - restartedAt
    if (Number(answer) !== expected) throw new Error(`the peer's answer is ${answer}, ours ${expected}`)
    // The first round warms both up.
    if (n > 0) {
      ours.push(oursMs)
      theirs.push(theirsMs)
    }
  }
  await runtime.close()
  return [
    {
      id: 'checkpoint-64mb',
      ours: round(median(ours)),
      peer: 'node process, started again, same work',
      theirs: round(median(theirs)),
      unit: 'ms',
      ratio: round(median(theirs) / median(ours)),
      heapMb: Math.round(bytes / 1e6)
    }
  ]
}
