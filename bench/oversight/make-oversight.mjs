// The oversight that all rows here measure, made in this one place through the public API: durable, with an audit entry for
// each fact, and two tiers of one approver each.
import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { outboxSchema } from '@enablement/core/outbox'
import { migrate } from '@enablement/core/sql'
import { createOversight, defineAction } from '@enablement/oversight'
import { oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'

const isEscalation = ({ name }) => name === 'oversight.escalation'

const HOUR_MS = 3_600_000

// What its own users would write with zod; the bench has no schema library among its dependencies.
const detailSchema = { '~standard': { version: 1, vendor: 'bench', validate: (value) => ({ value }) } }

/**
 * `firstWaitMs` is how long the first tier has, before the second is asked; `deliver` is the channel's.
 */
export async function makeOversight(
  db,
  { firstWaitMs = HOUR_MS, deliver = async () => ({ outcome: 'delivered' }) } = {}
) {
  await migrate(db, [auditSchema, outboxSchema, oversightSchema])
  const refund = defineAction({
    name: 'payments.refund',
    detail: detailSchema,
    policy: {
      tiers: [
        { approvers: ['ana'], channels: ['desk'], waitMs: firstWaitMs },
        { approvers: ['bo'], channels: ['desk'], waitMs: HOUR_MS }
      ],
      onExhausted: 'deny'
    }
  })
  const oversight = createOversight({
    store: sqlOversightStore(db, { audit: createAuditLog({ db }) }),
    actions: [refund],
    channels: { desk: { deliver } }
  })
  let opened = 0
  return {
    oversight,
    /** Opens another request, and gives its id. */
    async open() {
      opened += 1
      const { id } = await oversight.open(refund, {
        idempotencyKey: `tool-call-${opened}`,
        tenant: 'org_42',
        requestedBy: { agent: 'agent-7' },
        summary: `Refund 12.00 for order ${opened}`,
        detail: { order: `${opened}`, cents: 1_200 }
      })
      return id
    },
    /** The duty that asks the next tier of what is due, and the others, which deliver its invitations among them. */
    escalation: oversight.duties.find(isEscalation),
    others: oversight.duties.filter((duty) => !isEscalation(duty))
  }
}
