import { execute, jsonRows, rows, type Sql, type SqlDialect, type SqlRow, textOf } from '@enablement/core/sql'
import type { ApprovalPolicy } from '../policy/policy.ts'
import type { RequestRecord } from '../request/request.ts'
import { damaged } from './request-row.ts'

/** The policies that requests were opened under: each is kept once, under its version, which is the hash of it. */
export interface PolicyRows {
  /** Keeps the policies of new requests, as a part of their unit. */
  keep(requests: readonly RequestRecord[]): Sql<void>
  /** That unit was committed. */
  kept(requests: readonly RequestRecord[]): void
  /** The policies of these rows of requests. What it returns throws `STORE_DAMAGED` for a version that there is not. */
  of(requests: readonly SqlRow[]): Sql<(version: string) => ApprovalPolicy>
}

/** Versions that a process remembers: far more than anyone has actions, and they change with deployments alone. */
const REMEMBERED_MAX = 1_000

export function policyRows(dialect: SqlDialect): PolicyRows {
  const given = jsonRows(dialect, { version: 'text', policy: 'text' })
  const versions = jsonRows(dialect, { version: 'text' })
  const keepText = `insert into oversight_policies (version, policy)
    select version, policy from ${given.select} as given where true order by version on conflict do nothing`
  const readText = `select version, policy from oversight_policies
    where version in (select version from ${versions.select} as given)`
  /** What has been read or committed. A version never means another policy. */
  const known = new Map<string, ApprovalPolicy>()
  /** Written by units that may not be committed: what such a unit reads is not there for others. */
  const unsure = new Set<string>()

  const remember = (version: string, policy: ApprovalPolicy): void => {
    if (known.size >= REMEMBERED_MAX) known.clear()
    known.set(version, policy)
  }

  return {
    *keep(requests) {
      const unknown = new Map<string, ApprovalPolicy>()
      for (const { policyVersion, policy } of requests)
        if (!known.has(policyVersion)) unknown.set(policyVersion, policy)
      if (unknown.size === 0) return
      for (const version of unknown.keys()) unsure.add(version)
      const values = [...unknown].map(([version, policy]) => ({ version, policy: JSON.stringify(policy) }))
      yield* execute(keepText, given.parameter(values))
    },
    kept(requests) {
      for (const { policyVersion, policy } of requests) {
        unsure.delete(policyVersion)
        if (!known.has(policyVersion)) remember(policyVersion, policy)
      }
    },
    *of(requests) {
      const wanted = new Set(requests.map((row) => textOf(row, 'policy_version')))
      const found = new Map<string, ApprovalPolicy>()
      const missing: { version: string }[] = []
      for (const version of wanted) {
        const policy = known.get(version)
        if (policy === undefined) missing.push({ version })
        else found.set(version, policy)
      }
      for (const row of missing.length === 0 ? [] : yield* rows(readText, versions.parameter(missing))) {
        const version = textOf(row, 'version')
        const policy = parsed(textOf(row, 'policy'))
        if (policy === undefined) continue
        if (!unsure.has(version)) remember(version, policy)
        found.set(version, policy)
      }
      return (version) => {
        const policy = found.get(version)
        if (policy === undefined) throw damaged(`table of policies has no readable version ${version}`)
        return policy
      }
    }
  }
}

function parsed(text: string): ApprovalPolicy | undefined {
  try {
    return JSON.parse(text) as ApprovalPolicy
  } catch {
    return undefined
  }
}
