export type { CloudEvent } from './cloud-event.ts'
export {
  type CloudEventsHandler,
  type CloudEventsHandlerOptions,
  cloudEventsHandler
} from './cloud-events-handler.ts'
export { type FromCloudEvent, type FromCloudEventOptions, fromCloudEvent } from './from-cloud-event.ts'
export { toCloudEvent } from './to-cloud-event.ts'
