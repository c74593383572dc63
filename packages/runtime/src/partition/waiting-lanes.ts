/** What waits in a lane. */
export interface Waiting {
  readonly lane: string
  /** Place in the order of all requests. */
  readonly sequence: number
}

/** Queues by lane, each in the order in which its requests were made, whenever they came in. */
export interface WaitingLanes<Item extends Waiting> {
  readonly size: number
  add(item: Item): void
  remove(item: Item): void
  /** Whether anything waits in the lane. */
  has(lane: string): boolean
  /** The first of each lane, in the order in which lanes came to have something waiting. */
  heads(): Iterable<Item>
  all(): Iterable<Item>
}

export function createWaitingLanes<Item extends Waiting>(): WaitingLanes<Item> {
  const lanes = new Map<string, Item[]>()
  let size = 0
  return {
    get size() {
      return size
    },
    add(item) {
      const queue = lanes.get(item.lane)
      size += 1
      if (queue === undefined) {
        lanes.set(item.lane, [item])
        return
      }
      // Nearly always the last place; one that was under way when the network went belongs before those made since.
      const after = queue.findLastIndex(({ sequence }) => sequence < item.sequence)
      queue.splice(after + 1, 0, item)
    },
    remove(item) {
      const queue = lanes.get(item.lane)
      const at = queue?.indexOf(item) ?? -1
      if (queue === undefined || at < 0) return
      queue.splice(at, 1)
      size -= 1
      if (queue.length === 0) lanes.delete(item.lane)
    },
    has: (lane) => lanes.has(lane),
    *heads() {
      for (const queue of lanes.values()) yield queue[0] as Item
    },
    *all() {
      for (const queue of lanes.values()) yield* queue
    }
  }
}
