export type { AgreementKey, Awaitable, CryptoProvider, PeerKey, SigningKey } from './crypto/crypto-provider.ts'
export type { SendRefusal, Sent, SessionNews } from './delivery/dispatch.ts'
export type { ReceivedMessage, Receiver } from './delivery/inbox.ts'
export type { Delivered, Delivery, DeliveryReply, Transport } from './delivery/transport.ts'
export { createIdentity, exportIdentity, type Identity, importIdentity } from './identity/identity.ts'
export type { PublicIdentity } from './identity/public-identity.ts'
export type { PeerToTrust, Trust } from './identity/trust.ts'
export { MessagingError, type MessagingErrorTable } from './messaging-error.ts'
export type { MessagingEvent, Observe, ReceiveRefusal } from './messaging-event.ts'
export { createMessenger, type Messenger, type MessengerOptions, type PublishedPrekeys } from './messenger.ts'
export type { BundleFault, PrekeyBundle, PublicPrekey, SignedPrekey } from './prekey/prekey-bundle.ts'
export type { PrekeyDirectory, PrekeyUpload } from './prekey/prekey-directory.ts'
export { ENVELOPE_MAX_BYTES, PLAINTEXT_MAX_BYTES } from './session/envelope.ts'
export { createSealingKey } from './session/sealed-record.ts'
export type {
  Committed,
  Expired,
  InboxEntry,
  MessageStore,
  MessageStoreSupports,
  OutboxEntry,
  OutboxStatus,
  PrekeyKind,
  PrekeyListing,
  PrekeyRecord,
  PrekeyStock,
  StoreChange,
  VersionedRecord
} from './store/message-store.ts'
