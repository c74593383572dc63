export {
  type ClaimOptions,
  createDueClaims,
  type DueClaim,
  type DueClaims,
  type DueOutlook,
  type DueTable,
  type HeldRow
} from './due-claims.ts'
export type { Duty, DutyRun, DutyRunOptions, DutyStatus } from './duty.ts'
export { every, type Misfire, type Recurrence } from './recurrence.ts'
export type { DutyHealth } from './rounds.ts'
export { createSchedule, type Schedule, type ScheduleOptions } from './schedule.ts'
export type { ScheduleEvent } from './schedule-event.ts'
export { scheduleSchema } from './schedule-schema.ts'
export type { DueTask, EffectTask, NewTask, RunningTask, TaskDefinition, TaskRef, TaskRules, UnitTask } from './task.ts'
export type { CancelledTask, PutTask, RevivedTask, SetAsideTask, TaskStatus } from './task-rows.ts'
export {
  startWorker,
  type Worker,
  type WorkerEnd,
  type WorkerEvent,
  type WorkerHealth,
  type WorkerOptions
} from './worker.ts'
