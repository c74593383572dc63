import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { secretsSchema } from './signature.ts'

/** Where an approver's webhooks go. */
export interface WebhookEndpoint {
  /** `https:` unless the transport allows more. Endpoints with the same URL are one. */
  readonly url: string
  /** `whsec_` and base64 of 24 to 64 bytes; all of them sign, up to 5. During a rotation: the new one and the old one. */
  readonly secrets: readonly string[]
}

const endpointSchema: z.ZodType<WebhookEndpoint> = z.strictObject({
  url: z.string().min(1).max(2_048),
  secrets: secretsSchema
})

/** Throws `INVALID_OPTIONS`, which repeats neither the URL nor a secret. */
export function parseEndpoint(endpoint: WebhookEndpoint): WebhookEndpoint {
  return parseOptions(endpointSchema, 'webhookChannel.endpointOf', endpoint)
}
