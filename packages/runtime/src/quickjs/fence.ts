import { RuntimeError } from '../runtime-error.ts'
import type { HostSandbox, SandboxSpec } from '../sandbox/sandbox-host.ts'

/** Sees to it that of each sandbox one incarnation lives in this host, the newest. */
export interface Fence {
  /** Ends an older one that lives. Throws `SANDBOX_NOT_STARTED` when one lives that is as new or newer. */
  enter(spec: SandboxSpec, sandbox: HostSandbox): Promise<void>
  leave(sandboxId: string, sandbox: HostSandbox): void
}

/** Holds nothing of a sandbox that is gone. */
export function createFence(): Fence {
  const alive = new Map<string, { readonly incarnation: number; readonly sandbox: HostSandbox }>()
  return {
    async enter({ sandboxId, incarnation }, sandbox) {
      const other = alive.get(sandboxId)
      if (other !== undefined && other.incarnation >= incarnation) {
        const reason = `incarnation ${other.incarnation} of it lives here, and this is ${incarnation}`
        const message = `sandbox ${sandboxId} was not started: ${reason}`
        throw new RuntimeError('SANDBOX_NOT_STARTED', message, { sandboxId, reason })
      }
      alive.set(sandboxId, { incarnation, sandbox })
      await other?.sandbox.kill()
    },
    leave(sandboxId, sandbox) {
      if (alive.get(sandboxId)?.sandbox === sandbox) alive.delete(sandboxId)
    }
  }
}
