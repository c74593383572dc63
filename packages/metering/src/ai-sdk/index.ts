export type { ModelCallEvent } from './metered-call.ts'
export {
  type MeteringMiddleware,
  type MeteringMiddlewareOptions,
  meteringMiddleware,
  type UsageRecording
} from './metering-middleware.ts'
export type { CalledModel, ModelCall, ModelStreamPart, ModelUsage } from './model-call.ts'
