export { type CreateCryptoProvider, cryptoProviderConformance } from './crypto-provider-conformance.ts'
export {
  type CreateMessageStore,
  type MessageStoreSubject,
  messageStoreConformance
} from './message-store-conformance.ts'
