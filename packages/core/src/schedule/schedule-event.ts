/** What an operator of a schedule should hear of. */
export type ScheduleEvent =
  /** An attempt failed, and is repeated after `retryInMs`; undefined when it was the last. */
  | {
      readonly type: 'task.failed'
      /** As the task sees it: the name, the id of a single run, and the instant. */
      readonly id: string
      readonly task: string
      readonly attempt: number
      readonly error: unknown
      readonly retryInMs: number | undefined
    }
  /** An instant was given up: it waits to be revived or dropped. */
  | {
      readonly type: 'task.set-aside'
      readonly id: string
      readonly task: string
      readonly attempts: number
      readonly reason: 'failed' | 'died'
    }
  /** The instants of a recurrence from `dueAt` up to `nextAt`, which is the next that will be fired, were missed. */
  | { readonly type: 'task.missed'; readonly task: string; readonly dueAt: number; readonly nextAt: number | undefined }
  /**
   * A lease was lost while the task was being done: others may do it too. `expired` and `suspended` (the machine slept)
   * were found out here; `taken` says that another claim, or a cancellation, came in between.
   */
  | {
      readonly type: 'task.lost'
      readonly id: string
      readonly task: string
      readonly fence: number
      readonly reason: 'expired' | 'suspended' | 'taken'
    }
  /** The store failed. What is under way goes on as long as its leases last, and the store is asked again. */
  | { readonly type: 'schedule.failed'; readonly operation: 'claim' | 'answer'; readonly error: unknown }
