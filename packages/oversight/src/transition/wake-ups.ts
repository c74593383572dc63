/** Tells those who wait in this process that a request may have ended. A hint: whoever waits looks into the store. */
export interface WakeUps {
  /** Calls `onHint` at every hint until it is told to stop. */
  listen(requestId: string, onHint: () => void): () => void
  hint(requestId: string): void
}

/** The map is bounded by those who wait: the last one to leave takes the entry with it. */
export function createWakeUps(): WakeUps {
  const listeners = new Map<string, Set<() => void>>()
  return {
    listen(requestId, onHint) {
      const known = listeners.get(requestId)
      const set = known ?? new Set()
      if (known === undefined) listeners.set(requestId, set)
      set.add(onHint)
      return () => {
        set.delete(onHint)
        if (set.size === 0 && listeners.get(requestId) === set) listeners.delete(requestId)
      }
    },
    hint(requestId) {
      for (const onHint of listeners.get(requestId) ?? []) onHint()
    }
  }
}
