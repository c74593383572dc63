import type { Clock } from '@enablement/core'
import { createMemoryMonitor } from '../monitor/memory-monitor.ts'
import { RuntimeError } from '../runtime-error.ts'
import { answerCall } from '../sandbox/host-calls.ts'
import { startRun } from '../sandbox/run.ts'
import type { HostFunctions } from '../sandbox/sandbox.ts'
import type { HostSandbox, SandboxHooks, SandboxHost, SandboxSpec } from '../sandbox/sandbox-host.ts'
import type { PreparedImage } from './prepared-sandbox.ts'

/** A guest that has nobody yet: what it says meanwhile has no hearer. */
export interface UnassignedGuest {
  readonly sandbox: HostSandbox
  /** From now on this is who hears it. */
  connect(hooks: SandboxHooks): void
}

/** Starts a guest that nobody has yet, from an image or empty. Throws as `SandboxHost.create` and `restore`. */
export async function startUnassigned(
  host: SandboxHost,
  spec: SandboxSpec,
  image: PreparedImage | undefined
): Promise<UnassignedGuest> {
  let hearer: SandboxHooks | undefined
  const relay: SandboxHooks = {
    onCall: (call) => hearer?.onCall(call),
    onConsole: (line) => hearer?.onConsole(line),
    onPressure: () => hearer?.onPressure()
  }
  const sandbox =
    image === undefined
      ? await host.create(spec, relay)
      : (await host.restore(imageOf(image, await host.engine()), spec, relay)).sandbox
  return {
    sandbox,
    connect: (hooks) => {
      hearer = hooks
    }
  }
}

/** An image's bytes, of this engine. */
function imageOf(image: PreparedImage, engine: string): Uint8Array<ArrayBuffer> {
  if (image.engine === engine) return image.bytes
  throw new RuntimeError('CHECKPOINT_FOREIGN', 'the image was made by another build of the engine', { claim: 'engine' })
}

/** Runs a set-up in a sandbox of its own and keeps what that left. Throws `SETUP_FAILED`, and as `SandboxHost.create`. */
export async function captureSetup(options: {
  readonly host: SandboxHost
  readonly clock: Clock
  readonly spec: SandboxSpec
  readonly code: string
  readonly hostFunctions: HostFunctions
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
}): Promise<PreparedImage> {
  const { host, clock, spec, code, hostFunctions, timeoutMs, signal } = options
  const calls = new AbortController()
  let sandbox: HostSandbox | undefined
  let press = (): void => undefined
  const hooks: SandboxHooks = {
    onCall(call) {
      void answerCall(hostFunctions, call, calls.signal).then((answer) => sandbox?.answer(call.callId, answer))
    },
    onConsole: () => undefined,
    onPressure: () => press()
  }
  const created = await host.create(spec, hooks)
  sandbox = created
  try {
    const run = startRun({
      clock,
      sandbox: created,
      monitor: createMemoryMonitor(spec.memoryLimitBytes),
      timeoutMs,
      signal,
      begin: () => created.run(code),
      onReading: () => undefined,
      onStale: () => undefined
    })
    press = run.press
    const { end } = await run.ended
    signal?.throwIfAborted()
    if (end.outcome !== 'completed') {
      const reason = end.outcome === 'failed' ? `${end.error.name}: ${end.error.message}` : end.outcome
      throw new RuntimeError('SETUP_FAILED', `the set-up ended as ${reason}`, { outcome: end.outcome, reason })
    }
    return { engine: await host.engine(), bytes: await created.capture() }
  } finally {
    calls.abort(new Error('the set-up is over'))
    await created.kill()
  }
}
