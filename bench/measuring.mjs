// How the rows here are measured.
import { performance } from 'node:perf_hooks'
import process from 'node:process'

/** Of the usual counts and times, for a quick look: `BENCH_SHARE=0.02 npm run bench -- metering`. */
const share = Number(process.env['BENCH_SHARE'] ?? 1)
export const some = (count) => Math.max(1, Math.round(count * share))
export const rounds = share < 1 ? 3 : 7

/** What `callers` callers get done in a second, one after another each, until `count` are done. */
export async function countRate(callers, count, work) {
  let begun = 0
  const startedAt = performance.now()
  const caller = async () => {
    while (begun < count) {
      begun += 1
      await work(begun - 1)
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return (count * 1_000) / (performance.now() - startedAt)
}

/** Runs each of the rounds by name, interleaved; the first round warms all up. Gives the medians. */
export async function medians(runners) {
  const rates = Object.fromEntries(Object.keys(runners).map((name) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const [name, run] of Object.entries(runners)) {
      const rate = await run()
      if (round >= 0) rates[name].push(rate)
    }
  }
  return Object.fromEntries(Object.entries(rates).map(([name, found]) => [name, median(found)]))
}

const median = (found) => found.toSorted((one, other) => one - other)[found.length >> 1]

/** A row of the bench protocol; `ratio` above 1 means that ours is better. */
export const row = ({ id, ours, peer, theirs, unit }) => ({
  id,
  ours: Math.round(ours),
  peer,
  theirs: Math.round(theirs),
  unit,
  ratio: Number((ours / theirs).toFixed(2))
})
