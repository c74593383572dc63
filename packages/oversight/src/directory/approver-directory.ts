/** An approver as the directory knows them. */
export interface Approver {
  readonly id: string
  /** How the person is addressed in a message. */
  readonly name: string
  /** Where the person is reached, by the name of the channel. On a channel without an address they are unreachable. */
  readonly addresses: { readonly [channel: string]: string }
}

/**
 * Knows the people behind the ids that policies name. It is asked at the time of each delivery, outside of any unit, so
 * that a changed address counts at once.
 */
export interface ApproverDirectory {
  /**
   * The approver, or undefined when nobody of that id works here any more. A throw means that the directory did not
   * answer: the delivery is tried again.
   */
  find(
    approver: string,
    options: { readonly tenant: string; readonly signal: AbortSignal }
  ): Promise<Approver | undefined>
}
