import type { CheckpointStore, StoredCheckpoint } from '../checkpoint/checkpoint-store.ts'

/** Checkpoints in this process's memory: for tests and demonstrations, gone with the process. */
export function memoryCheckpointStore(): CheckpointStore {
  const checkpoints = new Map<string, StoredCheckpoint>()
  return {
    async save(checkpoint) {
      if (!checkpoints.has(checkpoint.id)) {
        checkpoints.set(checkpoint.id, { ...checkpoint, bytes: checkpoint.bytes.slice() })
      }
    },
    async load(id) {
      const found = checkpoints.get(id)
      return found === undefined ? undefined : { ...found, bytes: found.bytes.slice() }
    },
    async remove(id) {
      checkpoints.delete(id)
    },
    async list(tenant, { limit }) {
      return [...checkpoints.values()]
        .filter((checkpoint) => checkpoint.tenant === tenant)
        .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
        .slice(0, limit)
        .map(({ bytes, ...rest }) => ({ ...rest, sealedBytes: bytes.length }))
    },
    async removeExpired(now, limit) {
      const expired = [...checkpoints.values()].filter(({ expiresAt }) => expiresAt <= now).slice(0, limit)
      for (const { id } of expired) checkpoints.delete(id)
      return expired.length
    }
  }
}
