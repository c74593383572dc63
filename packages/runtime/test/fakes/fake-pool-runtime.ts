import { type Clock, sleep } from '@enablement/core'
import {
  type EvaluationOutcome,
  mebibytes,
  type PoolRuntime,
  type PreparedSandbox,
  type PrepareOptions,
  RuntimeError,
  type Sandbox
} from '@enablement/runtime'

/** A sandbox of the fake: where it stands, and what it was made of. */
interface FakeGuest {
  readonly id: string
  readonly template: PrepareOptions
  readonly startedAt: number
  state: 'ready' | 'assigned' | 'lost'
}

/** A runtime whose sandboxes are records; what fails and how long it takes is up to the test. */
export interface FakePoolRuntime extends PoolRuntime {
  /** Sandboxes that were started and have not ended. */
  readonly alive: ReadonlyMap<string, FakeGuest>
  /** Sandboxes under way. */
  readonly starting: number
  readonly started: number
  failStarts: boolean
  failCheckpoints: boolean
  startMs: number
  endMs: number
  checkpointMs: number
  /** Called when a sandbox is given away. */
  onAssigned: (guest: FakeGuest) => void
  /** The host loses a sandbox that is ready. */
  lose(id: string): void
  /** Its process is gone, and all of its sandboxes. */
  crash(): void
}

export const template: PrepareOptions = { memoryLimitBytes: mebibytes(8) }

export function fakePoolRuntime(clock: Clock, name = 'fake'): FakePoolRuntime {
  const alive = new Map<string, FakeGuest>()
  let started = 0
  let starting = 0

  const start = async (made: PrepareOptions, state: FakeGuest['state']): Promise<FakeGuest> => {
    starting += 1
    try {
      await sleep(clock, fake.startMs)
      if (fake.failStarts) throw new Error('the fake does not start')
      started += 1
      const guest: FakeGuest = { id: `${name}-${started}`, template: made, startedAt: clock.monotonic(), state }
      alive.set(guest.id, guest)
      return guest
    } finally {
      starting -= 1
    }
  }

  const end = async (guest: FakeGuest): Promise<void> => {
    if (!alive.has(guest.id)) return
    await sleep(clock, fake.endMs)
    alive.delete(guest.id)
  }

  const sandboxOf = (guest: FakeGuest, tenant: string, agent: string): Sandbox => {
    let isGone = false
    const refuseGone = (): void => {
      if (!isGone && guest.state !== 'lost') return
      throw new RuntimeError('SANDBOX_GONE', `${guest.id} is gone`, { sandboxId: guest.id, reason: 'closed' })
    }
    const evaluate = async (): Promise<EvaluationOutcome> => {
      refuseGone()
      return { outcome: 'completed', value: guest.id }
    }
    const close = async (): Promise<void> => {
      isGone = true
      await end(guest)
    }
    return {
      id: guest.id,
      tenant,
      agent,
      incarnation: 1,
      memoryLimitBytes: guest.template.memoryLimitBytes,
      evaluate,
      continue: evaluate,
      close,
      [Symbol.asyncDispose]: close,
      memory: () => {
        throw new Error('the fake has no memory')
      },
      checkpoint: async () => new TextEncoder().encode(guest.id),
      async preempt() {
        refuseGone()
        await sleep(clock, fake.checkpointMs)
        if (fake.failCheckpoints) throw new Error('the fake is not saved')
        refuseGone()
        await close()
        return new TextEncoder().encode(guest.id)
      },
      tell: () => undefined,
      setReadOnly: async () => 'remount',
      processes: () => []
    }
  }

  const fake: FakePoolRuntime = {
    alive,
    get starting() {
      return starting
    },
    get started() {
      return started
    },
    failStarts: false,
    failCheckpoints: false,
    startMs: 10,
    endMs: 1,
    checkpointMs: 5,
    onAssigned: () => undefined,
    lose(id) {
      const guest = alive.get(id)
      if (guest === undefined) return
      guest.state = 'lost'
      alive.delete(id)
    },
    crash() {
      for (const id of alive.keys()) fake.lose(id)
    },
    async prepare(made) {
      const guest = await start(made, 'ready')
      const close = async (): Promise<void> => {
        if (guest.state === 'ready') guest.state = 'lost'
        else return
        await end(guest)
      }
      const prepared: PreparedSandbox = {
        id: guest.id,
        memoryLimitBytes: made.memoryLimitBytes,
        close,
        [Symbol.asyncDispose]: close,
        isReady: () => guest.state === 'ready',
        assign({ tenant, agent }) {
          if (guest.state !== 'ready') {
            throw new RuntimeError('SANDBOX_GONE', `${guest.id} is gone`, { sandboxId: guest.id, reason: guest.state })
          }
          guest.state = 'assigned'
          fake.onAssigned(guest)
          return sandboxOf(guest, tenant, agent)
        }
      }
      return prepared
    },
    async restore({ tenant, agent, memoryLimitBytes }) {
      const guest = await start({ memoryLimitBytes }, 'assigned')
      return sandboxOf(guest, tenant, agent)
    }
  }
  return fake
}
