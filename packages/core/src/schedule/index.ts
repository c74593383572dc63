export type { Duty, DutyRun } from './duty.ts'
