// oom-detect: from the allocation with which a guest passes into the critical range, as its own clock tells, to the moment
// at which the runtime has it stopped whole and opens the incident. Saving it and asking for more come after that. No
// peer: reported. The guest awaits between allocations; one that never does has 250 ms of grace before it is interrupted.
import { some } from '../measuring.mjs'
import { median, owner, p95, round, stage } from './stage.mjs'

const ROUNDS = 40

/** 96 KB at a time. It writes the time before each, and a sandbox passes on 1,000 lines of a run. */
const bomb = `globalThis.held = []; for (;;) { console.log(Date.now()); held.push(new Array(12_000).fill(held.length)); await safepoint() }`

export async function rows() {
  const detections = []
  let allocatedAt = 0
  const { runtime, mebibytes } = await stage(
    { idleThreads: 1 },
    {
      observe(event) {
        if (event.type === 'console') allocatedAt = Number(event.line.text)
        if (event.type === 'incident.opened') detections.push(Math.max(0, Date.now() - allocatedAt))
      }
    }
  )
  for (let n = 0; n < some(ROUNDS) + 5; n += 1) {
    const sandbox = await runtime.open({ ...owner, memoryLimitBytes: mebibytes(64) })
    // Nobody approves anything here: the incident stalls after what is measured.
    const outcome = await sandbox.evaluate(bomb).catch((error) => error)
    if (outcome.code !== 'INCIDENT_STALLED') throw new Error(JSON.stringify(outcome))
    await sandbox.close()
  }
  await runtime.close()
  const measured = detections.slice(5)
  return [
    {
      id: 'oom-detect',
      ours: round(median(measured)),
      peer: '-',
      theirs: null,
      unit: 'ms',
      ratio: null,
      p95: round(p95(measured))
    }
  ]
}
