import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import type { SandboxSpec } from './sandbox-host.ts'

/** 4 GiB, the most that 32 bits address: what the runtime allows is less. */
const bytes = z.int().min(1).max(4_294_967_296)

/** Strict, for a host that ignores what it does not know leaves its caller believing in a bound that nobody keeps. */
const schema: z.ZodType<SandboxSpec> = z.strictObject({
  sandboxId: z.string().min(1).max(200),
  incarnation: z.int().min(1),
  memoryLimitBytes: bytes,
  criticalAtBytes: bytes,
  criticalClearBytes: bytes,
  hostFunctions: z.array(z.string().min(1).max(64)).max(1_000),
  seed: z.instanceof(Uint8Array).refine((seed) => seed.length === 16, 'must be 16 bytes'),
  randomness: z.enum(['seeded', 'host']).optional(),
  now: z.custom<() => number>((value) => typeof value === 'function', 'must be a function')
}) as unknown as z.ZodType<SandboxSpec>

/** For hosts: refuses a spec with fields that the port does not have, or wrong ones. Throws `INVALID_OPTIONS`. */
export const checkSpec = (subject: string, spec: SandboxSpec): SandboxSpec => parseOptions(schema, subject, spec)
