export {
  createStripeExport,
  type StripeExportOptions,
  type StripeMeterEvent,
  stripeIdentifier
} from './stripe-export.ts'
