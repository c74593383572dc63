import { isSuiteError, type JsonValue, type Platform } from '@enablement/core'
import { type Journal, type JournalDisk, openJournal } from '@enablement/core/journal'
import {
  type SimulatedProcess,
  type SimulatedWorld,
  type SimulationResult,
  type StartProcess,
  simulate
} from '@enablement/core/testing'
import { expect } from 'vitest'
import { type LedgerEvent, type LedgerStore, startLedgerNode } from './ledger-node.ts'

/** What of a node can be put in place of the right thing, to see the simulation find it. */
export interface Sabotage {
  readonly disk?: (disk: JournalDisk) => JournalDisk
  readonly journal?: (journal: Journal) => Journal
  readonly store?: (store: LedgerStore, process: SimulatedProcess) => LedgerStore
  readonly newId?: (process: SimulatedProcess) => () => string
  readonly platform?: (platform: Platform) => Platform
  /** Whether the store counts an event again that it has counted. */
  readonly countsTwice?: boolean
}

const NODES = ['a', 'b', 'c'] as const
type NodeName = (typeof NODES)[number]
type World = SimulatedWorld<NodeName | 'store'>

/** Within this after healing the store must have everything. */
const CAUGHT_UP_MS = 30_000

/** What clients were told, and what the store counted. They outlive all processes. */
interface Books {
  /** Requests that were answered, with when, in true time, and how. */
  readonly told: Map<string, { readonly node: string; readonly at: number; readonly how: 'stored' | 'journaled' }>
  readonly asked: Set<string>
  /** How often the store counted each request. */
  readonly counted: Map<string, number>
  /** Undelivered events of the process that runs on each node. */
  readonly backlogs: Map<string, () => number>
  requests: number
}

/**
 * Three nodes record what clients send them. One is cut off from the store for a while; meanwhile, before and after,
 * messages are lost, doubled and late, processes are killed, machines lose power, clocks jump, disks fail. When all is
 * healed the store has counted every request that a client was answered about, once.
 */
export function ledgerHistory(seed: number, sabotage: Sabotage = {}): Promise<SimulationResult<Books>> {
  const books: Books = { told: new Map(), asked: new Set(), counted: new Map(), backlogs: new Map(), requests: 0 }
  const client: { working: boolean; now: () => number } = { working: true, now: () => 0 }

  const startStore = storeProcess(books, sabotage.countsTwice ?? false)
  const startNode: StartProcess = async (process) => {
    const { name, network, disk, platform: given } = process
    const platform = sabotage.platform?.(given) ?? given
    /** A node whose journal has failed is started again; the client whose call failed knows nothing. */
    const giveUp = (error: unknown): void => {
      // Anything else is a bug, and for the simulation to report.
      if (!isSuiteError(error)) throw error as Error
      process.exit()
    }
    const opened = await openJournal({
      folder: 'journal',
      disk: sabotage.disk?.(disk) ?? disk,
      recordMaxBytes: 1_000,
      segmentMaxBytes: 4_096,
      platform
    })
    const reached: LedgerStore = {
      async accept(events, { signal }) {
        await network.request('store', { events: events as unknown as JsonValue }, { signal })
      }
    }
    const node = await startLedgerNode({
      store: sabotage.store?.(reached, process) ?? reached,
      journal: sabotage.journal?.(opened) ?? opened,
      newId: sabotage.newId?.(process) ?? process.newId,
      platform,
      onFailed: giveUp
    })
    books.backlogs.set(name, () => node.backlog)
    const record = async (request: string): Promise<void> => {
      books.asked.add(request)
      const how = await node.record(request)
      books.told.set(request, { node: name, at: client.now(), how })
    }
    const serve = (): void => {
      if (client.working) void record(`${name}-${books.requests++}`).catch(giveUp)
      given.clock.startTimer(50 + given.random.below(250), serve)
    }
    serve()
  }

  return simulate({
    seed,
    nodes: { store: startStore, a: startNode, b: startNode, c: startNode },
    network: {
      faults: [
        { kind: 'drop', lose: 'request', ratio: 0.02 },
        { kind: 'drop', lose: 'reply', ratio: 0.02 },
        { kind: 'duplicate', ratio: 0.02 },
        { kind: 'latency', latencyMs: 250, jitterMs: 200, ratio: 0.05 },
        { kind: 'reset', ratio: 0.01 }
      ]
    },
    // Slow ones, so that power is lost in the middle of them.
    disk: { syncMinMs: 1, syncMaxMs: 60 },
    async run(world) {
      client.now = () => world.clock.monotonic()
      void supervise(world)
      await play(world, books)
      client.working = false
      world.network.heal()
      const healedAt = world.clock.monotonic()
      await world.until(
        'every request that was answered is counted, and every journal is empty',
        () =>
          [...books.told.keys()].every((request) => books.counted.has(request)) &&
          NODES.every((name) => world.node(name).running && books.backlogs.get(name)?.() === 0),
        { withinMs: CAUGHT_UP_MS }
      )
      world.note(`caught up in ${(world.clock.monotonic() - healedAt).toFixed(0)} ms`)
      // What is still under way must not be counted twice either.
      await world.sleep(2_000)
      expect([...books.counted].filter(([, times]) => times !== 1)).toEqual([])
      expect([...books.counted.keys()].filter((request) => !books.asked.has(request))).toEqual([])
      return books
    }
  })
}

/** One linearizable store: it takes one request after the other, and what it has counted it keeps. */
function storeProcess(books: Books, countsTwice: boolean): StartProcess {
  const ids = new Set<string>()
  return ({ network }) => {
    network.listen({
      request(message) {
        const { events } = message as unknown as { readonly events: readonly LedgerEvent[] }
        for (const { id, request } of events) {
          if (ids.has(id) && !countsTwice) continue
          ids.add(id)
          books.counted.set(request, (books.counted.get(request) ?? 0) + 1)
        }
        return { counted: events.length }
      }
    })
  }
}

/** Everything that goes wrong, for some twelve seconds of true time. */
async function play(world: World, books: Books): Promise<void> {
  const { random, clock } = world
  const cutOff = NODES[random.below(3)] as NodeName
  const others = NODES.filter((name) => name !== cutOff)
  const misfortunes = misfortunesOf(world)

  await world.sleep(1_000 + random.below(2_000))
  world.network.partition([cutOff])
  const cutAt = clock.monotonic()
  const cutMs = 4_000 + random.below(4_000)
  // Always to the one that is cut off, whose journal is all that it has.
  await world.sleep(cutMs / 2)
  const crash = random.below(4)
  if (crash > 0) world.node(cutOff).crash(crash === 1 ? 'kill' : 'power-cut')
  await world.sleep(cutMs / 2)

  const answers = [...books.told.values()].filter(({ at }) => at > cutAt + 1_000)
  expect(answers.filter(({ node, how }) => node === cutOff && how === 'stored')).toEqual([])
  expect(answers.filter(({ node }) => node === cutOff).length, 'the one that is cut off goes on').toBeGreaterThan(0)
  const stored = answers.filter(({ node, how }) => node !== cutOff && how === 'stored').length
  expect(stored, `${others.join()} go on in the store`).toBeGreaterThan(answers.length / 4)
  await misfortunes
}

/** A few accidents to any node, at any time. */
async function misfortunesOf(world: World): Promise<void> {
  const { random } = world
  for (let count = 2 + random.below(4); count > 0; count--) {
    await world.sleep(200 + random.below(2_500))
    const node = world.node(NODES[random.below(3)] as NodeName)
    const kind = random.below(7)
    if (kind === 0 || kind === 6) node.jumpWall(-3_600_000 + random.below(7_200_000))
    else if (kind === 1) node.pause(50 + random.below(800))
    else if (kind === 2) node.disk.faults.add({ kind: 'error', code: 'EIO', only: ['sync-data'], times: 1 })
    else if (kind === 3) node.disk.faults.add({ kind: 'latency', latencyMs: 100, only: ['sync-data'], times: 5 })
    else node.crash(kind === 4 ? 'kill' : 'power-cut')
  }
}

/** Starts processes again that have ended, as whatever runs services does. */
async function supervise({ node, sleep, random }: World): Promise<never> {
  for (;;) {
    await sleep(100 + random.below(400))
    for (const name of NODES) if (!node(name).running) node(name).restart()
  }
}
