import { wrapped } from '../testing/broken-journal-disks.ts'
import type { Sabotage } from './ledger-world.ts'

/** Nodes that are wrong, each in one way that a review could miss. */
export const brokenNodes: Readonly<Record<string, Sabotage>> = {
  'acknowledges before the record is synced': {
    journal: (journal) => ({
      ...journal,
      append(payload, options) {
        const appended = journal.append(payload, options)
        return Promise.race([appended, Promise.resolve(journal.status().lastSequence + 1n)])
      }
    })
  },
  'has a disk that says it synced data': {
    disk: (disk) => wrapped(disk, { file: () => ({ syncData: async () => {} }) })
  },
  'does not sync the name of a segment': {
    disk: (disk) => wrapped(disk, { folder: () => ({ sync: async () => {} }) })
  },
  'sends an event under a new id each time': {
    store: (store, { newId }) => ({
      accept: (events, options) =>
        store.accept(
          events.map((event) => ({ ...event, id: newId() })),
          options
        )
    })
  },
  'makes ids that begin anew after a restart': {
    newId({ name }) {
      let count = 0
      return () => `${name}-${count++}`
    }
  },
  'takes sent for stored': {
    store: (store) => ({
      async accept(events, options) {
        void store.accept(events, options).catch(() => {})
      }
    })
  },
  'does not look for what an earlier process left in the journal': {
    journal(journal) {
      const { lastSequence } = journal.status()
      return {
        ...journal,
        replay: ({ after = 0n, signal } = {}) =>
          journal.replay({
            after: after > lastSequence ? after : lastSequence,
            ...(signal === undefined ? {} : { signal })
          })
      }
    }
  },
  'trims what the store does not have yet': {
    journal: (journal) => ({
      ...journal,
      async append(payload, options) {
        const sequence = await journal.append(payload, options)
        await journal.trim({ through: sequence })
        return sequence
      }
    })
  },
  'measures durations on the wall clock': {
    platform: ({ clock, random }) => ({ clock: { ...clock, monotonic: clock.now }, random })
  },
  'has a store that counts what it has counted': { countsTwice: true }
}
