import type { Delivery, DeliveryReply, Transport } from '@enablement/messaging'

/** A transport in a test's hands: it keeps every envelope, and delivers what and when the test says. */
export interface PostOffice extends Transport {
  /** Everything that was handed in, in order. */
  readonly sent: Delivery[]
  /** Whether envelopes go through at once, as they do at first. While it is closed nobody is reachable. */
  open: boolean
  /** Whether it says that it has delivered and keeps the envelope: a transport that loses, delays and reorders. */
  holding: boolean
  /** Hands a delivery to the recipient, as often as the test likes. */
  hand(delivery: Delivery): Promise<DeliveryReply>
}

export function postOffice(): PostOffice {
  const listeners = new Map<string, (delivery: Delivery) => Promise<DeliveryReply>>()
  const office: PostOffice = {
    sent: [],
    open: true,
    holding: false,
    async hand({ from, to, envelope }) {
      const listener = listeners.get(to)
      if (listener === undefined) throw new Error(`nobody listens on ${to}`)
      return await listener({ from, to, envelope: envelope.slice() })
    },
    async deliver(delivery) {
      office.sent.push({ ...delivery, envelope: delivery.envelope.slice() })
      if (office.holding) return { outcome: 'delivered' }
      if (!office.open) return { outcome: 'unreachable' }
      const reply = await office.hand(delivery)
      if (reply.outcome === 'rejected') return reply
      return { outcome: reply.outcome === 'accepted' ? 'delivered' : 'unreachable' }
    },
    listen(address, onDelivery) {
      listeners.set(address, onDelivery)
      return () => listeners.delete(address)
    }
  }
  return office
}
