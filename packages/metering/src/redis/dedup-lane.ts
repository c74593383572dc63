import type { DedupAnswer } from '../dedup/dedup-store.ts'

/** What is asked of a script in one step. */
export interface LaneJob {
  /** What to do, a character for each operation: `c` claim, `s` settle, `r` release. All of a job are of one kind. */
  readonly kinds: string
  /** What to do it with, one after the other. */
  readonly operations: string
  readonly signal: AbortSignal | undefined
}

interface WaitingJob extends LaneJob {
  readonly resolve: (answers: readonly DedupAnswer[]) => void
  readonly reject: (reason: unknown) => void
}

/** Runs the operations of several jobs, one after the other; gives an answer for each of the `claims` among them. */
type RunOperations = (kinds: string, operations: string, claims: number) => Promise<readonly DedupAnswer[]>

/** Operations of one script: it holds the server for a millisecond or two. A job is never divided, and has as many at most. */
const OPERATIONS_MAX = 1_000

/**
 * One tenant's way to its script: one call at a time. Jobs that come within a turn of the event loop share a call, and
 * those that come while one is under way share the next.
 */
export class DedupLane {
  readonly #run: RunOperations
  readonly #onDone: (count: number) => void
  readonly #onIdle: () => void
  #waiting: WaitingJob[] = []
  #running = false

  /** `onDone` is told how many operations have come to their end, `onIdle` when nothing waits any more. */
  constructor(run: RunOperations, onDone: (count: number) => void, onIdle: () => void) {
    this.#run = run
    this.#onDone = onDone
    this.#onIdle = onIdle
  }

  /** Resolves with an answer for each claim, in order; with none for what is no claim. */
  do({ kinds, operations, signal }: LaneJob): Promise<readonly DedupAnswer[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kinds, operations, signal, resolve, reject })
      if (this.#running) return
      this.#running = true
      // At the end of the turn, when everybody has come who was woken in it.
      setImmediate(() => void this.#work())
    })
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const jobs = this.#next()
      if (jobs.length === 0) continue
      try {
        let kinds = ''
        let operations = ''
        let claims = 0
        for (const job of jobs) {
          kinds += job.kinds
          operations += job.operations
          claims += answersOf(job)
        }
        const answers = await this.#run(kinds, operations, claims)
        let from = 0
        for (const job of jobs) {
          const to = from + answersOf(job)
          job.resolve(answers.slice(from, to))
          from = to
        }
      } catch (error) {
        for (const { reject } of jobs) reject(error)
      }
      for (const { kinds } of jobs) this.#onDone(kinds.length)
      // Those who were answered come again before the next call.
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#running = false
    this.#onIdle()
  }

  /** Takes as many jobs as go into one call; those whose callers gave up are not sent. */
  #next(): readonly WaitingJob[] {
    const jobs: WaitingJob[] = []
    let operations = 0
    let taken = 0
    for (const job of this.#waiting) {
      operations += job.kinds.length
      if (operations > OPERATIONS_MAX && taken > 0) break
      taken += 1
      if (job.signal?.aborted !== true) jobs.push(job)
      else {
        job.reject(job.signal.reason)
        this.#onDone(job.kinds.length)
      }
    }
    this.#waiting = this.#waiting.slice(taken)
    return jobs
  }
}

function answersOf({ kinds }: LaneJob): number {
  return kinds[0] === 'c' ? kinds.length : 0
}
