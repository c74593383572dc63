import { mkdirSync, rmSync } from 'node:fs'
import process from 'node:process'
import { createIdSource, systemClock, systemPlatform } from '@enablement/core'
import colors from 'picocolors'
import { type Answer, askInTerminal, createDesk, neverAnswer, pager, thinkForHerself } from './approvers.ts'
import { openBackend } from './backend.ts'
import { readCommandLine, usage } from './command-line.ts'
import { JourneyEnded, travel } from './journey.ts'
import { openKeys } from './keys.ts'
import { narrate } from './narration.ts'
import { openRunRecord } from './run-record.ts'
import { draw, reckon, usageOf } from './summary.ts'
import { createTimeline } from './timeline.ts'

async function main(args: readonly string[]): Promise<number> {
  const { folder, resume, interactive, hold } = readCommandLine(args)
  if (!resume) rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })

  const timeline = createTimeline(process.stdout)
  const { observed, observe } = narrate(timeline)
  const record = openRunRecord(folder, { runId: createIdSource(systemPlatform)(), startedAt: systemClock.now() })

  const think = hold ? neverAnswer : interactive ? askInTerminal : thinkForHerself
  const desk = createDesk({
    folder,
    think(invitation) {
      timeline.say('approver', `bo reads: ${invitation.summary}`)
      return think(invitation)
    },
    async decide({ requestId, id }, { decision, reason }: Answer) {
      await backend.oversight.decide(requestId, { approver: 'bo', decision, reason, idempotencyKey: id })
    },
    onFailure: (error) => timeline.say('approver', `bo's answer was not taken: ${String(error)}`, 'bad')
  })
  await using backend = await openBackend({ folder, keys: await openKeys(folder), channels: { pager, desk }, observe })
  desk.open()

  try {
    const { events } = await usageOf(backend, 'sandbox-milliseconds')
    const journey = await travel(backend, record, timeline)
    const reckoning = await reckon(backend, journey, observed, events)
    timeline.close()
    console.log(`\n${draw(reckoning)}`)
    return reckoning.invariants.every(({ held }) => held) ? 0 : 1
  } catch (error) {
    if (!(error instanceof JourneyEnded)) throw error
    timeline.close()
    console.error(colors.red(error.message))
    return 1
  }
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'))) throw error
  console.error(`${error.message}\n\n${usage}`)
  process.exitCode = 2
}
