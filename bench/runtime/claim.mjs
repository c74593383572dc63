// claim-first-result: from the claim of a waiting sandbox to its first result, against an isolate that isolated-vm makes
// for it, with the same set-up. claims-per-second: claim, first result and disposal, again and again from one process,
// against a Node process for each.
//
// Ours waits with its set-up done, restored from an image; in the peer the set-up is part of what the claim waits for,
// for an isolate belongs to one tenant and no state can be put into it but by running code.
import { createRequire } from 'node:module'
import os from 'node:os'
import { performance } from 'node:perf_hooks'
import { countRate, rounds, row, some } from '../measuring.mjs'
import { firstOutput, firstStep, median, owner, right, round, setUp, stage } from './stage.mjs'

const ISOLATES = 200
const CLAIMS = 4_000
const PROCESSES = 200

export async function rows() {
  const { runtime, mebibytes } = await stage({ idleThreads: 8 })
  const memoryLimitBytes = mebibytes(64)
  const image = await runtime.prepareImage({ memoryLimitBytes, code: setUp })
  // What a pool does: one that has run its set-up waits for whoever comes.
  const prepare = () => runtime.prepare({ memoryLimitBytes, image })
  const firstResult = async (prepared) => {
    const sandbox = prepared.assign(owner)
    const outcome = await sandbox.evaluate(firstStep)
    right(outcome.value)
    return sandbox
  }

  const { Isolate } = createRequire(import.meta.url)('isolated-vm')
  const isolated = async () => {
    const isolate = new Isolate({ memoryLimit: 64 })
    const isolateContext = await isolate.createContext()
    right(await isolateContext.eval(`${setUp}; ${firstStep}`, { timeout: 1_000 }))
    return isolate
  }

  const ours = []
  const theirs = []
  for (let n = 0; n < some(ISOLATES) + 20; n += 1) {
    const prepared = await prepare()
    const claimedAt = performance.now()
    const sandbox = await firstResult(prepared)
    const oursMs = performance.now() - claimedAt
    await sandbox.close()
    const askedAt = performance.now()
    const isolate = await isolated()
    const theirsMs = performance.now() - askedAt
    isolate.dispose()
    // The first ones warm both up.
    if (n >= 20) {
      ours.push(oursMs)
      theirs.push(theirsMs)
    }
  }

  const callers = Math.max(2, os.availableParallelism())
  const claims = []
  const processes = []
  for (let n = -1; n < rounds; n += 1) {
    const claimRate = await countRate(2 * callers, some(CLAIMS), async () => {
      const sandbox = await firstResult(await prepare())
      await sandbox.close()
    })
    const processRate = await countRate(callers, some(PROCESSES), async () => {
      right(await firstOutput(`${setUp}; calls += 1; process.stdout.write(String(lookUp('gamma') + calls))`))
    })
    if (n >= 0) {
      claims.push(claimRate)
      processes.push(processRate)
    }
  }
  await runtime.close()
  return [
    {
      id: 'claim-first-result',
      ours: round(median(ours)),
      peer: 'isolated-vm 7.0.1, create and eval',
      theirs: round(median(theirs)),
      unit: 'ms',
      ratio: round(median(theirs) / median(ours))
    },
    row({
      id: 'claims-per-second',
      ours: median(claims),
      peer: 'node child processes',
      theirs: median(processes),
      unit: 'claims/s'
    })
  ]
}
