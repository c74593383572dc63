import { RuntimeError } from '../runtime-error.ts'
import type { EvaluationOutcome, Sandbox } from '../sandbox/sandbox.ts'

/** Who is told how a claimed sandbox is used. */
export interface UseHooks {
  /** Something runs in it now, or no longer. */
  onUse(isRunning: boolean): void
  /** It is gone. */
  onGone(): void
  /** Instead of the sandbox's own `close`. */
  close(): Promise<void>
}

/** The sandbox as its claimant has it: to close it is to release the claim. */
export function claimedSandbox(sandbox: Sandbox, { onUse, onGone, close }: UseHooks): Sandbox {
  const watched = async (evaluation: () => Promise<EvaluationOutcome>): Promise<EvaluationOutcome> => {
    onUse(true)
    try {
      const outcome = await evaluation()
      if (outcome.outcome === 'terminated' || outcome.outcome === 'memory-exhausted') onGone()
      return outcome
    } catch (error) {
      if (error instanceof RuntimeError && (error.is('SANDBOX_GONE') || error.is('INCIDENT_STALLED'))) onGone()
      throw error
    } finally {
      onUse(false)
    }
  }
  const { id, tenant, agent, incarnation, workspace } = sandbox
  return {
    id,
    tenant,
    agent,
    incarnation,
    get memoryLimitBytes() {
      return sandbox.memoryLimitBytes
    },
    ...(workspace === undefined ? {} : { workspace }),
    evaluate: (code, options) => watched(() => sandbox.evaluate(code, options)),
    continue: (options) => watched(() => sandbox.continue(options)),
    memory: () => sandbox.memory(),
    checkpoint: (options) => sandbox.checkpoint(options),
    async preempt(options) {
      const bytes = await sandbox.preempt(options)
      onGone()
      return bytes
    },
    tell: (notice) => sandbox.tell(notice),
    setReadOnly: (readOnly) => sandbox.setReadOnly(readOnly),
    processes: () => sandbox.processes(),
    close,
    [Symbol.asyncDispose]: close
  }
}
