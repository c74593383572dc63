/**
 * Tells an observer without depending on it: what it throws, and what a promise that it should not have returned rejects
 * with, is dropped. A report must not stop the work that it is about, nor end the process as an unhandled rejection.
 */
export function reporter<Event>(observe: ((event: Event) => void) | undefined): (event: Event) => void {
  if (observe === undefined) return () => undefined
  return (event) => {
    try {
      const answer: unknown = observe(event)
      if (answer instanceof Promise) answer.catch(() => undefined)
    } catch {
      // There is nowhere to report that reporting failed.
    }
  }
}
