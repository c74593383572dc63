export type { EffectCall, GatedToolOptions, ToolCallStanding, ToolOversight } from '../tool-call/gated-tool.ts'
export type { ChangedCall } from '../tool-call/model-result.ts'
export type { ToolCallRefusal } from '../tool-call/refusal.ts'
export type { ToolCallOrigin } from '../tool-call/tool-call.ts'
export { type AppliedVerdicts, type ApprovalItem, applyVerdicts, type InterruptedState } from './apply-verdicts.ts'
export {
  type ApprovedTool,
  type ApprovedToolOptions,
  approvedTool,
  type RunContextPart,
  type ToolCallDetailsPart
} from './approved-tool.ts'
