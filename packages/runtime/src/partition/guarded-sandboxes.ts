import type { Clock, Timer } from '@enablement/core'
import { RuntimeError } from '../runtime-error.ts'
import type { GuestNotice } from '../sandbox/sandbox-host.ts'

/** The part of a sandbox that a partition concerns. */
export interface GuardedSandbox<Checkpoint> {
  readonly id: string
  tell(notice: GuestNotice): void
  checkpoint(): Promise<Checkpoint>
}

/** Sandboxes whose guests hear when the way out is gone and when it is back. */
export interface GuardedSandboxes {
  enrol<Checkpoint>(
    sandbox: GuardedSandbox<Checkpoint>,
    keep: (checkpoint: Checkpoint) => void | Promise<void>
  ): () => void
  /** Saves every sandbox, and tells its guest when that is done, failed, or has taken too long. */
  cutOff(): void
  /** Tells those that were told. */
  restored(): void
  close(): void
}

/** As for a sandbox that runs out of memory (catalog RT-1): a slow checkpoint delays the guest's news no longer than this. */
const CHECKPOINT_MS = 5_000

/** What one process can hold of sandboxes, with room. */
const ENROLLED_MAX = 10_000

interface Member {
  readonly id: string
  save(): Promise<void>
  tell(type: GuestNotice['type']): void
  /** Runs until its guest is told of a partition. */
  pending?: Timer
  told: boolean
}

export function createGuardedSandboxes(
  clock: Clock,
  unsaved: (sandboxId: string, error: unknown) => void
): GuardedSandboxes {
  const members = new Set<Member>()
  let isCutOff = false

  const inform = (member: Member): void => {
    // Saved as it was before it knew: a restored guest must not believe in a partition that is over.
    const announce = (): void => {
      if (member.pending === undefined) return
      member.pending.cancel()
      delete member.pending
      member.told = true
      member.tell('degraded')
    }
    member.pending = clock.startTimer(CHECKPOINT_MS, announce)
    const { pending } = member
    void member
      .save()
      .catch((error: unknown) => unsaved(member.id, error))
      .then(() => {
        // The partition may be over, and another one have begun.
        if (member.pending === pending) announce()
      })
  }

  const spare = (member: Member): void => {
    member.pending?.cancel()
    delete member.pending
  }

  return {
    enrol(sandbox, keep) {
      if (members.size >= ENROLLED_MAX) {
        const detail = { what: 'sandboxes of a partition guard', count: members.size, limit: ENROLLED_MAX }
        throw new RuntimeError('OVERLOADED', `the partition guard has ${ENROLLED_MAX} sandboxes already`, detail)
      }
      const member: Member = {
        id: sandbox.id,
        save: async () => keep(await sandbox.checkpoint()),
        tell(type) {
          try {
            sandbox.tell({ type, reason: 'network_partition', capabilities: ['egress'] })
          } catch {
            // A sandbox that is gone has no guest to tell.
          }
        },
        told: false
      }
      members.add(member)
      if (isCutOff) inform(member)
      return () => {
        members.delete(member)
        spare(member)
      }
    },
    cutOff() {
      isCutOff = true
      for (const member of members) if (!member.told && member.pending === undefined) inform(member)
    },
    restored() {
      isCutOff = false
      for (const member of members) {
        spare(member)
        if (member.told) member.tell('recovered')
        member.told = false
      }
    },
    close() {
      for (const member of members) spare(member)
      members.clear()
    }
  }
}
