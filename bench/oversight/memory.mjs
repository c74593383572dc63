// What 100,000 pending requests cost the process that opened them, its worker running and its invitations delivered,
// against as many one-shot jobs of croner. Each is a process of its own, which says how much its resident memory and its
// heap have grown once it has collected its garbage. Theirs has no store: a restart loses the jobs. It has some 83 KiB of
// heap for each, so that 100,000 do not fit into the 4 GiB that Node gives one: a tenth is measured, and taken ten times.
import { spawnSync } from 'node:child_process'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { some } from '../measuring.mjs'

const PENDING = some(100_000)
const child = fileURLToPath(new URL('./processes/pending.mjs', import.meta.url))

/** MiB by which the process grew. */
function growth(kind, count) {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...process.execArgv, '--expose-gc', child, kind, String(count)],
    { encoding: 'utf8' }
  )
  if (status !== 0) throw new Error(`the process with ${kind} ended with ${status}: ${stderr}`)
  return JSON.parse(stdout)
}

export async function rows() {
  const [ours, theirs] = [growth('oversight', PENDING), growth('croner', PENDING / 10)]
  const rssMiB = Math.round(theirs.rssMiB * 10)
  return [
    {
      id: 'memory-100k-pending',
      ours: ours.rssMiB,
      peer: `croner 11, one-shot jobs, ten times what a tenth takes (heap ${Math.round(theirs.heapMiB * 10)}, ours ${ours.heapMiB})`,
      theirs: rssMiB,
      unit: `MiB of resident memory for ${PENDING}`,
      ratio: Number((rssMiB / Math.max(ours.rssMiB, 0.1)).toFixed(2))
    }
  ]
}
