/** Whose service, and under which key. */
export interface RestrictionOrder {
  readonly tenant: string
  readonly subscription: string
  /** The same at every attempt at this order, and at no other. */
  readonly idempotencyKey: string
  /**
   * Grows with every order for the subscription: what keeps the highest one it has seen, and drops lower ones, cannot be
   * set back by an order that was overtaken.
   */
  readonly order: number
}

/** What service is taken away on the last day, and given back when it is paid. Answered by the user. */
export interface ServiceRestriction {
  /** Takes it away. Resolved means in force. Repeated with the same key when that was not learned. */
  restrict(order: RestrictionOrder, options: { readonly signal: AbortSignal }): Promise<void>
  /** Gives it back, wholly, whether or not it was taken. */
  restore(order: RestrictionOrder, options: { readonly signal: AbortSignal }): Promise<void>
}
