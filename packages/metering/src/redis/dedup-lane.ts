/** What is asked of a script in one step. */
export interface LaneJob {
  readonly kind: 'c' | 's' | 'r'
  /** How many operations. */
  readonly count: number
  /** They, one after the other. */
  readonly operations: string
  readonly signal: AbortSignal | undefined
}

interface WaitingJob extends LaneJob {
  readonly resolve: (answers: readonly string[]) => void
  readonly reject: (reason: unknown) => void
}

/** Operations of one script: it holds the server for a millisecond or two. A job is never divided, and has as many at most. */
const OPERATIONS_MAX = 1_000

/** A new one is said in one character; what was found before comes with the first receipt. */
const NEW_LENGTH = 1
const FOUND_LENGTH = 11

/**
 * One tenant's way to its script: one call at a time. Jobs that come within a turn of the event loop share a call, and
 * those that come while one is under way share the next.
 */
export class DedupLane {
  readonly #run: (operations: string) => Promise<string>
  readonly #onIdle: () => void
  #waiting: WaitingJob[] = []
  #running = false

  /** `onIdle` is told when nothing waits any more. */
  constructor(run: (operations: string) => Promise<string>, onIdle: () => void) {
    this.#run = run
    this.#onIdle = onIdle
  }

  /** Resolves with an answer for each claim, in order; with none for what is no claim. */
  do(job: LaneJob): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...job, resolve, reject })
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
        const answers = await this.#run(jobs.map(({ operations }) => operations).join(''))
        let from = 0
        for (const { kind, count, resolve } of jobs) {
          const own: string[] = []
          for (let claim = 0; kind === 'c' && claim < count; claim++) {
            const to = from + (answers[from] === 'n' ? NEW_LENGTH : FOUND_LENGTH)
            own.push(answers.slice(from, to))
            from = to
          }
          resolve(own)
        }
      } catch (error) {
        for (const { reject } of jobs) reject(error)
      }
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
      operations += job.count
      if (operations > OPERATIONS_MAX && taken > 0) break
      taken += 1
      if (job.signal?.aborted === true) job.reject(job.signal.reason)
      else jobs.push(job)
    }
    this.#waiting = this.#waiting.slice(taken)
    return jobs
  }
}
