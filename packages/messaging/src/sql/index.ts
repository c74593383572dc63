export { messagingSchema } from './messaging-schema.ts'
export { type SqlMessageStoreOptions, sqlMessageStore } from './sql-message-store.ts'
