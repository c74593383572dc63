import { createRuntime, mebibytes, type Runtime, type RuntimeEvent, type RuntimeOptions } from '@enablement/runtime'
import { memoryCheckpointStore, memoryIncidentStore } from '@enablement/runtime/memory'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { type FakeApprovalGate, fakeApprovalGate } from './fake-approval-gate.ts'

export const sealingKey = new Uint8Array(32).fill(7)

/** A runtime on memory stores, and what it told. */
export interface RuntimeKit extends AsyncDisposable {
  readonly runtime: Runtime
  readonly gate: FakeApprovalGate
  readonly events: RuntimeEvent[]
  readonly options: RuntimeOptions
}

export function runtimeKit(overrides: Partial<RuntimeOptions> = {}): RuntimeKit {
  const gate = fakeApprovalGate()
  const events: RuntimeEvent[] = []
  const options: RuntimeOptions = {
    host: quickjsHost({ idleThreads: 0 }),
    approvals: gate,
    checkpoints: memoryCheckpointStore(),
    incidents: memoryIncidentStore(),
    sealingKey,
    observe: (event) => void events.push(event),
    ...overrides
  }
  const runtime = createRuntime(options)
  return { runtime, gate, events, options, [Symbol.asyncDispose]: () => runtime.close() }
}

export const agent = { tenant: 'acme', agent: 'agent-7' }
export const small = { ...agent, memoryLimitBytes: mebibytes(8) }

/** Waits for a condition that real threads bring about; a test's own timeout bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}
