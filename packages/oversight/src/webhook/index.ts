export { type AddressClass, classifyAddress } from './address-class.ts'
export type { EgressAllowance, EgressRefusal } from './egress.ts'
export type { WebhookEndpoint } from './endpoint.ts'
export type { EndpointBreaker } from './endpoint-standing.ts'
export { type FetchTransportOptions, fetchTransport, type WebhookFetch } from './fetch-transport.ts'
export { type GuardedTransportOptions, guardedTransport } from './guarded-transport.ts'
export {
  type EndpointQuestion,
  type WebhookChannel,
  type WebhookChannelOptions,
  webhookChannel
} from './webhook-channel.ts'
export type { WebhookEvent } from './webhook-event.ts'
export type { WebhookNotice, WebhookPayload, WebhookRequest } from './webhook-payload.ts'
export type { WebhookPost, WebhookReply, WebhookTransport } from './webhook-transport.ts'
export {
  createWebhookVerifier,
  type ReceivedWebhook,
  type VerifiedWebhook,
  type WebhookVerifier,
  type WebhookVerifierOptions
} from './webhook-verifier.ts'
