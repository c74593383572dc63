export type {
  CarriedOut,
  EffectCall,
  GatedToolOptions,
  ToolCallOutcome,
  ToolCallStanding,
  ToolOversight,
  VerdictWait
} from '../tool-call/gated-tool.ts'
export type { ChangedCall } from '../tool-call/model-result.ts'
export type { ToolCallRefusal } from '../tool-call/refusal.ts'
export type { ToolCallOrigin } from '../tool-call/tool-call.ts'
export { type ApprovalInterrupt, type GraphInterruptPart, isApprovalInterrupt } from './approval-interrupt.ts'
export { type ApprovedTool, type ApprovedToolOptions, approvedTool, type GraphConfig } from './approved-tool.ts'
export { type HitlAnswer, type HitlDecision, type HitlRequest, hitlResponse } from './hitl-response.ts'
export { type InterruptedGraph, type Resumption, resumption } from './resumption.ts'
