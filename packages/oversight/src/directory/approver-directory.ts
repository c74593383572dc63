/** An approver as the directory knows them. */
export interface Approver {
  readonly id: string
  /** How the person is addressed in a message. */
  readonly name: string
  /**
   * Where the person is reached, by the name of the channel: one address, or several in order of preference. On a channel
   * without an address they are unreachable.
   */
  readonly addresses: { readonly [channel: string]: string | readonly string[] }
  /** What quorums count, such as `finance`. None unless given. */
  readonly roles?: readonly string[]
  /** What `highest-authority` compares; more is higher. 0 unless given. */
  readonly authority?: number
  /**
   * Who this really is, where several ids stand for one person: a service account's owner, an alias. The id itself unless
   * given. Separation of duties compares principals.
   */
  readonly principal?: string
  /** Absences, half-open, in epoch milliseconds. */
  readonly away?: readonly Absence[]
}

/** When someone does not decide, and who does instead. */
export interface Absence {
  readonly from: number
  readonly until: number
  /** Is asked instead, unless away as well: delegation goes one step, never further. Nobody unless given. */
  readonly delegate?: string
}

/** How the directory is asked. */
export interface DirectoryOptions {
  readonly tenant: string
  readonly signal: AbortSignal
}

/**
 * Knows the people behind the ids that policies name. It is asked when a tier is about to be asked, for each delivery and
 * for each vote, outside of any unit, so that a change counts at once. A throw means that it did not answer.
 */
export interface ApproverDirectory {
  /** The approver, or undefined when nobody of that id works here any more. */
  find(approver: string, options: DirectoryOptions): Promise<Approver | undefined>
  /** The members of a group by id, or undefined when there is no such group. Needed where policies name groups. */
  members?(group: string, options: DirectoryOptions): Promise<readonly string[] | undefined>
  /** Who is on call at `at` (epoch milliseconds); undefined for no such schedule. Needed where policies name schedules. */
  onCall?(schedule: string, options: DirectoryOptions & { readonly at: number }): Promise<readonly string[] | undefined>
}
