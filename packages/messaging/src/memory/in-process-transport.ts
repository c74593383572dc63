import type { Delivery, DeliveryReply, Transport } from '../delivery/transport.ts'

type OnDelivery = (delivery: Delivery) => Promise<DeliveryReply>

/** A transport that can be taken down and brought back. */
export interface InProcessTransport extends Transport {
  /** From now on nobody is reachable. Deliveries under way end as they will. */
  stop(): void
  /** Undoes `stop`. */
  start(): void
}

/**
 * Carries envelopes between messengers of one process; each messenger copies what it is handed. An address that nobody
 * listens on is unreachable; a second listener on an address takes the place of the first.
 */
export function inProcessTransport(): InProcessTransport {
  const listeners = new Map<string, OnDelivery>()
  let isStopped = false
  return {
    async deliver({ from, to, envelope }) {
      const onDelivery = listeners.get(to)
      if (isStopped || onDelivery === undefined) return { outcome: 'unreachable' }
      const reply = await onDelivery({ from, to, envelope })
      if (reply.outcome === 'accepted') return { outcome: 'delivered' }
      return reply.outcome === 'rejected' ? reply : { outcome: 'unreachable' }
    },
    listen(address, onDelivery) {
      listeners.set(address, onDelivery)
      return () => {
        if (listeners.get(address) === onDelivery) listeners.delete(address)
      }
    },
    stop() {
      isStopped = true
    },
    start() {
      isStopped = false
    }
  }
}
