/** An envelope on its way. Nothing here is secret, and nothing is believed before the envelope has been opened. */
export interface Delivery {
  /** The sender's address, as the transport knows or claims it. */
  readonly from: string
  readonly to: string
  readonly envelope: Uint8Array
}

/** What became of a delivery. */
export type Delivered =
  /** The recipient has committed the message, or had it already. */
  | { readonly outcome: 'delivered' }
  /** The recipient is not there now; deliver it again later. */
  | { readonly outcome: 'unreachable' }
  /** The recipient is there and will not take these bytes, now or later. */
  | { readonly outcome: 'rejected'; readonly reason: string }

/**
 * What a recipient says to a delivery. A throw means what `deferred` does: the transport is to keep it and try again.
 */
export type DeliveryReply =
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'deferred'; readonly reason: string }
  | { readonly outcome: 'rejected'; readonly reason: string }

/**
 * Carries envelopes. It may lose, repeat, delay and reorder them, and change them at will: that costs availability,
 * never secrecy or a session.
 */
export interface Transport {
  /**
   * Carries one envelope. A throw counts as `unreachable`: the envelope stays in the outbox. It must settle, within a
   * time of its own: what never does holds up `send`, the outbox duty and `close`.
   */
  deliver(delivery: Delivery): Promise<Delivered>
  /**
   * Hands over what arrives for the address, until the returned function is called. The promise of `onDelivery`
   * resolves after the message has been committed: only then may the transport let go of it. The envelope is copied
   * before `onDelivery` returns.
   */
  listen(address: string, onDelivery: (delivery: Delivery) => Promise<DeliveryReply>): () => void
}
