/** Whose units the spending processes share, and of which counters. */
export const TENANT = 'org'
export const charges = [
  { limit: 'units', path: ['team'], quantity: 400, rule: { kind: 'lifetime' }, reserved: [] },
  { limit: 'units', path: [], quantity: 1_000, rule: { kind: 'lifetime' }, reserved: [] }
] as const
export const quota = { scope: 'quota', idempotencyMs: 3_600_000, keepMs: 3_600_000 } as const
