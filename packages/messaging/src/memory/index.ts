export { inProcessDirectory } from './in-process-directory.ts'
export { type InProcessTransport, inProcessTransport } from './in-process-transport.ts'
export { memoryMessageStore } from './memory-message-store.ts'
