/**
 * Makes an error without a stack: 0.3 µs in place of 2.5. A rejection is made when there are many of them, and its stack
 * would show where the policy stands, never why it refused.
 */
export function withoutStack<Made extends Error>(make: () => Made): Made {
  const limit = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')
  // Not V8, or intrinsics frozen by a host that hardens them.
  if (limit?.writable !== true) return make()
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = before
  }
}
