import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { fromBase64, sameSignature, secretBytes, secretsSchema, signatureOf } from './signature.ts'
import type { WebhookPayload } from './webhook-payload.ts'

export interface WebhookVerifierOptions {
  /** `whsec_…`; what any of them signed is taken. During a rotation: the new one and the old one. */
  readonly secrets: readonly string[]
  /** How far the time of the attempt may be off, either way; 300,000 ms unless given. */
  readonly toleranceMs?: number
  readonly platform?: Platform
}

/** A request as a receiver has it. */
export interface ReceivedWebhook {
  readonly headers:
    | { get(name: string): string | null }
    | { readonly [name: string]: string | readonly string[] | undefined }
  /** The very bytes that arrived, or their text: JSON that was parsed and written again has another signature. */
  readonly body: Uint8Array | string
}

/** What a request turned out to be. */
export type VerifiedWebhook =
  /** It is from who has a secret. `id` is the same when it is repeated: keep it for a while, and do nothing twice. */
  | { readonly outcome: 'verified'; readonly id: string; readonly sentAt: number; readonly payload: WebhookPayload }
  /** Answer 400 or 401. `too-old` and `too-new` are by this machine's clock. */
  | {
      readonly outcome: 'refused'
      readonly because: 'headers' | 'too-long' | 'too-old' | 'too-new' | 'signature' | 'not-json'
    }

/** Receives webhooks. */
export interface WebhookVerifier {
  verify(received: ReceivedWebhook): VerifiedWebhook
}

const TOLERANCE_MS = 300_000

/** Several times what this package sends, so that a stranger cannot have megabytes hashed. */
const BODY_MAX_BYTES = 262_144
/** Signatures looked at: enough for rotations of both sides. */
const SIGNATURES_MAX = 10
const SIGNATURE_HEADER_LENGTH_MAX = 2_048

const optionsSchema: z.ZodType<WebhookVerifierOptions> = z.strictObject({
  secrets: secretsSchema,
  toleranceMs: z.number().min(1_000).max(86_400_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * Tells webhooks of whoever has a secret from all others (Standard Webhooks 1.0): the raw body, compared in constant
 * time, within some minutes of now. It proves origin and not that it came once. Throws `INVALID_OPTIONS`.
 */
export function createWebhookVerifier(options: WebhookVerifierOptions): WebhookVerifier {
  const parsed = parseOptions(optionsSchema, 'createWebhookVerifier', options)
  const { toleranceMs = TOLERANCE_MS, platform = systemPlatform } = parsed
  const keys = parsed.secrets.map((secret) => secretBytes(secret) as Uint8Array)

  return {
    verify({ headers, body: given }) {
      const id = headerOf(headers, 'webhook-id')
      const timestamp = headerOf(headers, 'webhook-timestamp')
      const signatures = headerOf(headers, 'webhook-signature')
      if (id === undefined || !/^[^\s.]{1,256}$/.test(id)) return refused('headers')
      if (timestamp === undefined || !/^\d{1,11}$/.test(timestamp)) return refused('headers')
      if (signatures === undefined || signatures.length > SIGNATURE_HEADER_LENGTH_MAX) return refused('headers')
      if (given.length > BODY_MAX_BYTES) return refused('too-long')
      const body = typeof given === 'string' ? utf8ToBytes(given) : given

      const candidates = signatures
        .split(' ')
        .filter((one) => one.startsWith('v1,'))
        .slice(0, SIGNATURES_MAX)
        .map((one) => fromBase64(one.slice(3)) ?? new Uint8Array())
      // Every pair is compared, so that the time tells nothing of which key it was.
      let matches = 0
      for (const key of keys) {
        const expected = signatureOf(key, { id, timestamp }, body)
        for (const candidate of candidates) if (sameSignature(expected, candidate)) matches += 1
      }
      if (matches === 0) return refused('signature')

      const sentAt = Number(timestamp) * 1_000
      // In whole seconds, as the header counts, so that the bound is the same as everybody's.
      const ageMs = Math.floor(platform.clock.now() / 1_000) * 1_000 - sentAt
      if (ageMs > toleranceMs) return refused('too-old')
      if (ageMs < -toleranceMs) return refused('too-new')
      const payload = jsonOf(body)
      return payload === undefined ? refused('not-json') : { outcome: 'verified', id, sentAt, payload }
    }
  }
}

type Refusal = Extract<VerifiedWebhook, { outcome: 'refused' }>

const refused = (because: Refusal['because']): Refusal => ({ outcome: 'refused', because })

function headerOf(headers: ReceivedWebhook['headers'], name: string): string | undefined {
  if (typeof headers.get === 'function') return headers.get(name) ?? undefined
  const [, found] = Object.entries(headers).find(([key]) => key.toLowerCase() === name) ?? []
  return typeof found === 'string' ? found : undefined
}

/** The shape is the sender's word, which the signature is for. */
function jsonOf(body: Uint8Array): WebhookPayload | undefined {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    return typeof parsed === 'object' && parsed !== null && 'type' in parsed ? (parsed as WebhookPayload) : undefined
  } catch {
    return undefined
  }
}
