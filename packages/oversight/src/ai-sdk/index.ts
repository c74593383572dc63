export type { EffectCall, GatedToolOptions, ToolCallStanding, ToolOversight } from '../tool-call/gated-tool.ts'
export type { ChangedCall } from '../tool-call/model-result.ts'
export type { ToolCallRefusal } from '../tool-call/refusal.ts'
export type { ToolCallOrigin } from '../tool-call/tool-call.ts'
export {
  type ApprovalResponse,
  type ApprovalResponses,
  approvalResponses,
  type HistoryMessage
} from './approval-responses.ts'
export {
  type ApprovedTool,
  type ApprovedToolOptions,
  approvedTool,
  type InBandOptions,
  type ToolApproval,
  type ToolApprovalCall,
  type ToolExecutionCall
} from './approved-tool.ts'
