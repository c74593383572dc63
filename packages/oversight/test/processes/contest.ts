import { type Random, sleep, systemClock } from '@enablement/core'
import {
  type Action,
  type ApprovalPolicy,
  createOversight,
  type Decided,
  defineAction,
  type Oversight,
  type OversightStore,
  type StandardSchema
} from '@enablement/oversight'
import type { Witness } from './witness.ts'

export const TENANT = 'acme'

/** Who decides on every request. Every other one of them is against. */
export const APPROVERS: readonly string[] = Array.from({ length: 8 }, (_, at) => `approver-${at}`)
const isFor = (approver: string): boolean => APPROVERS.indexOf(approver) % 2 === 0

const numbered: StandardSchema<{ readonly number: number }> = {
  '~standard': { version: 1, vendor: 'by-hand', validate: (value) => ({ value: value as { readonly number: number } }) }
}

const policyOf = (strategy: 'any-approve' | 'first-wins'): ApprovalPolicy => ({
  tiers: [{ approvers: APPROVERS, channels: ['pager'], waitMs: 86_400_000 }],
  onExhausted: 'deny',
  strategy
})

/** Approved whatever the order of the votes, as soon as one is for it. */
export const agreed: Action<{ readonly number: number }> = defineAction({
  name: 'contest.agreed',
  detail: numbered,
  policy: policyOf('any-approve')
})
/** As the first vote says, whichever that is. */
export const disputed: Action<{ readonly number: number }> = defineAction({
  name: 'contest.disputed',
  detail: numbered,
  policy: policyOf('first-wins')
})

/** How many requests are contested of each action. */
export interface Contested {
  readonly agreed: number
  readonly disputed: number
}

/** How long an effect takes, so that a kill may come in its middle. */
const EFFECT_MS = 2
/** How often somebody looks whether anyone was invited, and for how long: a dead process holds invitations for half a minute. */
const LOOK_MS = 50
const INVITED_MAX_MS = 2_000
/** Requests that a contestant works on at the same time. */
const CONCURRENCY = 64

/** Somebody's own way to the store, whose channel and effects tell the witness. */
export function oversightWith(store: OversightStore, witness: Witness): Oversight {
  return createOversight({
    store,
    actions: [agreed, disputed],
    channels: {
      pager: {
        async deliver({ id }) {
          witness.tell('invited', id)
          return { outcome: 'delivered' }
        },
        async update({ requestId, approver }) {
          witness.tell('updated', requestId, approver.id)
        }
      }
    },
    pollMs: 50,
    executionLeaseMs: 5_000
  })
}

/** One of those who contest: which approvers vote through it. */
export interface Contestant {
  readonly name: string
  readonly approvers: readonly string[]
}

/** As many as are wanted, with a share of the approvers each. */
export function contestantsOf(count: number): readonly Contestant[] {
  return Array.from({ length: count }, (_, at) => ({
    name: `slot-${at}`,
    approvers: APPROVERS.filter((_approver, index) => index % count === at)
  }))
}

/**
 * Opens every request, or finds that somebody else has; votes on it; and executes it when it is approved: in an order of
 * its own, and going on from what the witness knows that it has done before.
 */
export async function contest(
  oversight: Oversight,
  { name, approvers }: Contestant,
  { contested, random, witness }: { readonly contested: Contested; readonly random: Random; readonly witness: Witness }
): Promise<void> {
  const done = new Set(
    witness
      .lines()
      .filter(([word]) => word === 'told' || word === 'execution')
      .map(([word, id, by]) => `${word} ${id} ${by}`)
  )
  const queue = shuffled(
    [
      ...Array.from({ length: contested.agreed }, (_, number) => ({ action: agreed, number })),
      ...Array.from({ length: contested.disputed }, (_, number) => ({ action: disputed, number }))
    ],
    random
  ).values()

  const take = async ({ action, number }: { action: typeof agreed; number: number }): Promise<void> => {
    const request = await oversight.open(action, {
      idempotencyKey: `${action.name} ${number}`,
      tenant: TENANT,
      requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
      summary: `Request ${number}`,
      detail: { number }
    })
    const { id } = request
    if (number % 10 === 0) await someoneInvited(oversight, id)
    let status: string | undefined
    for (const approver of shuffled(approvers, random)) {
      if (done.has(`told ${id} ${approver}`)) continue
      witness.tell('asks', id, approver)
      const decided = await vote(oversight, id, approver)
      witness.tell('told', id, approver, decided.outcome)
      status = 'verdict' in decided ? decided.verdict?.outcome : undefined
    }
    if (done.has(`execution ${id} ${name}`)) return
    // Nobody was told of a verdict here: what there was to decide was decided before this process was started.
    status ??= (await oversight.inspect(id)).status
    if (status !== 'approved') return
    const execution = await request.execute(async ({ fence }) => {
      witness.tell('begin', id, fence)
      await sleep(systemClock, EFFECT_MS)
      witness.tell('end', id, fence)
      return `${name} ${fence}`
    })
    const result = 'result' in execution ? execution.result : ''
    witness.tell('execution', id, name, execution.outcome, ...result.split(' '))
  }
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (const one of queue) await take(one)
    })
  )
}

/** Most are decided before anyone was invited; on some people vote when somebody was, or has not been for long. */
async function someoneInvited(oversight: Oversight, id: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < INVITED_MAX_MS; waitedMs += LOOK_MS) {
    const { request, entries } = await oversight.story(id)
    if (request.status !== 'pending' || entries.some(({ action }) => action === 'invitation.delivered')) return
    await sleep(systemClock, LOOK_MS)
  }
}

const vote = (oversight: Oversight, id: string, approver: string): Promise<Decided> =>
  oversight.decide(id, {
    approver,
    idempotencyKey: `click of ${approver}`,
    ...(isFor(approver) ? { decision: 'approve' } : { decision: 'deny', reason: 'not now' })
  })

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items]
  return items.map(() => left.splice(random.below(left.length), 1)[0] as T)
}
