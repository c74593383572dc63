import { type JsonObject, type Platform, systemPlatform } from '@enablement/core'
import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { outboxSchema } from '@enablement/core/outbox'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { withStoreClock } from '@enablement/core/testing'
import {
  type Action,
  type ApprovalPolicy,
  type ApproverDirectory,
  type ApproverRef,
  createOversight,
  defineAction,
  type OpenRequest,
  type Oversight,
  type StandardSchema
} from '@enablement/oversight'
import type { InboxOptions } from '@enablement/oversight/inbox'
import { oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'

type OversightCalls = InboxOptions['oversight']
type RequestView = Awaited<ReturnType<OversightCalls['inspect']>>

/** What a test opens; the rest has a default. */
type Opening = Pick<OpenRequest<JsonObject>, 'summary'> &
  Partial<Omit<OpenRequest<JsonObject>, 'requestedBy' | 'idempotencyKey'>> & {
    readonly action?: keyof typeof policies
    readonly agent?: string
    readonly onBehalfOf?: string
  }

/** A request as it was opened, and where the inbox shows it. */
export interface Opened extends RequestView {
  readonly path: string
}

/** The real thing, on a SQLite database in memory. */
export interface Kernel extends AsyncDisposable {
  readonly oversight: Oversight
  actionOf(name: keyof typeof policies): Action<JsonObject>
  open(opening: Opening): Promise<Opened>
  /** Who was shown which version of a request, as the log has it. */
  views(requestId: string): Promise<readonly string[]>
  /** Makes these the people whom `forum.post` asks. */
  gather(crowd: readonly string[]): void
  /** From now on the directory knows nobody of that id. */
  dismiss(approver: string): void
  /** Makes the next such call throw. */
  fail(call: keyof OversightCalls, error: Error): void
}

const tier = (approvers: readonly ApproverRef[], waitMs = 600_000): ApprovalPolicy['tiers'][number] => ({
  approvers,
  channels: ['desk'],
  waitMs
})

/** Whom the actions ask. Dee is away; cy stands in. */
const policies = {
  /** One of two decides. */
  'payments.refund': { tiers: [tier(['ana', 'bo'])], onExhausted: 'queue' },
  /** Two approve, within a time. */
  'payments.wire': {
    tiers: [tier(['ana', 'bo']), tier(['dee'])],
    strategy: { kind: 'quorum', anyOf: [[{ approve: 2 }]] },
    onExhausted: 'queue',
    deadlineMs: 5_400_000
  },
  'ledger.adjust': { tiers: [tier(['bo'])], onExhausted: 'deny' },
  /** Ana is asked when bo has been silent for as long as it takes to open a page. */
  'keys.rotate': { tiers: [tier(['bo'], 1_000), tier(['ana'])], onExhausted: 'deny' },
  /** Whoever the test says. */
  'forum.post': {
    tiers: [tier([{ group: 'crowd' }])],
    strategy: { kind: 'quorum', anyOf: [[{ approve: 2 }]] },
    onExhausted: 'deny'
  }
} as const satisfies { readonly [action: string]: ApprovalPolicy }

/** Any object; where it has cents, they must be some. */
const detailSchema: StandardSchema<JsonObject> = {
  '~standard': {
    version: 1,
    vendor: 'by-hand',
    validate(value) {
      const { cents = 1 } = value as JsonObject
      return Number.isInteger(cents) && Number(cents) > 0
        ? { value: value as JsonObject }
        : { issues: [{ message: 'must be a positive integer', path: ['cents'] }] }
    }
  }
}

/** On a test platform the store's clock is the platform's too. */
export async function kernel(platform: Platform = systemPlatform): Promise<Kernel> {
  const disk = sqliteDatabase({ path: ':memory:' })
  const db = platform === systemPlatform ? disk : withStoreClock(disk, platform.clock)
  await migrate(db, [auditSchema, outboxSchema, oversightSchema])
  const actions = new Map(
    Object.entries(policies).map(([name, policy]) => {
      return [
        name,
        defineAction({ name, detail: detailSchema, risk: 'low', policy: { ...policy, identical: 'separate' } })
      ]
    })
  )
  const actionOf: Kernel['actionOf'] = (name) => actions.get(name) as Action<JsonObject>
  let crowd: readonly string[] = []
  const dismissed = new Set<string>()
  const directory: ApproverDirectory = {
    async find(id) {
      const away = id === 'dee' ? [{ from: 0, until: Number.MAX_SAFE_INTEGER, delegate: 'cy' }] : []
      return dismissed.has(id) ? undefined : { id, name: id, addresses: { desk: id }, away }
    },
    members: async () => crowd
  }
  const real = createOversight({
    store: sqlOversightStore(db, { audit: createAuditLog({ db, platform }), platform }),
    actions: [...actions.values()],
    channels: { desk: { deliver: async () => ({ outcome: 'delivered' }) } },
    directory,
    platform
  })
  const faults = new Map<keyof OversightCalls, Error>()
  const orFault = <Args extends readonly unknown[], Answer>(
    call: keyof OversightCalls,
    work: (...args: Args) => Promise<Answer>
  ): ((...args: Args) => Promise<Answer>) => {
    return async (...args) => {
      const fault = faults.get(call)
      faults.delete(call)
      if (fault !== undefined) throw fault
      return await work(...args)
    }
  }
  let opened = 0
  return {
    oversight: { ...real, decide: orFault('decide', real.decide), list: orFault('list', real.list) },
    actionOf,
    async open({ action = 'payments.refund', agent = 'agent-7', onBehalfOf = 'uma', ...ask }) {
      opened += 1
      const { id } = await real.open(actionOf(action), {
        idempotencyKey: `call-${opened}`,
        tenant: 'acme',
        requestedBy: { agent, onBehalfOf },
        detail: { order: '118', cents: 1_200 },
        risk: 'medium',
        ...ask
      })
      return { ...(await real.inspect(id)), path: `/requests/${id}` }
    },
    async views(requestId) {
      const { entries } = await real.story(requestId)
      return entries.flatMap(({ action, actor, detail }) => {
        if (action !== 'request.viewed') return []
        return [`v${JSON.stringify(detail?.['version'])} by ${actor.replace('approver:', '')}`]
      })
    },
    gather(ids) {
      crowd = ids
    },
    dismiss: (approver) => void dismissed.add(approver),
    fail: (call, error) => void faults.set(call, error),
    [Symbol.asyncDispose]: () => disk.close()
  }
}
