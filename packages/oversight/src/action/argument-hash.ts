import { canonicalJson, type JsonObject } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import type { ApprovalPolicy } from '../policy/policy.ts'

/** They begin the preimages, so that no hash of one kind can pass for one of another. The NUL ends them. */
const ARGUMENTS = '@enablement/oversight/arguments/1\0'
const POLICY = '@enablement/oversight/policy/1\0'
const IDENTITY = '@enablement/oversight/identity/1\0'

/**
 * SHA-256, in hex, over the canonical JSON of what would be done: the action's name and the detail. Every vote and the
 * execution are bound to it, so that nobody approves one thing and has another carried out.
 */
export function argumentHash(action: string, detail: JsonObject): string {
  return hashOf(ARGUMENTS, { action, detail })
}

/** The hash of a policy, to which votes are bound too: who may decide cannot be changed under a decision. */
export function policyHash(policy: ApprovalPolicy): string {
  // A policy is plain data; the interface merely lacks the index type.
  return hashOf(POLICY, policy as unknown as JsonObject)
}

const utf8 = new TextEncoder()
const versions = new WeakMap<ApprovalPolicy, string>()

/** `policyHash` of an action's policy, which does not change: worked out once. */
export function policyVersionOf(policy: ApprovalPolicy): string {
  const known = versions.get(policy)
  if (known !== undefined) return known
  const version = policyHash(policy)
  versions.set(policy, version)
  return version
}

/** What requests for the same thing by the same agent have in common: well-formed texts, in an order of their own. */
export function identityOf(about: readonly (string | undefined)[]): string {
  return hashOfText(IDENTITY + JSON.stringify(about))
}

const hashOf = (domain: string, value: JsonObject): string => hashOfText(domain + canonicalJson(value))

const hashOfText = (text: string): string => bytesToHex(sha256(utf8.encode(text)))
