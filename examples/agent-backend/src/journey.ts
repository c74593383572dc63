import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Usage } from '@enablement/core'
import { minutes, sleep, systemClock } from '@enablement/core'
import { type EvaluationOutcome, type HostFunctions, mebibytes, type Sandbox } from '@enablement/runtime'
import { agent, type Backend, subscription, tenant } from './backend.ts'
import type { Answer, openRunRecord, RunRecord } from './run-record.ts'
import type { Timeline } from './timeline.ts'
import { positionOf, stretchFrom, WORDS_PER_CALL, wordList } from './word-list.ts'

const programOf = (name: string): string => readFileSync(path.join(import.meta.dirname, '../agent', name), 'utf8')

/** Ends the demo with a reason; everything it had done is on disk. */
export class JourneyEnded extends Error {
  override readonly name = 'JourneyEnded'
}

export interface Journey {
  readonly answer: Answer
  /** Evaluations that ended in this process: each must have been metered. */
  readonly evaluations: number
  /** How many messages the reporter printed in this process. */
  readonly printed: number
  /** Whether the answer had been found, and received, by an earlier process. */
  readonly answeredBefore: boolean
  readonly receivedBefore: boolean
}

/**
 * The agent's day: index the words, run out of memory, ask, come back, answer, report. Every step is either durable in a
 * store or keyed by the run, so a process that takes over does nothing twice.
 */
export async function travel(
  backend: Backend,
  record: ReturnType<typeof openRunRecord>,
  timeline: Timeline
): Promise<Journey> {
  const before = record.read()
  let evaluations = 0
  let answer = before.answer
  if (answer === undefined) {
    const tools = toolsOf(backend, before, timeline)
    const counted = async (evaluation: Promise<EvaluationOutcome>): Promise<EvaluationOutcome> => {
      const outcome = await evaluation
      evaluations += 1
      return outcome
    }
    await using sandbox = await indexWords(backend, before, tools, counted, timeline)
    const answered = await counted(sandbox.evaluate(programOf('answer.js')))
    if (answered.outcome !== 'completed') throw new JourneyEnded(`the agent did not answer: ${describe(answered)}`)
    answer = answered.value as unknown as Answer
    record.write({ ...record.read(), answer })
    timeline.say('agent', `${answer.neighbourPairs.toLocaleString('en')} pairs of words differ in one letter`)
  }
  await explain(backend, before)
  const printed = await report(backend, answer, record, timeline)
  return {
    answer,
    evaluations,
    printed,
    answeredBefore: before.answer !== undefined,
    receivedBefore: before.received === true
  }
}

/** Brings the index into a sandbox's memory, through running out of it. */
async function indexWords(
  backend: Backend,
  run: RunRecord,
  hostFunctions: HostFunctions,
  counted: (evaluation: Promise<EvaluationOutcome>) => Promise<EvaluationOutcome>,
  timeline: Timeline
): Promise<Sandbox> {
  const { runtime } = backend
  const [open] = await runtime.incidents(tenant)
  let incidentId = open?.id
  if (incidentId === undefined) {
    const memoryLimitBytes = mebibytes(64)
    const sandbox = await runtime.open({ tenant, agent, subscription, memoryLimitBytes, hostFunctions })
    const outcome = await counted(sandbox.evaluate(programOf('index-words.js'), { timeoutMs: 120_000 }))
    if (outcome.outcome !== 'memory-exhausted')
      throw new JourneyEnded(`expected to run out of memory: ${describe(outcome)}`)
    incidentId = outcome.recovery.incidentId
  } else {
    timeline.say('runtime', `found an open incident on disk, ${open?.state}: nothing is done again`, 'good')
  }
  const sandbox = await recovered(backend, incidentId, hostFunctions, timeline)
  await reportAgain(backend, run)
  const continued = await counted(sandbox.continue({ timeoutMs: 120_000 }))
  if (continued.outcome !== 'completed')
    throw new JourneyEnded(`the agent did not finish its index: ${describe(continued)}`)
  return sandbox
}

async function recovered(
  { runtime }: Backend,
  incidentId: string,
  hostFunctions: HostFunctions,
  timeline: Timeline
): Promise<Sandbox> {
  for (;;) {
    const recovery = await runtime.recover(incidentId, { hostFunctions })
    switch (recovery.outcome) {
      case 'resumed':
        if (recovery.evaluation === 'suspended') return recovery.sandbox
        throw new JourneyEnded('the evaluation was lost: it met its limit between two places where it could be stopped')
      case 'owned-elsewhere': {
        const waitMs = Math.max(250, recovery.until - systemClock.now())
        timeline.say('runtime', `a process that died owns the sandbox for another ${Math.ceil(waitMs / 1_000)} s`)
        await sleep(systemClock, waitMs)
        break
      }
      case 'denied':
        throw new JourneyEnded(`${recovery.by} denied more memory: ${recovery.reason}`)
      case 'restarted':
      case 'timed-out':
      case 'cancelled':
      case 'pending':
      case 'closed':
        throw new JourneyEnded(`the sandbox did not come back: ${recovery.outcome}`)
    }
  }
}

/** One report of the tool's use. The same stretch of the same run is the same event, byte for byte, whoever reports it. */
function wordsRead({ runId, startedAt }: RunRecord, from: number): Usage {
  const transactionId = `${runId}:words:${from}`
  const quantity = stretchFrom(from).length
  return { tenant, subscription, transactionId, metric: 'words-read', quantity, at: startedAt }
}

/** What the agent may do outside its sandbox: read words, metered. */
function toolsOf({ meter }: Backend, run: RunRecord, timeline: Timeline): HostFunctions {
  return {
    async readWords(argument) {
      const from = positionOf(argument)
      const words = stretchFrom(from)
      if (words.length > 0) await meter.accept(wordsRead(run, from))
      timeline.progress('agent', from + words.length, wordList.length)
      return words
    }
  }
}

/** A backend that was stopped does not know whether its last report arrived, so it reports again; it is counted once. */
async function reportAgain({ meter }: Backend, run: RunRecord): Promise<void> {
  const period = { from: run.startedAt, to: run.startedAt + 1 }
  const [counted] = await meter.totals({ tenant, subscription, metric: 'words-read', ...period })
  const last = Math.floor((Number(counted?.quantity ?? 0) - 1) / WORDS_PER_CALL) * WORDS_PER_CALL
  if (last >= 0) await meter.accept(wordsRead(run, last))
}

/** The agent would like a language model to put its answer into words; its quota allows a short text and not a long one. */
async function explain({ tokens }: Backend, { runId }: RunRecord): Promise<void> {
  // Nobody knows beforehand how much a model will say: the most that it may is held, and what it said is charged.
  const call = { ttlMs: minutes(2), idempotencyKey: `${runId}:explain-short` }
  await tokens.withHold(1_500, call, (hold) => hold.commit(1_204))
  await tokens.consume(4_800, { idempotencyKey: `${runId}:explain-long` })
}

/** Sends the answer, sealed, to the second agent, which prints and acknowledges it. */
async function report(
  { analyst, reporter }: Backend,
  answer: Answer,
  record: ReturnType<typeof openRunRecord>,
  timeline: Timeline
): Promise<number> {
  const { runId, received } = record.read()
  if (received === true) return 0
  let printed = 0
  const arrived = Promise.withResolvers<void>()
  const stop = reporter.receive(async (message) => {
    const { ladder } = JSON.parse(new TextDecoder().decode(message.bytes)) as Answer
    printed += 1
    timeline.say('reporter', `from ${message.from}: ${ladder.join(' → ')}`, 'good')
    record.write({ ...record.read(), received: true })
    await message.ack()
    arrived.resolve()
  })
  const bytes = new TextEncoder().encode(JSON.stringify(answer))
  const sent = await analyst.send('reporter#1', bytes, { idempotencyKey: `${runId}:answer` })
  if (sent.outcome === 'refused') throw new JourneyEnded(`the answer was not sent: ${sent.reason}`)
  timeline.say('messaging', `sealed and ${sent.outcome}: ${bytes.length} bytes to reporter#1`)
  await arrived.promise
  stop()
  return printed
}

function describe(outcome: EvaluationOutcome): string {
  switch (outcome.outcome) {
    case 'failed':
      return `${outcome.error.name}: ${outcome.error.message}`
    case 'terminated':
      return `terminated, ${outcome.record.reason}`
    default:
      return outcome.outcome
  }
}
