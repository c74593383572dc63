import type { MeteringEvent } from '@enablement/metering'
import type { OversightEvent } from '@enablement/oversight'
import type { RuntimeEvent } from '@enablement/runtime'
import type { Timeline } from './timeline.ts'

/** What happened in this process, counted as it happened. */
export interface Observed {
  readonly memoryLevels: Set<string>
  duplicates: number
  refusals: number
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
const percent = (ratio: number): string => `${(ratio * 100).toFixed(0)} %`

/** Puts the packages' events into words, and counts those that the summary is about. */
export function narrate(timeline: Timeline): {
  readonly observed: Observed
  readonly observe: (event: RuntimeEvent | OversightEvent | MeteringEvent) => void
} {
  const observed: Observed = { memoryLevels: new Set(), duplicates: 0, refusals: 0 }
  const observe = (event: RuntimeEvent | OversightEvent | MeteringEvent): void => {
    switch (event.type) {
      case 'sandbox.opened':
        return timeline.say('runtime', `a sandbox of ${mebibytes(event.memoryLimitBytes)} runs`)
      case 'memory.warning':
      case 'memory.critical': {
        observed.memoryLevels.add(event.type)
        const tone = event.type === 'memory.warning' ? 'warning' : 'bad'
        const level = event.type === 'memory.warning' ? 'warning' : 'critical'
        const { usedBytes, usedRatio } = event.reading
        return timeline.say(
          'runtime',
          `memory ${level}: ${mebibytes(usedBytes)}, ${percent(usedRatio)} of the limit`,
          tone
        )
      }
      case 'checkpoint.saved': {
        const size = mebibytes(event.sealedBytes)
        return timeline.say('runtime', `checkpointed and sealed: ${size} in ${event.elapsedMs.toFixed(0)} ms; stopped`)
      }
      case 'approval.requested':
        return timeline.say('runtime', `asks for ${mebibytes(event.requestedLimitBytes)}`)
      case 'limit.raised':
        return timeline.say('runtime', `the limit is now ${mebibytes(event.limitBytes)}`, 'good')
      case 'sandbox.resumed':
        return timeline.say('runtime', `resumed from the checkpoint, the evaluation ${event.evaluation}`, 'good')
      case 'request.opened':
        if (event.asked === undefined) return undefined
        return timeline.say('oversight', `tier ${event.asked.tier + 1} is asked: ${namesOf(event.asked.seats)}`)
      case 'tier.asked':
        if (event.after !== undefined) {
          timeline.say('oversight', `tier ${event.after.tier + 1} was ${event.after.because}; escalating`, 'warning')
        }
        return timeline.say('oversight', `tier ${event.tier + 1} is asked: ${namesOf(event.seats)}`)
      case 'invitation.unreachable':
        return timeline.say('oversight', `${event.approver} cannot be reached: ${event.reason}`, 'warning')
      case 'tier.passed':
        return timeline.say('oversight', `tier ${event.tier + 1} was ${event.because}; escalating`, 'warning')
      case 'request.approved':
        return timeline.say('oversight', `${event.by} approves: ${event.reason ?? 'without a reason'}`, 'good')
      case 'request.denied':
        return timeline.say('oversight', `${event.by} denies: ${event.reason}`, 'bad')
      case 'usage.duplicated':
        observed.duplicates += 1
        return timeline.say('metering', `reported twice, counted once: ${event.transactionId}`, 'warning')
      case 'quota.consumed':
        return timeline.say('metering', `${event.amount} ${event.limits.join()} spent, ${event.remaining} left`)
      case 'quota.hold-settled':
        return timeline.say('metering', `held for a call, ${event.actual} used, the rest given back`)
      case 'quota.refused':
        observed.refusals += 1
        return timeline.say(
          'metering',
          `${event.amount} ${event.limits.join()} refused, ${event.remaining} left`,
          'warning'
        )
      default:
        return undefined
    }
  }
  return { observed, observe }
}

const namesOf = (seats: readonly { readonly approver: string }[]): string =>
  seats.map(({ approver }) => approver).join(', ')
