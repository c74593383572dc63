// What the policies add to a call. Every function measured resolves at once, so that nothing but the policy is timed, and
// every round times ours, the peer's and the bare call in turn. The figure of a runner is the lowest tenth of its rounds,
// which holds still on a shared machine where means do not.
//
// `permit-overhead`: the bare function awaited between `acquire` and `succeed` of a breaker on consecutive failures, less
// the bare await, against what cockatiel's ConsecutiveBreaker adds, which has no way but `execute`. The difference of two
// awaits does not show less than a nanosecond, so that is the least that it counts for. (A loop of pairs without an await
// takes 0.4 ns a pair: V8 lifts nearly all of it out of the loop.)
// `execute-overhead`: our `execute` against the same.
// `arm-disarm`: a call with a timeout that does not strike, against `AbortSignal.timeout` with a listener that is removed.
// `arm-disarm-alone` is the same with one call at a time, each of which sets and clears the timer that calls else share.

import { performance } from 'node:perf_hooks'
import { createCircuitBreaker, createTimeout } from '@enablement/core'
import { ConsecutiveBreaker, circuitBreaker, handleAll } from 'cockatiel'

const ROUNDS = 400
const CALLS = 2_000
const TIMEOUT_MS = 30_000
const AT_ONCE = 64

const work = async () => 1

/** Nanoseconds of the lowest tenth of rounds, for each runner; a runner does `CALLS` calls. */
async function measure(runners) {
  const times = runners.map(() => [])
  for (let round = -50; round < ROUNDS; round += 1) {
    for (const [at, run] of runners.entries()) {
      const startedAt = performance.now()
      await run()
      if (round >= 0) times[at].push(((performance.now() - startedAt) * 1e6) / CALLS)
    }
  }
  return times.map((all) => all.toSorted((one, other) => one - other)[Math.floor(all.length / 10)])
}

export async function rows() {
  const [permit, execute] = await breakerOverheads()
  const [together, alone] = await timeouts()
  return [permit, execute, together, alone]
}

async function breakerOverheads() {
  const options = { name: 'bench', window: { kind: 'consecutive', failures: 5 } }
  const [permits, ours] = [createCircuitBreaker(options), createCircuitBreaker(options)]
  const theirs = circuitBreaker(handleAll, { breaker: new ConsecutiveBreaker(5), halfOpenAfter: 10_000 })
  const tally = { sum: 0 }
  const [bare, permitted, executed, peer] = await measure([
    async () => {
      for (let call = 0; call < CALLS; call += 1) tally.sum += await work()
    },
    async () => {
      for (let call = 0; call < CALLS; call += 1) {
        const leave = permits.acquire()
        if (leave.outcome === 'rejected') throw new Error('a closed breaker refused')
        tally.sum += await work()
        permits.succeed(leave)
      }
    },
    async () => {
      for (let call = 0; call < CALLS; call += 1) tally.sum += await ours.execute(work)
    },
    async () => {
      for (let call = 0; call < CALLS; call += 1) tally.sum += await theirs.execute(work)
    }
  ])
  const added = peer - bare
  const pair = Math.max(1, permitted - bare)
  const peerName = 'cockatiel ConsecutiveBreaker'
  return [row('permit-overhead', pair, peerName, added), row('execute-overhead', executed - bare, peerName, added)]
}

async function timeouts() {
  const ours = createTimeout({ timeoutMs: TIMEOUT_MS })
  const theirs = async () => {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    const onAbort = () => {}
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await work()
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
  const together = (call) => async () => {
    for (let done = 0; done < CALLS; done += AT_ONCE) {
      const size = Math.min(AT_ONCE, CALLS - done)
      await Promise.all(Array.from({ length: size }, call))
    }
  }
  const alone = (call) => async () => {
    for (let done = 0; done < CALLS; done += 1) await call()
  }
  const armed = () => ours.execute(work)
  const [ourTogether, theirTogether, ourAlone, theirAlone] = await measure([
    together(armed),
    together(theirs),
    alone(armed),
    alone(theirs)
  ])
  const peerName = 'AbortSignal.timeout with a listener'
  return [
    row('arm-disarm', ourTogether, peerName, theirTogether),
    row('arm-disarm-alone', ourAlone, peerName, theirAlone)
  ]
}

function row(id, ours, peer, theirs) {
  const round = (value) => Math.round(value * 10) / 10
  return { id, ours: round(ours), peer, theirs: round(theirs), unit: 'ns', ratio: round(theirs / ours) }
}
