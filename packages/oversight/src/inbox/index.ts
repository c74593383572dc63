export { createInbox, type Inbox, type InboxOptions } from './inbox.ts'
export type { InboxEvent } from './inbox-event.ts'
export type { SignIn } from './sign-in.ts'
export type { InboxVisitor } from './visitor.ts'
