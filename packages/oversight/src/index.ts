export { type Action, defineAction, type ScreenedAsk, type Screening } from './action/action.ts'
export type { ReconcileCall, Reconciled } from './action/reconciliation.ts'
export type { StandardIssue, StandardResult, StandardSchema } from './action/standard-schema.ts'
export type { AgentCall, AgentControl, AlertOps, OpsAlert } from './channel/agent-control.ts'
export type { Addressee, Channel, DeliveryOutcome, Digest, Invitation, VerdictNotice } from './channel/channel.ts'
export type { Cancelled } from './decision/cancellation.ts'
export type { Ballot, Decided, Objection } from './decision/cast.ts'
export type { Edited } from './decision/edit.ts'
export type { Absence, Approver, ApproverDirectory, DirectoryOptions } from './directory/approver-directory.ts'
export type { ApproverRef } from './directory/approver-ref.ts'
export {
  type CachedDirectoryEvent,
  type CachedDirectoryOptions,
  cachedDirectory
} from './directory/cached-directory.ts'
export { createDirectory } from './directory/directory.ts'
export type { DirectoryContents, GroupMember } from './directory/directory-contents.ts'
export { type OnCall, type OnCallReason, onCallAt } from './directory/on-call.ts'
export type {
  OnCallLayer,
  OnCallOverride,
  OnCallSchedule,
  Weekday,
  WeeklyWindow
} from './directory/on-call-schedule.ts'
export { eligible, principalsBehind } from './directory/requester.ts'
export type { Seat } from './directory/seat.ts'
export { type Absent, type SeatQuestion, seatsOf, type TierSeats } from './directory/seats.ts'
export type { OpenRequest } from './escalation/opening.ts'
export type { Fact, TierAsked, TierPassed, TierSilence } from './evidence/fact.ts'
export type { Executed, ExecutionClaim } from './execution/execute.ts'
export { patternsOf } from './grant/action-pattern.ts'
export type { DetailRule } from './grant/detail-rule.ts'
export { type GrantFact, grantEvidence } from './grant/grant-fact.ts'
export type { GrantObstacle } from './grant/grant-obstacle.ts'
export type { GrantAsk, GrantRecord } from './grant/grant-record.ts'
export { type GrantRevoked, type GrantUsed, revokeGrant, useGrant } from './grant/grant-step.ts'
export { type GrantIssue, type GrantIssued, type GrantTerms, issueGrant } from './grant/issue-grant.ts'
export { type GrantMatch, matchGrant, type NearMiss } from './grant/match-grant.ts'
export type { GrantIssuing, GrantRevoking, StandingGrants } from './grant/standing-grants.ts'
export {
  type ApprovalRequest,
  createOversight,
  type ListQuery,
  type OpeningRange,
  type Oversight
} from './oversight.ts'
export type { OversightCalls, VoteAnswer } from './oversight-calls.ts'
export { noEffect, OversightError, type OversightErrorTable } from './oversight-error.ts'
export type { OversightEvent } from './oversight-event.ts'
export type { OversightOptions } from './oversight-options.ts'
export type {
  Change,
  Courier,
  DueResult,
  MessageAttempt,
  MessageEnd,
  MessageOutcome,
  Opened,
  Opening,
  OutgoingMessage,
  OversightStore,
  RecordedEntry,
  RequestQuery
} from './oversight-store.ts'
export type { AutoApproval } from './policy/auto-approval.ts'
export type { OnTimeout } from './policy/on-timeout.ts'
export type { ApprovalPolicy, Tier } from './policy/policy.ts'
export type { Risk } from './policy/risk.ts'
export type { ContextStatus } from './request/context-status.ts'
export type { Commented } from './request/discussion.ts'
export type { InvitationRecord } from './request/invitation-record.ts'
export type { AlertReason, Message } from './request/message.ts'
export type { Course, ExecutionRecord, Matter, RequestRecord, RequestStatus, Settlement } from './request/request.ts'
export type { RequestComment, RequestView } from './request/request-view.ts'
export type { Revoked } from './request/revocation.ts'
export type { RequestStory } from './request/story.ts'
export type { ApproverFigures } from './statistics/approver-group.ts'
export type { Distribution } from './statistics/distribution.ts'
export type { RequestFigures } from './statistics/request-group.ts'
export type { SettledRequest, SettledStatus } from './statistics/settled-request.ts'
export {
  createStatistics,
  type Statistics,
  type StatisticsOptions,
  type StatisticsReport
} from './statistics/statistics.ts'
export type { StatisticsSnapshot } from './statistics/statistics-snapshot.ts'
export type { Tally, TallyReason } from './vote/count.ts'
export { type Impossibility, impossible } from './vote/impossible.ts'
export { type Poll, tally } from './vote/tally.ts'
export type { Vote } from './vote/vote-record.ts'
export type { AllApprove, HighestAuthority, Quorum, QuorumThreshold, VoteStrategy } from './vote/vote-strategy.ts'
