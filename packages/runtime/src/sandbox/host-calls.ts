import type { JsonValue } from '@enablement/core'
import type { HostFunctions } from './sandbox.ts'
import type { HostAnswer, HostCall } from './sandbox-host.ts'

/** Characters of an answer's JSON that are passed on to the guest, and of an error's message. */
const ANSWER_CHARS_MAX = 1_048_576
const MESSAGE_CHARS_MAX = 1_000

/** Runs one host function for the guest. Never rejects: whatever goes wrong is the guest's answer. */
export async function answerCall(functions: HostFunctions, call: HostCall, signal: AbortSignal): Promise<HostAnswer> {
  // The guest chose the name: only own members count.
  const fn = Object.hasOwn(functions, call.name) ? functions[call.name] : undefined
  if (fn === undefined) return rejected(`there is no host function ${call.name.slice(0, 100)}`)
  try {
    const argument = call.argumentJson === undefined ? undefined : (JSON.parse(call.argumentJson) as JsonValue)
    const result = await fn(argument, { idempotencyKey: call.idempotencyKey, signal })
    const json = result === undefined ? undefined : JSON.stringify(result)
    if (json !== undefined && json.length > ANSWER_CHARS_MAX) {
      return rejected(`the answer of host function ${call.name} is longer than ${ANSWER_CHARS_MAX} characters`)
    }
    return { outcome: 'fulfilled', json }
  } catch (error) {
    return rejected(error instanceof Error ? error.message : `host function ${call.name} failed`)
  }
}

const rejected = (message: string): HostAnswer => ({
  outcome: 'rejected',
  message: message.slice(0, MESSAGE_CHARS_MAX)
})
