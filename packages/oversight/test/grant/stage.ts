import { type GrantAsk, type GrantIssue, type GrantRecord, type GrantTerms, issueGrant } from '@enablement/oversight'

export const NOW = 1_000_000

export const terms: GrantTerms = {
  tenant: 'org_42',
  action: 'payments.refund',
  riskMax: 'medium',
  issuedBy: 'ana',
  reason: 'small refunds during the sale',
  ttlMs: 60_000,
  usesMax: 3
}

export const ask: GrantAsk = {
  tenant: 'org_42',
  action: 'payments.refund',
  requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
  task: 'sale-2026',
  detail: { order: '118', cents: 1_200, lines: [{ sku: 'a-1' }, { sku: 'b-2' }], rush: false, note: null },
  risk: 'medium',
  policyVersion: 'v3'
}

/** A grant of these terms, issued at `NOW`. Anything else about it may be set as well. */
export function grantOf(changes: Partial<GrantTerms> = {}, more: Partial<GrantRecord> = {}): GrantRecord {
  const issue: GrantIssue = { id: 'g1', now: NOW }
  const issued = issueGrant({ ...terms, ...changes }, issue)
  if (issued.outcome !== 'issued') throw new Error('these terms are not granted')
  return { ...issued.grant, ...more }
}
