import type { TestPlatform } from '@enablement/core/testing'
import {
  type ApprovalPolicy,
  type Approver,
  createDirectory,
  type OversightOptions,
  type Tier
} from '@enablement/oversight'
import { expect } from 'vitest'
import { runDuties, type Stage, stage } from '../stage.ts'

/** Calls of the network that are under way: what takes real time, while the clock stands. */
export interface Traffic {
  readonly inFlight: number
  watched<Args extends readonly unknown[], T>(call: (...args: Args) => Promise<T>): (...args: Args) => Promise<T>
}

export function traffic(): Traffic {
  let inFlight = 0
  return {
    get inFlight() {
      return inFlight
    },
    watched:
      (call) =>
      async (...args) => {
        inFlight += 1
        try {
          return await call(...args)
        } finally {
          inFlight -= 1
        }
      }
  }
}

export const minutes = (count: number): number => count * 60_000

/** One tier, whose people have an hour, and a chain that ends with a denial. */
export const oneTier = (tier: Partial<Tier> & Pick<Tier, 'channels'>): ApprovalPolicy => ({
  tiers: [{ approvers: ['ana'], waitMs: minutes(60), ...tier }],
  onExhausted: 'deny'
})

export interface ChannelStage extends Stage {
  /** Does everything that is due, and whatever that waits for, such as its turn with a provider. */
  settle(): Promise<void>
  /** Lets time pass in steps of a second, or as told, and does what falls due in each. */
  pass(durationMs: number, stepMs?: number): Promise<void>
  /** Lets time pass, 5 s at a time, until it is so; fails after `maxMs`. */
  until(isSo: () => boolean, maxMs: number): Promise<void>
  /** Waits for what needs time to pass, such as an answer of the endpoint. */
  drive<T>(work: Promise<T>): Promise<T>
  /** What became of invitations, in order: `delivered slack`, `bounced email`, `unreachable email`. */
  invited(): readonly string[]
}

const STEP_MS = 50
const UNTIL_STEP_MS = 5_000

/** The kernel on its SQL store with real channels, on a virtual clock that stands while the network is busy. */
export async function channelStage(
  policy: ApprovalPolicy,
  options: Partial<OversightOptions> & {
    readonly platform: TestPlatform
    readonly traffic: { readonly inFlight: number }
    readonly approvers: readonly Approver[]
  }
): Promise<ChannelStage> {
  const { traffic: busy, approvers, ...more } = options
  const { clock } = more.platform
  const s = await stage(policy, { directory: createDirectory({ approvers }), ...more })

  const drive = async <T>(work: Promise<T>): Promise<T> => {
    let ended = false
    const done = work.finally(() => {
      ended = true
    })
    done.catch(() => undefined)
    while (!ended) {
      await new Promise((resolve) => setImmediate(resolve))
      if (busy.inFlight === 0 && !ended) await clock.advance(STEP_MS)
    }
    return done
  }
  const settle = (): Promise<void> => drive(runDuties(s.oversight))
  const pass = async (durationMs: number, stepMs = 1_000): Promise<void> => {
    for (const end = clock.monotonic() + durationMs; clock.monotonic() < end; ) {
      await clock.advance(Math.min(stepMs, end - clock.monotonic()))
      await settle()
    }
  }
  return {
    ...s,
    drive,
    settle,
    pass,
    async until(isSo, maxMs) {
      await settle()
      for (const end = clock.monotonic() + maxMs; !isSo() && clock.monotonic() < end; )
        await pass(UNTIL_STEP_MS, UNTIL_STEP_MS)
      expect(isSo()).toBe(true)
    },
    invited: () =>
      s.events.flatMap((event) =>
        event.type === 'invitation.delivered' ||
        event.type === 'invitation.bounced' ||
        event.type === 'invitation.unreachable'
          ? [`${event.type.slice('invitation.'.length)} ${event.channel}`]
          : []
      )
  }
}
