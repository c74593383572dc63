export type { EffectCall, GatedToolOptions, ToolOversight } from '../tool-call/gated-tool.ts'
export type { ToolCallOrigin } from '../tool-call/tool-call.ts'
export {
  type ApprovalState,
  type ApprovedResult,
  type ApprovedToolOptions,
  approvedTool,
  type InputRequiredBuilder,
  type McpContext,
  type RequestStateSeal
} from './approved-tool.ts'
