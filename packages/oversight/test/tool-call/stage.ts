import { sleep } from '@enablement/core'
import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { outboxSchema } from '@enablement/core/outbox'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'
import { type Action, createOversight, defineAction, type ExecutionClaim, type Oversight } from '@enablement/oversight'
import type { ToolCallOrigin, ToolOversight } from '@enablement/oversight/ai-sdk'
import { oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'
import { z } from 'zod'

export const refundSchema = z.object({ order: z.string(), cents: z.int().positive() })
export type Refund = z.infer<typeof refundSchema>

/** A policy under which a person has an hour, and then nobody. */
const policy = {
  identical: 'separate',
  tiers: [{ approvers: ['ana'], channels: ['desk'], waitMs: 3_600_000 }],
  onExhausted: 'queue',
  deadlineMs: 3_600_000
} as const

const HOUR_MS = 3_600_000

/** Some 17 minutes of 50 ms, and a few seconds of real time, in which an MCP client may rest for a quarter of one. */
const STEPS_MAX = 20_000

export const origin: ToolCallOrigin = {
  tenant: 'acme',
  thread: 'chat-1',
  requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' }
}

export interface ToolOptions {
  readonly oversight: ToolOversight
  readonly action: Action<Refund>
  readonly summary: (input: Refund) => string
  readonly effect: (claim: ExecutionClaim<Refund>) => Promise<{ paid: number }>
  readonly platform: TestPlatform
}

/** A store with oversight on it, an effect that counts, and an approver at hand. */
export interface ToolStage extends AsyncDisposable {
  readonly platform: TestPlatform
  readonly refund: Action<Refund>
  readonly oversight: Oversight & ToolOversight
  /** What the effect was run with, in order. It takes 100 ms, so that callers overlap. */
  readonly paid: readonly Refund[]
  /** What every adapter takes, as a process of its own would have it: new objects over the same store. */
  process(): ToolOptions
  /** Ids of the requests that were opened, in order. */
  readonly requests: readonly string[]
  /** What `ana` says of the latest request, or of the one with this id. */
  approve(requestId?: string): Promise<void>
  deny(reason: string, requestId?: string): Promise<void>
  /** Lets the deadline of all open requests pass. */
  expire(): Promise<void>
  /** Moves time until `work` has ended. */
  passing<T>(work: Promise<T>): Promise<T>
  /** Moves time until `holds`. */
  until(holds: () => boolean): Promise<void>
}

export async function toolStage(): Promise<ToolStage> {
  const platform = testPlatform()
  const disk = sqliteDatabase({ path: ':memory:' })
  const db = withStoreClock(disk, platform.clock)
  await migrate(db, [auditSchema, outboxSchema, oversightSchema])
  const refund = defineAction({ name: 'payments.refund', detail: refundSchema, policy })
  const requests: string[] = []
  const paid: Refund[] = []

  const create = (): Oversight & ToolOversight => {
    const store = sqlOversightStore(db, { audit: createAuditLog({ db, platform }) })
    const channels = { desk: { deliver: async () => ({ outcome: 'delivered' as const }) } }
    const oversight = createOversight({ store, actions: [refund], channels, platform })
    return {
      ...oversight,
      async open(action, ask) {
        const request = await oversight.open(action, ask)
        if (!requests.includes(request.id)) requests.push(request.id)
        return request
      }
    }
  }
  const oversight = create()
  const until = async (holds: () => boolean): Promise<void> => {
    for (let steps = 0; !holds(); steps += 1) {
      if (steps === STEPS_MAX) throw new Error('what the test waits for does not happen')
      await platform.clock.advance(50)
    }
  }
  const latest = (): string => requests.at(-1) as string

  return {
    platform,
    refund,
    oversight,
    paid,
    requests,
    process: () => ({
      oversight: create(),
      action: refund,
      summary: ({ order, cents }) => `Refund ${cents} cents for order ${order}`,
      async effect({ detail }) {
        paid.push(detail)
        await sleep(platform.clock, 100)
        return { paid: detail.cents }
      },
      platform
    }),
    async approve(requestId = latest()) {
      await oversight.decide(requestId, { approver: 'ana', decision: 'approve' })
    },
    async deny(reason, requestId = latest()) {
      await oversight.decide(requestId, { approver: 'ana', decision: 'deny', reason })
    },
    async expire() {
      await platform.clock.advance(HOUR_MS)
      const { signal } = new AbortController()
      for (const duty of oversight.duties) await duty.run({ signal })
    },
    async passing(work) {
      let ended = false
      const end = (): void => {
        ended = true
      }
      work.then(end, end)
      await until(() => ended)
      return work
    },
    until,
    [Symbol.asyncDispose]: () => disk.close()
  }
}
