// monitor-overhead: how much slower a guest computes when its memory is watched, as the runtime does, than on the bare host
// that samples nobody. Reported, in percent of the time; rounds are interleaved.
import { performance } from 'node:perf_hooks'
import { rounds } from '../measuring.mjs'
import { median, owner, round, stage } from './stage.mjs'

/** About half a second of the allocations and calls that make the engine look at its counters. */
const work = `let sum = 0; for (let n = 0; n < 1_500_000; n += 1) { const pair = { n, next: [n] }; sum += pair.next[0] % 7 } sum`

export async function rows() {
  const { runtime, host, mebibytes } = await stage({ idleThreads: 1 })
  const memoryLimitBytes = mebibytes(64)
  const watched = await runtime.open({ ...owner, memoryLimitBytes })
  const bare = await host.create(
    {
      sandboxId: 'bare',
      incarnation: 1,
      memoryLimitBytes,
      criticalAtBytes: memoryLimitBytes,
      criticalClearBytes: memoryLimitBytes,
      hostFunctions: [],
      seed: new Uint8Array(16),
      now: () => Date.now()
    },
    { onCall: () => {}, onConsole: () => {}, onPressure: () => {} }
  )
  const timed = async (run) => {
    const startedAt = performance.now()
    const { outcome } = await run()
    if (outcome !== 'completed') throw new Error(outcome)
    return performance.now() - startedAt
  }
  const on = []
  const off = []
  for (let n = -1; n < rounds * 2 + 1; n += 1) {
    const [onMs, offMs] = [
      await timed(() => watched.evaluate(`{ ${work} }`)),
      await timed(() => bare.run(`{ ${work} }`))
    ]
    if (n >= 0) {
      on.push(onMs)
      off.push(offMs)
    }
  }
  await runtime.close()
  return [
    {
      id: 'monitor-overhead',
      ours: round((median(on) / median(off) - 1) * 100),
      peer: '-',
      theirs: null,
      unit: '% slower',
      ratio: null
    }
  ]
}
